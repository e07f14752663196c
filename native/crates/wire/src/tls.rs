//! Certificates and TLS settings, for TCP and QUIC alike. The set is swapped at once; handshakes
//! that have begun keep the certificate they chose.

use crate::config::{CertificateConfig, CertificateSet};
use crate::exchange::NO_CERTIFICATE;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::pkey::{PKey, Private};
use boring::ssl::{
    AlpnError, NameType, SelectCertError, Ssl, SslAcceptor, SslContextBuilder, SslMethod, SslMode,
    SslOptions, SslRef, SslVersion, select_next_proto,
};
use boring::x509::X509;
use bytes::Bytes;
use edge_tickets::{KEY_BYTES, KEYS_MAX, TicketKeys};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// Which certificate a connection was given, kept on its `Ssl`.
static CHOSEN: OnceLock<Option<Index<Ssl, u32>>> = OnceLock::new();

fn chosen_index() -> Option<Index<Ssl, u32>> {
    *CHOSEN.get_or_init(|| Ssl::new_ex_index().ok())
}

struct Certificate {
    id: u32,
    chain: Vec<X509>,
    key: PKey<Private>,
}

/// One set of certificates.
#[derive(Default)]
pub struct Certificates {
    all: Vec<Certificate>,
    exact: HashMap<String, u32>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, u32>,
    default: usize,
}

impl Certificates {
    fn load(set: &CertificateSet) -> Result<Certificates, String> {
        let mut loaded = Certificates::default();
        let defaults = set
            .certificates
            .iter()
            .filter(|certificate| certificate.is_default)
            .count();
        if defaults != 1 {
            return Err(format!(
                "exactly one certificate must be the default, not {defaults}"
            ));
        }
        for (index, config) in (0u32..).zip(&set.certificates) {
            let label = config.names.first().map_or("(no name)", |name| name);
            let certificate = load_one(index, config)
                .map_err(|reason| format!("certificate {index} ({label}): {reason}"))?;
            for name in &config.names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(parent) => loaded.wildcard.entry(parent.to_owned()).or_insert(index),
                    None => loaded.exact.entry(name).or_insert(index),
                };
            }
            if config.is_default {
                loaded.default = loaded.all.len();
            }
            loaded.all.push(certificate);
        }
        Ok(loaded)
    }

    /// The certificate that `name` selects: exact first, then one wildcard label. Never the default
    /// one: that serves whoever comes, so it binds no connection to its names.
    pub fn select(&self, name: &str) -> Option<u32> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let parent = || {
            name.split_once('.')
                .and_then(|(_, parent)| self.wildcard.get(parent))
        };
        let found = self.exact.get(&name).or_else(parent).copied();
        found.filter(|index| *index as usize != self.default)
    }

    /// What head records call a selected certificate.
    fn id(&self, chosen: Option<u32>) -> u32 {
        let certificate = chosen.and_then(|index| self.all.get(index as usize));
        certificate.map_or(NO_CERTIFICATE, |certificate| certificate.id)
    }

    fn apply(&self, ssl: &mut SslRef, chosen: Option<u32>) -> Result<(), ErrorStack> {
        let index = chosen.map_or(self.default, |index| index as usize);
        let Some(certificate) = self.all.get(index) else {
            return Err(ErrorStack::get());
        };
        let mut chain = certificate.chain.iter();
        if let Some(leaf) = chain.next() {
            ssl.set_certificate(leaf)?;
        }
        for issuer in chain {
            ssl.add_chain_cert(issuer)?;
        }
        ssl.set_private_key(&certificate.key)
    }
}

fn load_one(index: u32, config: &CertificateConfig) -> Result<Certificate, String> {
    let chain = X509::stack_from_pem(config.chain.as_bytes())
        .map_err(|error| format!("the chain is not PEM certificates: {error}"))?;
    let key = PKey::private_key_from_pem(config.key.as_bytes())
        .map_err(|error| format!("the key is not a PEM private key: {error}"))?;
    let leaf = chain.first().ok_or("the chain holds no certificate")?;
    let public = leaf
        .public_key()
        .map_err(|error| format!("no usable public key: {error}"))?;
    if !public.public_eq(&key) {
        return Err("the key does not belong to the certificate".to_owned());
    }
    let id = config.id.unwrap_or(index);
    Ok(Certificate { id, chain, key })
}

/// The current certificates, and contexts that always use the current ones.
#[derive(Default)]
pub struct Tls {
    current: Mutex<Arc<Certificates>>,
    tickets: Arc<TicketKeys>,
}

impl Tls {
    /// Replaces the set; keeps the old one when the new does not load.
    pub fn set(&self, set: &CertificateSet) -> Result<(), String> {
        let loaded = Arc::new(Certificates::load(set)?);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    /// Replaces the keys of session tickets; none: keys of this program's own.
    pub fn set_ticket_keys(&self, keys: &[Vec<u8>]) -> Result<(), String> {
        if keys.len() > KEYS_MAX {
            return Err(format!("{KEYS_MAX} ticket keys at most"));
        }
        let exact = |key: &Vec<u8>| <[u8; KEY_BYTES]>::try_from(key.as_slice()).ok();
        let keys: Option<Vec<_>> = keys.iter().map(exact).collect();
        let keys = keys.ok_or(format!("a ticket key is not {KEY_BYTES} bytes"))?;
        self.tickets.set(&keys);
        Ok(())
    }

    /// The set now.
    pub fn current(&self) -> Arc<Certificates> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A context builder whose handshakes take their certificate from the set of that moment.
    /// `alpn`: protocols offered, in wire format, best first.
    pub fn context_builder(
        self: &Arc<Tls>,
        alpn: &'static [u8],
    ) -> Result<SslContextBuilder, ErrorStack> {
        let mut builder = SslContextBuilder::new(SslMethod::tls())?;
        self.configure(&mut builder, alpn)?;
        Ok(builder)
    }

    /// The acceptor for TCP connections: h2 and http/1.1.
    pub(crate) fn acceptor(self: &Arc<Tls>) -> Result<SslAcceptor, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
        self.configure(&mut builder, b"\x02h2\x08http/1.1")?;
        Ok(builder.build())
    }

    fn configure(
        self: &Arc<Tls>,
        builder: &mut SslContextBuilder,
        alpn: &'static [u8],
    ) -> Result<(), ErrorStack> {
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_cipher_list(CIPHERS)?;
        builder.set_curves_list(GROUPS)?;
        builder.set_options(SslOptions::NO_RENEGOTIATION);
        builder.set_mode(SslMode::RELEASE_BUFFERS);
        builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(alpn, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        self.tickets.install(builder);
        let tls = Arc::clone(self);
        builder.set_select_certificate_callback(move |mut hello| {
            let set = tls.current();
            let chosen = hello
                .servername(NameType::HOST_NAME)
                .and_then(|name| set.select(name));
            if let Some(index) = chosen_index() {
                hello.ssl_mut().replace_ex_data(index, set.id(chosen));
            }
            set.apply(hello.ssl_mut(), chosen)
                .map_err(|_| SelectCertError::ERROR)
        });
        Ok(())
    }
}

/// Server name and certificate index of a connection after its handshake: what
/// [`crate::ConnectionFacts::secured`] wants.
pub fn identity(ssl: &SslRef) -> (Bytes, u32) {
    let name = ssl.servername(NameType::HOST_NAME).unwrap_or_default();
    let sni = Bytes::from(name.to_ascii_lowercase());
    let chosen = chosen_index().and_then(|index| ssl.ex_data(index).copied());
    (sni, chosen.unwrap_or(NO_CERTIFICATE))
}

//! TLS to endpoints: verified unless the configuration says otherwise, TLS 1.2 or newer. Sessions
//! are never resumed, so that no connection can inherit the identity of another one.

use super::link::Stream;
use crate::config::EndpointTls;
use crate::error_code::ErrorCode;
use boring::error::ErrorStack;
use boring::pkey::PKey;
use boring::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use boring::x509::X509;
use boring::x509::store::X509StoreBuilder;
use boring::x509::verify::X509CheckFlags;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use tokio_boring::{SslStream, SslStreamBuilder};

/// Protocols to offer, in ALPN's wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Http1,
    Http2,
    Both,
}

impl Offer {
    fn alpn(self) -> &'static [u8] {
        match self {
            Offer::Http1 => b"\x08http/1.1",
            Offer::Http2 => b"\x02h2",
            Offer::Both => b"\x02h2\x08http/1.1",
        }
    }
}

/// One identity: who is trusted, as whom we come, and which name must answer.
pub struct Identity {
    /// Differs between identities, over the life of the thread. 0 is in clear.
    pub number: u32,
    context: SslContext,
    server_name: String,
    verify: bool,
}

/// The identities of one wire thread.
#[derive(Default)]
pub struct Identities {
    known: RefCell<HashMap<EndpointTls, Rc<Identity>>>,
    last: Cell<u32>,
}

impl Identities {
    /// The identity for `tls`; the same one for equal settings.
    pub fn of(&self, tls: &EndpointTls) -> Result<Rc<Identity>, ErrorCode> {
        if let Some(known) = self.known.borrow().get(tls) {
            return Ok(known.clone());
        }
        let context = context(tls).map_err(|_| ErrorCode::UpstreamTlsFailed)?;
        self.last.set(self.last.get() + 1);
        let identity = Rc::new(Identity {
            number: self.last.get(),
            context,
            server_name: tls.server_name.clone(),
            verify: tls.verify,
        });
        self.known
            .borrow_mut()
            .insert(tls.clone(), identity.clone());
        Ok(identity)
    }

    /// Forgets the identities that no endpoint has any more.
    pub fn keep(&self, in_use: impl Fn(&EndpointTls) -> bool) {
        self.known.borrow_mut().retain(|tls, _| in_use(tls));
    }
}

impl Identity {
    /// Shakes hands over `stream`. True: HTTP/2 was selected.
    pub async fn connect(
        &self,
        stream: Stream,
        offer: Offer,
    ) -> Result<(SslStream<Stream>, bool), ErrorCode> {
        let failed = |_| ErrorCode::UpstreamTlsFailed;
        let ssl = self.ssl(offer).map_err(failed)?;
        let stream = SslStreamBuilder::new(ssl, stream).connect().await;
        let stream = stream.map_err(|_| ErrorCode::UpstreamTlsFailed)?;
        let http2 = match stream.ssl().selected_alpn_protocol() {
            Some(b"h2") => true,
            // HTTP/1.1 is older than ALPN: an endpoint without it speaks that.
            Some(b"http/1.1") | None => false,
            Some(_) => return Err(ErrorCode::UpstreamTlsFailed),
        };
        match (offer, http2) {
            (Offer::Http2, false) | (Offer::Http1, true) => Err(ErrorCode::UpstreamTlsFailed),
            _ => Ok((stream, http2)),
        }
    }

    fn ssl(&self, offer: Offer) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        let address = self.server_name.parse::<IpAddr>().ok();
        if address.is_none() {
            ssl.set_hostname(&self.server_name)?;
        }
        if self.verify {
            let parameters = ssl.param_mut();
            parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
            match address {
                Some(address) => parameters.set_ip(address)?,
                None => parameters.set_host(&self.server_name)?,
            }
        }
        ssl.set_alpn_protos(offer.alpn())?;
        Ok(ssl)
    }
}

fn context(tls: &EndpointTls) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_options(SslOptions::NO_RENEGOTIATION);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    if tls.verify {
        builder.set_verify(SslVerifyMode::PEER);
        let mut trusted = X509StoreBuilder::new()?;
        for certificate in X509::stack_from_pem(tls.trusted.as_bytes())? {
            trusted.add_cert(certificate)?;
        }
        builder.set_cert_store_builder(trusted);
    } else {
        builder.set_verify(SslVerifyMode::NONE);
    }
    if !tls.client_chain.is_empty() {
        let mut chain = X509::stack_from_pem(tls.client_chain.as_bytes())?.into_iter();
        if let Some(leaf) = chain.next() {
            builder.set_certificate(&leaf)?;
        }
        for issuer in chain {
            builder.add_extra_chain_cert(issuer)?;
        }
        let key = PKey::private_key_from_pem(tls.client_key.as_bytes())?;
        builder.set_private_key(&key)?;
        builder.check_private_key()?;
    }
    Ok(builder.build())
}

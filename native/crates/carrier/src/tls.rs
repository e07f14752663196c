//! The TLS contexts, and who is at the other end: any certificate will do, its key is looked up.

use crate::Options;
use boring::error::ErrorStack;
use boring::pkey::{Id, PKey};
use boring::ssl::{
    AlpnError, SslContextBuilder, SslMethod, SslOptions, SslSignatureAlgorithm, SslVerifyMode,
    SslVersion, select_next_proto,
};
use boring::x509::{X509, X509Ref};

const CURVES: &str = "X25519MLKEM768:X25519:P-256";
/// What HTTP/3 is called in a handshake, in wire format.
const ALPN_H3: &[u8] = b"\x02h3";

/// A context for either end; it shows the node's certificate and wants to see one.
pub fn context(options: &Options) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_certificate(&*X509::from_pem(options.certificate.as_bytes())?)?;
    builder.set_private_key(&*PKey::private_key_from_pem(options.key.as_bytes())?)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_curves_list(CURVES)?;
    // A session that goes on would show no certificate.
    builder.set_options(SslOptions::NO_TICKET);
    // That its owner has the certificate's key, BoringSSL sees to in any case (RFC 8446 §4.4.3).
    builder.set_custom_verify_callback(SslVerifyMode::PEER, |_| Ok(()));
    // BoringSSL offers no Ed25519 by itself; an identity is nothing else.
    builder.set_verify_algorithm_prefs(&[SslSignatureAlgorithm::ED25519])?;
    Ok(builder)
}

/// The same for QUIC.
pub fn quic_context(options: &Options) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = context(options)?;
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN_H3, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(builder)
}

/// The key in a certificate; `None` for one of another kind.
pub fn identity_of(certificate: &X509Ref) -> Option<[u8; 32]> {
    let key = certificate.public_key().ok()?;
    if key.id() != Id::ED25519 {
        return None;
    }
    let mut raw = [0; 32];
    let length = key.raw_public_key(&mut raw).ok()?.len();
    (length == raw.len()).then_some(raw)
}

/// The same of a certificate in DER.
pub fn identity_in(der: &[u8]) -> Option<[u8; 32]> {
    let certificate = X509::from_der(der).ok()?;
    identity_of(&certificate)
}

//! The TLS context, and who is at the other end.

use crate::Options;
use boring::error::ErrorStack;
use boring::pkey::{Id, PKey};
use boring::ssl::{
    AlpnError, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
    SslSignatureAlgorithm, SslVerifyMode, SslVersion, select_next_proto,
};
use boring::x509::X509;
use edge_tickets::{KEY_BYTES, TicketKeys};
use std::sync::Arc;

const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
    ECDHE-ECDSA-AES256-GCM-SHA384";
/// BoringSSL offers no Ed25519 by itself. With the others one shows a certificate that says nothing
/// here, and is told so by an answer instead of a broken handshake.
const SIGNATURES: [SslSignatureAlgorithm; 6] = [
    SslSignatureAlgorithm::ED25519,
    SslSignatureAlgorithm::ECDSA_SECP256R1_SHA256,
    SslSignatureAlgorithm::ECDSA_SECP384R1_SHA384,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA256,
    SslSignatureAlgorithm::RSA_PSS_RSAE_SHA384,
    SslSignatureAlgorithm::RSA_PKCS1_SHA256,
];
/// Sessions that showed a certificate go on only where this says so (RFC 5246 §7.4.1.2).
const SESSION_CONTEXT: &[u8] = b"edge mesh coordinator";

/// The context of all connections.
pub fn context(options: &Options) -> Result<SslContext, String> {
    let keys = <[u8; KEY_BYTES]>::try_from(options.ticket_keys.as_slice())
        .map_err(|_| format!("the ticket keys are not {KEY_BYTES} bytes"))?;
    build(options, keys).map_err(|error| format!("TLS: {error}"))
}

fn build(options: &Options, ticket_keys: [u8; KEY_BYTES]) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_certificate(&*X509::from_pem(options.certificate.as_bytes())?)?;
    builder.set_private_key(&*PKey::private_key_from_pem(options.key.as_bytes())?)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    builder.set_cipher_list(CIPHERS)?;
    builder.set_curves_list(&options.curves)?;
    builder.set_options(SslOptions::NO_RENEGOTIATION);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    // Any certificate will do: its key is looked up, and no authority would make it more true. That
    // its owner has the key, BoringSSL sees to in any case (RFC 8446 §4.4.3).
    builder.set_custom_verify_callback(SslVerifyMode::PEER, |_| Ok(()));
    builder.set_verify_algorithm_prefs(&SIGNATURES)?;
    builder.set_session_id_context(SESSION_CONTEXT)?;
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x08http/1.1", offered).ok_or(AlpnError::ALERT_FATAL)
    });
    let tickets = Arc::new(TicketKeys::default());
    tickets.set(&[ticket_keys]);
    tickets.install(&mut builder);
    Ok(builder.build())
}

/// The key of the other end's certificate; `None` when it showed none, or one of another kind.
pub fn identity(ssl: &SslRef) -> Option<[u8; 32]> {
    let key = ssl.peer_certificate()?.public_key().ok()?;
    if key.id() != Id::ED25519 {
        return None;
    }
    let mut raw = [0; 32];
    let length = key.raw_public_key(&mut raw).ok()?.len();
    (length == raw.len()).then_some(raw)
}

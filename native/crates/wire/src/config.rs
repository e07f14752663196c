//! The JSON that TypeScript hands over (proxy/wire-config.ts).

use serde::Deserialize;
use std::net::SocketAddr;

/// A listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireListener {
    /// Name for logs.
    pub name: String,
    /// `http` or `https`.
    pub kind: ListenerKind,
    /// Socket address; port 0 picks one.
    pub address: SocketAddr,
    /// Alt-Svc of every TCP response; '' for none.
    pub alt_svc: String,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    /// h1 in clear.
    Http,
    /// h1 and h2 over TLS, h3 over QUIC.
    Https,
}

/// The complete answer for an error code.
#[derive(Debug, Clone, Deserialize)]
pub struct ErrorAnswer {
    /// Name of an [`crate::ErrorCode`].
    pub code: String,
    /// Status.
    pub status: u16,
    /// Fields.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

/// Limits; names carry the unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // documented where they are made: proxy/wire-config.ts
pub struct WireLimits {
    pub header_bytes_max: usize,
    pub header_line_bytes_max: usize,
    pub header_count_max: usize,
    pub header_timeout_ms: u64,
    pub handshake_timeout_ms: u64,
    pub keep_alive_idle_timeout_ms: u64,
    pub body_idle_timeout_ms: u64,
    pub requests_per_connection_max: u64,
    pub connections_max: usize,
    pub h2_streams_max: u32,
    pub quic_streams_max: u64,
    pub quic_idle_timeout_ms: u64,
    pub inspected_bodies_bytes_max: u64,
    pub worker_queue_max: u32,
    pub worker_wait_timeout_ms: u64,
    pub upstream_idle_timeout_ms: u64,
    pub upstream_idle_connections_max: usize,
}

/// Everything the wire threads are started with.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireConfig {
    /// Wire threads.
    pub threads: usize,
    /// Worker slots.
    pub workers: usize,
    /// Listeners.
    pub listeners: Vec<WireListener>,
    /// Path answered by the wire itself.
    pub health_path: String,
    /// Limits.
    pub limits: WireLimits,
    /// The error table.
    pub errors: Vec<ErrorAnswer>,
}

/// All certificates at once.
#[derive(Debug, Clone, Deserialize)]
pub struct CertificateSet {
    /// In the order that head records count.
    pub certificates: Vec<CertificateConfig>,
}

/// One certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateConfig {
    /// PEM chain, leaf first.
    pub chain: String,
    /// PEM key.
    pub key: String,
    /// Lower-case names that select it.
    pub names: Vec<String>,
    /// Serves everything that selects no other.
    pub is_default: bool,
}

/// An endpoint that forward plans name.
#[derive(Debug, Clone, Deserialize)]
pub struct EndpointConfig {
    /// The id in forward plans.
    pub id: u32,
    /// Tried in order.
    pub addresses: Vec<SocketAddr>,
}

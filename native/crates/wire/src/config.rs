//! The JSON that TypeScript hands over (proxy/wire-config.ts).

use crate::admission::PlaceLimits;
use crate::ask::ServiceConfig;
use crate::quic::NeighboursConfig;
use crate::rate::RateLimits;
use edge_http_policy::{HeadLimits, TrailerLimits};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Questions of proxies about theirs (`ask`).
    Waf,
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
    pub trailer_count_max: usize,
    pub trailer_bytes_max: usize,
    pub body_rate_bytes_min: u64,
    pub body_rate_grace_ms: u64,
    pub connection_age_max_ms: u64,
    pub connections_per_address_max: usize,
    pub connection_bytes_max: usize,
    pub pressure_percent: u32,
    pub keep_alive_idle_timeout_under_pressure_ms: u64,
    pub streams_max_under_pressure: u32,
    pub h2_stream_window_bytes: u32,
    pub h2_connection_window_bytes: u32,
    pub stream_resets_max: u32,
    pub stream_resets_per_second: u32,
    pub control_frames_max: u32,
    pub control_frames_per_second: u32,
    pub quic_retry_from: usize,
    pub quic_handshakes_max: usize,
    pub quic_handshakes_per_address_max: usize,
}

impl WireLimits {
    /// The limits on request heads.
    pub fn head(&self) -> HeadLimits {
        HeadLimits {
            bytes_max: self.header_bytes_max,
            line_bytes_max: self.header_line_bytes_max,
            count_max: self.header_count_max,
        }
    }

    /// The limits on trailers.
    pub fn trailers(&self) -> TrailerLimits {
        TrailerLimits {
            count_max: self.trailer_count_max,
            bytes_max: self.trailer_bytes_max,
        }
    }

    /// What bodies are held to, in either direction.
    pub(crate) fn pace(&self) -> RateLimits {
        RateLimits {
            bytes_min: self.body_rate_bytes_min,
            grace: Duration::from_millis(self.body_rate_grace_ms),
            idle: Duration::from_millis(self.body_idle_timeout_ms),
        }
    }

    /// The limits on open connections.
    pub(crate) fn places(&self) -> PlaceLimits {
        PlaceLimits {
            connections_max: self.connections_max,
            per_origin_max: self.connections_per_address_max,
            pressure_percent: self.pressure_percent,
        }
    }
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
    /// Whether a second program may take over or join the ports.
    #[serde(default)]
    pub shared_ports: bool,
    /// By what a balancer finds this program in connection ids.
    #[serde(default)]
    pub quic_server_id: Option<[u8; 8]>,
    /// How programs on one node, each with a network of its own, reach each other.
    #[serde(default)]
    pub neighbours: Option<NeighboursConfig>,
    /// Path answered by the wire itself.
    pub health_path: String,
    /// Limits at the start; `Wire::set_limits` replaces them.
    pub limits: WireLimits,
    /// The error table.
    pub errors: Vec<ErrorAnswer>,
    /// Whether QUIC clients may send requests before the handshake is done (RFC 8470).
    #[serde(default)]
    pub early_data: bool,
    /// Header templates that forward plans name, from 1.
    #[serde(default)]
    pub templates: Vec<TemplateConfig>,
    /// Where the WAF service is asked, or what bounds it; absent: it is nowhere.
    #[serde(default)]
    pub service: ServiceConfig,
}

/// Edits that a forward plan can name instead of spelling them out.
#[derive(Debug, Clone, Deserialize)]
pub struct TemplateConfig {
    /// Of the request.
    pub request: Vec<TemplateEdit>,
    /// Of the response.
    pub response: Vec<TemplateEdit>,
}

/// One edit; its value may hold placeholders such as `%{peer}`.
#[derive(Debug, Clone, Deserialize)]
pub struct TemplateEdit {
    /// `set`, `append` or `remove`.
    pub op: String,
    /// Field name.
    pub name: String,
    /// '' for `remove`.
    #[serde(default)]
    pub value: String,
}

/// All certificates at once.
#[derive(Debug, Clone, Deserialize)]
pub struct CertificateSet {
    /// Each with its id, or in the order that head records count.
    pub certificates: Vec<CertificateConfig>,
}

/// Keys that several programs may share, as JSON: 32 and 48 bytes in base64.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketKeySet {
    /// Of session tickets, 48 bytes each: the first one seals, all open. None: this program makes
    /// its own and changes them.
    pub tickets: Vec<String>,
    /// Of QUIC's stateless resets, 32 bytes; '' for one of this program's own.
    #[serde(default)]
    pub stateless_reset: String,
}

/// One certificate.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateConfig {
    /// What head records call it. The same in every later set for the same names, because
    /// connections outlive sets. Absent: its index.
    #[serde(default)]
    pub id: Option<u32>,
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
    /// What it speaks.
    pub protocol: EndpointProtocol,
    /// `None`: in clear.
    pub tls: Option<EndpointTls>,
    /// Path of the socket of an agent that dials for us; absent: the system does.
    #[serde(default)]
    pub via: Option<PathBuf>,
}

/// What an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: in clear with prior knowledge (RFC 9113 §3.3), over TLS by ALPN `h2`.
    Http2,
    /// Over TLS what ALPN selects of `h2` and `http/1.1`; in clear HTTP/1.1.
    Auto,
}

/// How an endpoint's TLS is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointTls {
    /// Sent as SNI (unless it is an IP address) and verified against the certificate.
    pub server_name: String,
    /// PEM of the authorities that are trusted. Never empty while `verify` is on.
    pub trusted: String,
    /// False: any certificate is taken.
    pub verify: bool,
    /// PEM chain and key of the client certificate; '' for none.
    pub client_chain: String,
    /// See `client_chain`.
    pub client_key: String,
}

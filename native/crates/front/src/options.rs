//! What a front needs to know; mesh/coordinator/front.ts has the same names.

use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

/// All of them come from mesh/limits.ts or the coordinator's folder of state.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// Where to listen.
    pub address: SocketAddr,
    /// PEM.
    pub key: String,
    /// PEM.
    pub certificate: String,
    /// The keys of session tickets: 48 bytes, which a restart keeps.
    pub ticket_keys: Vec<u8>,
    /// Names of curves, with colons between them.
    pub curves: String,
    /// See mesh/limits.ts for this and all others.
    pub backlog_max: u32,
    pub connections_max: usize,
    pub handshake_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    pub stall_timeout_ms: u64,
    pub request_head_bytes_max: usize,
    pub request_headers_max: usize,
    pub request_bytes_max: usize,
    pub stream_queue_bytes_max: usize,
}

impl Options {
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}

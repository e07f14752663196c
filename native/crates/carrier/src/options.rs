//! What carriers need to know; mesh/carrier.ts has the same names.

use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;

/// All of them come from mesh/limits.ts or the node's folder of state.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// PEM: the node's identity.
    pub key: String,
    /// PEM.
    pub certificate: String,
    /// Where the device takes packets.
    pub device: SocketAddr,
    /// What others may call this device: nothing else is reached through this program.
    pub targets: Vec<SocketAddr>,
    /// See mesh/limits.ts for this and all others.
    pub carriers_max: usize,
    pub handshakes_max: usize,
    pub handshakes_per_address_max: usize,
    pub retry_from: usize,
    pub opening_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub silence_ms: u64,
    pub ping_ms: u64,
    pub deaf_ms: u64,
    pub queue_bytes_max: usize,
    pub queue_packets_max: usize,
    pub packet_bytes_max: usize,
    pub window_bytes_max: u64,
}

impl Options {
    pub(crate) fn opening_timeout(&self) -> Duration {
        Duration::from_millis(self.opening_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn ping(&self) -> Duration {
        Duration::from_millis(self.ping_ms)
    }

    pub(crate) fn deaf(&self) -> Duration {
        Duration::from_millis(self.deaf_ms)
    }
}

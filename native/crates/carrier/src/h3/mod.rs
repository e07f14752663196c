//! Carriers in HTTP/3: one QUIC connection with one CONNECT-UDP stream each. Packets that fit ride
//! in DATAGRAM frames (RFC 9221), those that do not in capsules on the stream (RFC 9297 §3.5).

pub mod client;
mod events;
pub mod link;
pub mod server;
pub mod settings;
pub mod tokens;
mod watch;

/// Codes with which a connection or a stream ends (RFC 9114 §8.1, RFC 9297 §5.2).
pub mod code {
    pub const NO_ERROR: u64 = 0x100;
    pub const INTERNAL_ERROR: u64 = 0x102;
    pub const REQUEST_CANCELLED: u64 = 0x10c;
    pub const MESSAGE_ERROR: u64 = 0x10e;
    pub const DATAGRAM_ERROR: u64 = 0x33;
}

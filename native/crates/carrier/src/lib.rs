//! Packets of the mesh in HTTP/3 (CONNECT-UDP, RFC 9298), for nodes that QUIC comes out of and
//! WireGuard does not, and in TLS over TCP, for those that only that comes out of. To the device
//! the other end of a carrier is an address of loopback, where this crate has a port for it.
//!
//! Who is let in and when a carrier begins or ends, others decide: [`Carriers::take`] has what
//! happened, with the key that the TLS handshake proved. One thread for all of it.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod capsule;
mod carriers;
mod desk;
mod h3;
mod handshakes;
mod lane;
mod options;
mod port;
mod request;
mod tcp;
mod tls;
mod train;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use carriers::{Carriers, Error};
pub use options::Options;

/// In what packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// CONNECT-UDP.
    H3,
    /// TLS, each packet after its length.
    Tcp,
}

/// What happened to a carrier; each has its number while this program lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node wants to be carried: [`Carriers::admit`] answers.
    Asks {
        /// Which one.
        carrier: u32,
        /// How it came.
        way: Way,
        /// The Ed25519 key of its certificate.
        identity: [u8; 32],
        /// Where it comes from.
        remote: SocketAddr,
    },
    /// Packets pass.
    Opened {
        /// Which one.
        carrier: u32,
        /// Where the device finds the other end.
        endpoint: SocketAddr,
        /// Where it really is.
        remote: SocketAddr,
    },
    /// The other end is somewhere else now.
    Moved {
        /// Which one.
        carrier: u32,
        /// Where it is.
        remote: SocketAddr,
    },
    /// It is over, or never began.
    Ended {
        /// Which one.
        carrier: u32,
        /// Why, in words.
        reason: String,
        /// Packets that did not fit into its queues.
        dropped: u64,
    },
}

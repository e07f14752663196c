//! Where the agents of a mesh come in: ends mutual TLS, reads whole HTTP/1.1 requests, and holds
//! the connections of those who are told things from then on (server-sent events).
//!
//! What is asked, by whom and what is answered, others decide: [`Front::take`] has requests, with
//! the key that the TLS handshake proved; [`Front::answer`], [`Front::open`], [`Front::tell`] and
//! [`Front::end`] say what becomes of a connection. One thread for all of it.
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

mod connection;
mod front;
mod line;
mod options;
mod shared;
mod signatures;
mod tls;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use edge_http_policy::Header;
use std::net::IpAddr;

pub use front::{Error, Front};
pub use line::Then;
pub use options::Options;
pub use signatures::{Signed, verify_each};

/// What happened on a connection.
#[derive(Debug)]
pub enum Event {
    /// Somebody asks, and waits for an answer.
    Asked(Box<Request>),
    /// One that was told too much for its pace has everything now.
    Drained(u32),
    /// One that was told things is gone.
    Gone(u32),
}

/// One whole request.
#[derive(Debug)]
pub struct Request {
    /// Which connection; no other one has the number while it lives.
    pub connection: u32,
    /// Where it comes from.
    pub address: IpAddr,
    /// The Ed25519 key of the certificate that the connection showed, proven in its handshake.
    pub identity: Option<[u8; 32]>,
    /// As received.
    pub method: Bytes,
    /// Path and query.
    pub target: Vec<u8>,
    /// As received.
    pub headers: Vec<Header>,
    /// Without its framing.
    pub body: Bytes,
    /// Whether another request may follow the answer.
    pub keep_alive: bool,
}

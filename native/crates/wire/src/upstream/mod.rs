//! Towards endpoints: connections of HTTP/1.1 and HTTP/2, in clear and over TLS, and what
//! `forward` and `relay` need of them.
#![allow(async_fn_in_trait)] // every implementation and every caller lives on one wire thread

mod appetite;
mod h1;
mod h1_head;
mod h2;
mod link;
mod pool;
mod tls;
mod tunnel;
mod websocket;

pub use h2::{Session, exchange as exchange_h2};
pub use link::Link;
pub use pool::{Connection, Key, Pool, Target};
pub use tunnel::tunnel;
pub use websocket::Handshake;

use crate::error_code::ErrorCode;
use crate::outbound::RequestFraming;
use crate::seam::Field;
use bytes::Bytes;
use edge_http_policy::TrailerLimits;
use std::time::Duration;

/// A whole response head. Beyond it: `UPSTREAM_INVALID_RESPONSE`.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a response. Beyond it: `UPSTREAM_INVALID_RESPONSE`.
const RESPONSE_HEADERS_MAX: usize = 128;
/// Interim responses before the final one; more is an attack on our patience.
pub const INTERIM_MAX: usize = 8;

/// How the end of a response body is found, as far as the client's side needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    None,
    Length(u64),
    /// At the end of chunks, of a stream or of the connection.
    Unknown,
}

/// The head of an endpoint's response, interim or final.
#[derive(Debug)]
pub struct UpstreamHead {
    pub status: u16,
    pub headers: Vec<Field>,
    pub framing: ResponseFraming,
    /// The content-length field, also where no body follows.
    pub announced: Option<u64>,
}

/// What the endpoint did with a request before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It says itself that it did not look at it (RFC 9113 §8.7): any request may be sent again.
    Unprocessed,
    /// No byte of a response came.
    Unknown,
    /// A response began.
    Answered,
}

/// Why there is no response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    pub code: ErrorCode,
    pub progress: Progress,
}

/// How a request goes out and its response is read.
pub struct Manner {
    pub framing: RequestFraming,
    /// For a write without any progress.
    pub patience: Duration,
    pub to_head_request: bool,
    pub trailers: TrailerLimits,
}

/// The way of one request to an endpoint. `false`: the endpoint takes no more of it, which is no
/// failure: it may have answered.
pub trait RequestSink {
    /// Sends the head with what of the body is here already. `ends`: that is all of it.
    async fn open(&mut self, held: Bytes, ends: bool) -> Result<bool, ErrorCode>;
    /// Sends a piece of the body.
    async fn data(&mut self, piece: Bytes) -> Result<bool, ErrorCode>;
    /// Ends the body; not called when `open` ended it.
    async fn end(&mut self, trailers: Vec<Field>) -> Result<bool, ErrorCode>;
}

/// The way of its response.
pub trait ResponseSource {
    /// The next head: interim ones until the final one.
    async fn head(&mut self) -> Result<UpstreamHead, Broken>;
    /// The next piece of the body, `None` at its end. Cancel-safe.
    async fn piece(&mut self) -> Result<Option<Bytes>, ErrorCode>;
    /// The validated trailers, after `piece` returned `None`.
    fn trailers(&mut self) -> Vec<Field>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

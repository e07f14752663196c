//! What a protocol (h1, h2, h3) offers to `serve`, and nothing more.
#![allow(async_fn_in_trait)] // every implementation and every caller lives on one wire thread

use bytes::Bytes;
use edge_http_policy::Refusal;

/// Why a request body did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// It ended early: the client is gone or reset the stream.
    Incomplete,
    /// Nothing came for `bodyIdleTimeoutMs`; the protocol keeps that clock.
    Timeout,
    /// Its framing is broken (chunk syntax, more bytes than content-length…).
    Invalid(Refusal),
}

/// The request body of one exchange.
pub trait BodySource {
    /// The next piece (never empty), `None` at the end. After `None` or an error it stays `None`.
    /// Must be cancel-safe: `serve` drops the future and calls again.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>>;
}

/// The client is gone, or the stream was reset: nothing more can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// How the response body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// No body and no content-length field (204, 304).
    None,
    /// A content-length field and no body: the answer to HEAD, or a 304.
    Announced(u64),
    /// A content-length field, then exactly this many bytes.
    Known(u64),
    /// Until `end`: chunked, end of stream, or close-delimited.
    Unknown,
}

/// The head of a response. `headers` holds no framing and no hop-by-hop field: the sink adds
/// content-length, transfer-encoding, connection, date (unless it is there) and alt-svc.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Status, 200–599.
    pub status: u16,
    /// Names as the endpoint or the plan wrote them (h2 and h3 sinks lower them), and values.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Framing of what follows.
    pub body: BodyLength,
}

/// The response of one exchange. Order: `interim`*, `head`, `data`*, `end`; or `reset` any time.
pub trait ResponseSink {
    /// Sends an interim response (100) at once.
    async fn interim(&mut self, status: u16) -> Result<(), Gone>;
    /// Sends the head; may be held back until `data`, `flush` or `end`.
    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone>;
    /// Sends a piece of the body; waits while the client reads slowly.
    async fn data(&mut self, piece: Bytes) -> Result<(), Gone>;
    /// Sends what was held back; called when the next piece is not there yet.
    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }
    /// Ends the response and sends everything held back.
    async fn end(&mut self) -> Result<(), Gone>;
    /// Breaks the response off so that the client can tell: stream reset, or connection cut.
    fn reset(&mut self);
    /// No further request on this connection (h2, h3: nothing). Called before `head`.
    fn close_after(&mut self) {}
    /// Resolves when the client is gone or reset the stream. Cancel-safe.
    async fn closed(&mut self);
}

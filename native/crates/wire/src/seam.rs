//! What a protocol (h1, h2, h3) offers to `serve`, and nothing more.
#![allow(async_fn_in_trait)] // every implementation and every caller lives on one wire thread

use bytes::Bytes;
use edge_http_policy::Refusal;

/// Name and value of one field line.
pub type Field = (Bytes, Bytes);

/// Why a request body did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// It ended early: the client is gone or reset the stream.
    Incomplete,
    /// Nothing came for `bodyIdleTimeoutMs`; the protocol keeps that clock.
    Timeout,
    /// It came at less than `bodyRateBytesMin` a second.
    TooSlow,
    /// Its framing is broken (chunk syntax, more bytes than content-length…).
    Invalid(Refusal),
}

/// The request body of one exchange.
pub trait BodySource {
    /// The next piece (never empty), `None` at the end. After `None` or an error it stays `None`.
    /// Must be cancel-safe: `serve` drops the future and calls again.
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>>;
    /// The validated trailers, after `next` returned `None`; empty when there were none.
    fn trailers(&mut self) -> Vec<Field> {
        Vec::new()
    }
    /// The connection becomes a tunnel (h1): `next` returns the client's bytes as they come, and
    /// `None` when it closed its side. h2 and h3: their DATA does that already.
    fn open_tunnel(&mut self) {}
}

impl<B: BodySource> BodySource for &mut B {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        (**self).next().await
    }

    fn trailers(&mut self) -> Vec<Field> {
        (**self).trailers()
    }

    fn open_tunnel(&mut self) {
        (**self).open_tunnel();
    }
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
    /// What follows is a tunnel's bytes: after 101 (h1), or 200 to an extended CONNECT (h2, h3).
    Tunnel,
}

/// The head of a response. `headers` holds no framing and no hop-by-hop field: the sink adds
/// content-length, transfer-encoding, connection, date (unless it is there) and alt-svc.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// Status, 200–599; 101 with `BodyLength::Tunnel`.
    pub status: u16,
    /// Names as the endpoint or the plan wrote them (h2 and h3 sinks lower them), and values.
    pub headers: Vec<Field>,
    /// Framing of what follows.
    pub body: BodyLength,
}

/// The response of one exchange. Order: `interim`*, `head`, `data`*, `end`; or `reset` any time.
pub trait ResponseSink {
    /// Sends an interim response (100, 103…) at once; a client of HTTP/1.0 gets none.
    async fn interim(&mut self, status: u16, headers: Vec<Field>) -> Result<(), Gone>;
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
    /// Ends the response with trailers, where the protocol and the client can take them.
    async fn trailers(&mut self, trailers: Vec<Field>) -> Result<(), Gone> {
        drop(trailers);
        self.end().await
    }
    /// Breaks the response off so that the client can tell: stream reset, or connection cut.
    fn reset(&mut self);
    /// No further request on this connection (h2, h3: nothing). Called before `head`.
    fn close_after(&mut self) {}
    /// Resolves when the client is gone or reset the stream. Cancel-safe.
    async fn closed(&mut self);
}

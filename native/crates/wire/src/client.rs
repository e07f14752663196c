//! The client's two directions, with what must be remembered about them.

use crate::error_code::ErrorCode;
use crate::seam::{BodyError, BodyLength, BodySource, Field, Gone, ResponseHead, ResponseSink};
use bytes::Bytes;
use edge_http_policy::{Framing, Head, Version};

/// Why an exchange did not go to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    Code(ErrorCode),
    /// The client is gone.
    Gone,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure::Code(code)
    }
}

impl From<Gone> for Failure {
    fn from(_: Gone) -> Failure {
        Failure::Gone
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Failure {
        Failure::Code(match error {
            BodyError::Incomplete => ErrorCode::RequestBodyIncomplete,
            BodyError::Timeout => ErrorCode::RequestBodyTimeout,
            BodyError::TooSlow => ErrorCode::RequestTooSlow,
            BodyError::Invalid(refusal) => refusal.into(),
        })
    }
}

/// The response side.
pub struct Client<S> {
    pub sink: S,
    to_head_request: bool,
    /// It asked for a tunnel.
    asks_tunnel: bool,
    /// It asked by extended CONNECT: a 2xx says that the tunnel is open (RFC 8441 §5, RFC 9220 §3).
    extended_connect: bool,
    status: u16,
    head_sent: bool,
    body_bytes: u64,
}

impl<S: ResponseSink> Client<S> {
    pub fn new(sink: S, head: &Head) -> Client<S> {
        let by_stream = matches!(head.version, Version::Http2 | Version::Http3);
        Client {
            sink,
            to_head_request: *head.method == *b"HEAD",
            asks_tunnel: head.websocket,
            extended_connect: head.websocket && by_stream,
            status: 0,
            head_sent: false,
            body_bytes: 0,
        }
    }

    /// No further request on this connection (where the protocol has such a thing).
    pub fn close_after(&mut self) {
        self.sink.close_after();
    }

    /// Sends the head of a response.
    pub async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        (self.status, self.head_sent) = (head.status, true);
        if self.asks_tunnel && head.body != BodyLength::Tunnel {
            // What an h1 client sent early was meant for the tunnel: it is no further request.
            self.close_after();
        }
        self.sink.head(head).await
    }

    /// Sends a piece of its body.
    pub async fn data(&mut self, piece: Bytes) -> Result<(), Gone> {
        self.body_bytes += piece.len() as u64;
        self.sink.data(piece).await
    }

    /// Whether an answer with this status would say that a tunnel is open although none is.
    pub fn feigns_tunnel(&self, status: u16) -> bool {
        self.extended_connect && (200..300).contains(&status)
    }

    /// Sends a complete response. To an extended CONNECT one of 2xx (health, or the status that a
    /// WAF rule names) goes out as 403: it opened nothing.
    pub async fn answer(
        &mut self,
        status: u16,
        headers: Vec<(Bytes, Bytes)>,
        body: Bytes,
    ) -> Result<(), Gone> {
        let status = match self.feigns_tunnel(status) {
            true => 403,
            false => status,
        };
        let length = body.len() as u64;
        let length = match status {
            204 | 304 => BodyLength::None,
            _ if self.to_head_request => BodyLength::Announced(length),
            _ => BodyLength::Known(length),
        };
        self.head(ResponseHead {
            status,
            headers,
            body: length,
        })
        .await?;
        if matches!(length, BodyLength::Known(1..)) {
            self.data(body).await?;
        }
        self.sink.end().await
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn head_sent(&self) -> bool {
        self.head_sent
    }

    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }
}

/// The request side.
pub struct RequestBody<B> {
    source: B,
    /// Read, but beyond what was to be held.
    rest: Option<Bytes>,
    source_ended: bool,
    awaits_continue: bool,
    length: Option<u64>,
    bytes: u64,
}

impl<B: BodySource> RequestBody<B> {
    pub fn new(source: B, head: &Head) -> RequestBody<B> {
        RequestBody {
            source,
            rest: None,
            source_ended: !head.framing.has_body(),
            awaits_continue: head.expect_continue && head.framing.has_body(),
            length: match head.framing {
                Framing::Length(length) => Some(length),
                _ => None,
            },
            bytes: 0,
        }
    }

    /// The next piece; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.rest.is_some() {
            return self.rest.take().map(Ok);
        }
        if self.source_ended {
            return None;
        }
        let next = self.source.next().await;
        match &next {
            Some(Ok(piece)) => {
                self.awaits_continue = false;
                self.bytes += piece.len() as u64;
                self.source_ended = self.length.is_some_and(|length| self.bytes >= length);
            }
            Some(Err(_)) => {}
            None => self.source_ended = true,
        }
        next
    }

    /// Gives back what was too much; `next` returns it again.
    pub fn put_back(&mut self, rest: Bytes) {
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
    }

    /// The trailers, once the body has ended.
    pub fn trailers(&mut self) -> Vec<Field> {
        self.source.trailers()
    }

    /// From now on `next` returns a tunnel's bytes.
    pub fn open_tunnel(&mut self) {
        (self.source_ended, self.length) = (false, None);
        self.source.open_tunnel();
    }

    /// Whether nothing is left to read.
    pub fn ended(&self) -> bool {
        self.source_ended && self.rest.is_none()
    }

    /// Whether the client waits for 100 Continue; true once.
    pub fn takes_continue(&mut self) -> bool {
        std::mem::take(&mut self.awaits_continue)
    }

    /// Bytes to expect in all, when known, up to `max`.
    pub fn expected(&self, max: usize) -> usize {
        let length = self.length.and_then(|length| usize::try_from(length).ok());
        length.unwrap_or(0).min(max)
    }

    /// Bytes received.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

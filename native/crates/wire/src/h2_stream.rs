//! One HTTP/2 stream as body source and response sink.

use crate::h1_head::with_date;
use crate::seam::{BodyError, BodyLength, BodySource, Field, Gone, ResponseHead, ResponseSink};
use crate::shared::Answer;
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::Refusal;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{ALT_SVC, CONTENT_LENGTH, DATE, HeaderName, HeaderValue};
use http::{Response, StatusCode, request};
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::timeout;

/// The request's fields, pseudo-fields first, in one allocation.
pub fn fields(parts: &request::Parts) -> Vec<Field> {
    let uri = &parts.uri;
    let mut pieces: Vec<(&[u8], &[u8])> = Vec::with_capacity(parts.headers.len() + 4);
    pieces.push((b":method", parts.method.as_str().as_bytes()));
    if let Some(scheme) = uri.scheme_str() {
        pieces.push((b":scheme", scheme.as_bytes()));
    }
    if let Some(authority) = uri.authority() {
        pieces.push((b":authority", authority.as_str().as_bytes()));
    }
    if let Some(target) = uri.path_and_query() {
        pieces.push((b":path", target.as_str().as_bytes()));
    }
    pieces.extend(
        parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
    );
    let size = pieces
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let mut all = BytesMut::with_capacity(size);
    for (name, value) in &pieces {
        all.put_slice(name);
        all.put_slice(value);
    }
    let mut all = all.freeze();
    let mut cut = |bytes: &[u8]| all.split_to(bytes.len());
    pieces
        .into_iter()
        .map(|(name, value)| (cut(name), cut(value)))
        .collect()
}

/// The head of a response; framing fields and the date are added here.
fn response(head: &ResponseHead, alt_svc: &str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value.clone())) {
            headers.append(name, value);
        }
    }
    if !headers.contains_key(DATE)
        && let Ok(date) = with_date(HeaderValue::from_bytes)
    {
        headers.insert(DATE, date);
    }
    if let BodyLength::Known(length) | BodyLength::Announced(length) = head.body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !alt_svc.is_empty()
        && let Ok(value) = HeaderValue::from_str(alt_svc)
    {
        headers.insert(ALT_SVC, value);
    }
    response
}

/// Answers a stream that reaches no exchange.
pub fn error_answer(respond: &mut SendResponse<Bytes>, answer: &Answer) {
    let head = ResponseHead {
        status: answer.status,
        headers: answer.headers.clone(),
        body: BodyLength::Known(answer.body.len() as u64),
    };
    let ends = answer.body.is_empty();
    if let Ok(mut stream) = respond.send_response(response(&head, ""), ends)
        && !ends
    {
        let _ = stream.send_data(answer.body.clone(), true);
    }
}

/// The request body: its window opens as it is consumed.
pub struct H2Body {
    pub stream: RecvStream,
    /// Bytes returned last time; by now they are used.
    pub consumed: usize,
    pub patience: Duration,
    pub failed: bool,
}

impl BodySource for H2Body {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.failed {
            return None;
        }
        let consumed = std::mem::take(&mut self.consumed);
        if consumed > 0 {
            let _ = self.stream.flow_control().release_capacity(consumed);
        }
        loop {
            let error = match timeout(self.patience, self.stream.data()).await {
                Ok(None) => return None,
                Ok(Some(Ok(piece))) if piece.is_empty() => continue,
                Ok(Some(Ok(piece))) => {
                    self.consumed = piece.len();
                    return Some(Ok(piece));
                }
                Ok(Some(Err(error))) if error.reason() == Some(Reason::PROTOCOL_ERROR) => {
                    BodyError::Invalid(Refusal::BadRequest("h2 body"))
                }
                Ok(Some(Err(_))) => BodyError::Incomplete,
                Err(_) => BodyError::Timeout,
            };
            self.failed = true;
            return Some(Err(error));
        }
    }
}

/// The response.
pub struct H2Sink<'a> {
    pub respond: SendResponse<Bytes>,
    pub stream: Option<SendStream<Bytes>>,
    /// Bytes to come, when known: the last of them ends the stream.
    pub left: Option<u64>,
    pub patience: Duration,
    pub alt_svc: &'a str,
}

impl H2Sink<'_> {
    async fn capacity(stream: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
        stream.reserve_capacity(wanted);
        loop {
            let capacity = stream.capacity();
            if capacity > 0 {
                return Some(capacity);
            }
            poll_fn(|context| stream.poll_capacity(context))
                .await?
                .ok()?;
        }
    }
}

impl ResponseSink for H2Sink<'_> {
    async fn interim(&mut self, status: u16, _headers: Vec<Field>) -> Result<(), Gone> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Gone)?;
        self.respond.send_informational(response).map_err(|_| Gone)
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        let (ends, left) = match head.body {
            BodyLength::None | BodyLength::Announced(_) | BodyLength::Known(0) => (true, None),
            BodyLength::Known(length) => (false, Some(length)),
            BodyLength::Unknown | BodyLength::Tunnel => (false, None),
        };
        let sent = self
            .respond
            .send_response(response(&head, self.alt_svc), ends);
        let stream = sent.map_err(|_| Gone)?;
        self.left = left;
        self.stream = Some(stream).filter(|_| !ends);
        Ok(())
    }

    async fn data(&mut self, mut piece: Bytes) -> Result<(), Gone> {
        while !piece.is_empty() {
            let Some(stream) = &mut self.stream else {
                return Ok(());
            };
            let capacity = timeout(self.patience, Self::capacity(stream, piece.len())).await;
            let capacity = capacity.ok().flatten().ok_or(Gone)?;
            let part = piece.split_to(capacity.min(piece.len()));
            self.left = self.left.map(|left| left.saturating_sub(part.len() as u64));
            let ends = self.left == Some(0);
            stream.send_data(part, ends).map_err(|_| Gone)?;
            if ends {
                self.stream = None;
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Gone> {
        match self.stream.take() {
            Some(mut stream) => stream.send_data(Bytes::new(), true).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    fn reset(&mut self) {
        match self.stream.take() {
            Some(mut stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    async fn closed(&mut self) {
        let respond = &mut self.respond;
        match &mut self.stream {
            Some(stream) => {
                let _ = poll_fn(|context| stream.poll_reset(context)).await;
            }
            None => {
                let _ = poll_fn(|context| respond.poll_reset(context)).await;
            }
        }
    }
}

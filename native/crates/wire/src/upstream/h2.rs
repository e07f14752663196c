//! HTTP/2 to endpoints: one connection carries the exchanges of a thread as streams. The window
//! of a stream opens as the client takes the response, so nothing piles up here.

use super::link::Stream;
use super::{
    Broken, Manner, Progress, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX, RequestSink,
    ResponseFraming, ResponseSource, UpstreamHead,
};
use crate::error_code::ErrorCode;
use crate::outbound::RequestFraming;
use crate::seam::Field;
use bytes::Bytes;
use edge_http_policy::{TrailerLimits, trailers};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Streams of one connection at a time, if the endpoint allows as many.
const STREAMS_MAX: usize = 100;
/// What an endpoint may send ahead of its client, for one exchange.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Room for every stream's window: a client that reads slowly must not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;

/// A connection, as long as somebody may use it.
pub struct Session {
    requests: SendRequest<Bytes>,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
    retired: Cell<bool>,
}

/// Begins HTTP/2 on `stream`.
pub async fn connect(stream: Stream) -> Result<Rc<Session>, ErrorCode> {
    let shaken = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(RESPONSE_HEAD_BYTES_MAX as u32)
        .handshake(stream)
        .await;
    let (requests, connection) = shaken.map_err(|_| ErrorCode::UpstreamConnectFailed)?;
    tokio::task::spawn_local(async move {
        // How it ended is told to its streams.
        let _ = connection.await;
    });
    Ok(Rc::new(Session {
        requests,
        streams: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        retired: Cell::new(false),
    }))
}

impl Session {
    /// Whether new streams are welcome: no GOAWAY, no error, not retired.
    pub fn is_open(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let ready = self.requests.clone().poll_ready(&mut context);
        !self.retired.get() && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether one more stream would not have to wait.
    pub fn has_room(&self) -> bool {
        self.streams.get() < self.requests.current_max_send_streams().min(STREAMS_MAX)
    }

    /// Takes no new streams: its endpoint was silent for too long.
    pub fn retire(&self) {
        self.retired.set(true);
    }

    pub fn idle_longer_than(&self, limit: Duration) -> bool {
        self.streams.get() == 0 && self.idle_since.get().elapsed() >= limit
    }
}

/// Counts a stream in and out.
struct Place(Rc<Session>);

impl Place {
    fn new(session: &Rc<Session>) -> Place {
        session.streams.set(session.streams.get() + 1);
        Place(session.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// Opens a stream for one exchange.
pub fn exchange(
    session: &Rc<Session>,
    request: Request<()>,
    manner: &Manner,
) -> Result<(H2Request, H2Response), Broken> {
    let place = Place::new(session);
    let ends = manner.framing == RequestFraming::None;
    let sent = session.requests.clone().send_request(request, ends);
    // Nothing of it has left: the connection was closing already.
    let (response, stream) = sent.map_err(|_| Broken {
        code: ErrorCode::UpstreamClosed,
        progress: Progress::Unprocessed,
    })?;
    let request = H2Request {
        stream,
        ended: ends,
        patience: manner.patience,
    };
    let response = H2Response {
        response,
        to_head_request: manner.to_head_request,
        trailer_limits: manner.trailers,
        body: None,
        consumed: 0,
        trailers: Vec::new(),
        _place: place,
    };
    Ok((request, response))
}

/// The request; dropping it before its end resets the stream.
pub struct H2Request {
    stream: SendStream<Bytes>,
    ended: bool,
    patience: Duration,
}

impl H2Request {
    /// Sends as the endpoint's windows allow. False: it reset the stream, or is gone.
    async fn send(&mut self, mut piece: Bytes, ends: bool) -> Result<bool, ErrorCode> {
        while !piece.is_empty() {
            let waiting = capacity(&mut self.stream, piece.len());
            let waited = timeout(self.patience, waiting).await;
            let Some(capacity) = waited.map_err(|_| ErrorCode::UpstreamIdleTimeout)? else {
                return Ok(false);
            };
            let part = piece.split_to(capacity.min(piece.len()));
            self.ended = ends && piece.is_empty();
            if self.stream.send_data(part, self.ended).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

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

impl RequestSink for H2Request {
    async fn open(&mut self, held: Bytes, ends: bool) -> Result<bool, ErrorCode> {
        self.send(held, ends).await
    }

    async fn data(&mut self, piece: Bytes) -> Result<bool, ErrorCode> {
        self.send(piece, false).await
    }

    async fn end(&mut self, trailers: Vec<Field>) -> Result<bool, ErrorCode> {
        if self.ended {
            return Ok(true);
        }
        self.ended = true;
        let sent = match trailers.is_empty() {
            true => self.stream.send_data(Bytes::new(), true),
            false => self.stream.send_trailers(field_map(&trailers)),
        };
        Ok(sent.is_ok())
    }
}

/// Fields as the library wants them. Names are tokens by now and values hold no control bytes.
fn field_map(fields: &[Field]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        put_field(&mut map, name, value);
    }
    map
}

/// Adds a field; one that HTTP/2 cannot carry does not go.
pub fn put_field(map: &mut HeaderMap, name: &[u8], value: &Bytes) {
    let name = HeaderName::from_bytes(name);
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value.clone())) {
        map.append(name, value);
    }
}

/// The response; dropping it before its end resets the stream.
pub struct H2Response {
    response: ResponseFuture,
    to_head_request: bool,
    trailer_limits: TrailerLimits,
    body: Option<RecvStream>,
    /// Bytes returned last time; by now the client has them.
    consumed: usize,
    trailers: Vec<Field>,
    _place: Place,
}

impl ResponseSource for H2Response {
    async fn head(&mut self) -> Result<UpstreamHead, Broken> {
        let response = &mut self.response;
        let head = poll_fn(|context| {
            if let Poll::Ready(Some(interim)) = response.poll_informational(context) {
                return Poll::Ready(interim.map(|head| (head, None)));
            }
            let polled = Pin::new(&mut *response).poll(context);
            polled.map_ok(|head| {
                let (parts, body) = head.into_parts();
                (Response::from_parts(parts, ()), Some(body))
            })
        });
        let (head, body) = head.await.map_err(|error| broken(&error))?;
        self.body = body;
        let ended = self.body.as_ref().is_none_or(RecvStream::is_end_stream);
        read_head(&head, ended, self.to_head_request).map_err(|code| Broken {
            code,
            progress: Progress::Answered,
        })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ErrorCode> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let consumed = std::mem::take(&mut self.consumed);
        if consumed > 0 {
            let _ = body.flow_control().release_capacity(consumed);
        }
        loop {
            match body.data().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    self.consumed = piece.len();
                    return Ok(Some(piece));
                }
                Some(Err(error)) => return Err(broken(&error).code),
                None => break,
            }
        }
        let fields = body.trailers().await.map_err(|error| broken(&error).code)?;
        let fields = fields_of(&fields.unwrap_or_default());
        self.trailers = trailers(fields.into_iter(), &self.trailer_limits)
            .map_err(|_| ErrorCode::UpstreamInvalidResponse)?;
        self.body = None;
        Ok(None)
    }

    fn trailers(&mut self) -> Vec<Field> {
        std::mem::take(&mut self.trailers)
    }
}

fn fields_of(map: &HeaderMap) -> Vec<Field> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = Bytes::copy_from_slice(name.as_str().as_bytes());
        (name, Bytes::copy_from_slice(value.as_bytes()))
    };
    map.iter().map(field).collect()
}

fn read_head(
    head: &Response<()>,
    ended: bool,
    to_head_request: bool,
) -> Result<UpstreamHead, ErrorCode> {
    let status = head.status();
    let mut lengths = head.headers().get_all(CONTENT_LENGTH).iter();
    let announced = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => Some(decimal(length).ok_or(ErrorCode::UpstreamInvalidResponse)?),
        _ => return Err(ErrorCode::UpstreamInvalidResponse),
    };
    // RFC 9113 §8.6: there is no 101.
    if head.headers().len() > RESPONSE_HEADERS_MAX
        || status == StatusCode::SWITCHING_PROTOCOLS
        || status.as_u16() > 599
    {
        return Err(ErrorCode::UpstreamInvalidResponse);
    }
    let bodiless =
        to_head_request || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let framing = match announced {
        _ if bodiless => ResponseFraming::None,
        _ if ended => ResponseFraming::Length(0),
        Some(length) => ResponseFraming::Length(length),
        None => ResponseFraming::Unknown,
    };
    Ok(UpstreamHead {
        status: status.as_u16(),
        headers: fields_of(head.headers()),
        framing,
        announced,
    })
}

fn decimal(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// What an error of a stream means. Streams above a GOAWAY's last one end with it as well.
fn broken(error: &h2::Error) -> Broken {
    let refused = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    let (code, progress) = match (error.is_remote(), error.is_io()) {
        (true, _) if refused => (ErrorCode::UpstreamClosed, Progress::Unprocessed),
        (true, _) | (_, true) => (ErrorCode::UpstreamClosed, Progress::Unknown),
        _ => (ErrorCode::UpstreamInvalidResponse, Progress::Answered),
    };
    Broken { code, progress }
}

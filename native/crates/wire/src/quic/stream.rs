//! One request stream as `serve` sees it: a body to read and a sink to answer. Both call into the
//! connection directly and have the endpoint flush it.

use super::connection::Connection;
use super::response::{self, Field};
use super::state::{H3_CONNECT_ERROR, H3_INTERNAL_ERROR, H3_MESSAGE_ERROR, State};
use crate::config::WireLimits;
use crate::rate::{Rate, RateLimits};
use crate::seam::{BodyError, BodyLength, BodySource, Gone, ResponseHead, ResponseSink};
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::{Framing, Head, Refusal};
use quiche::h3::{Error, Priority};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Largest piece of a body handed on at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// A flag that one task waits for.
#[derive(Default)]
struct Signal {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    fn raise(&self) {
        self.set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|context| {
            if self.set.replace(false) {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// What the connection's events and the two ends of a stream tell each other.
pub(super) struct Stream {
    pub id: u64,
    /// The response was sent whole.
    pub answered: Cell<bool>,
    /// `content-length: 0` although the stream went on.
    pub refuses_content: Cell<bool>,
    pub priority: Cell<Priority>,
    readable: Signal,
    writable: Signal,
    finished: Cell<bool>,
    lost: Cell<bool>,
    ends: Cell<u8>,
    trailers: RefCell<Vec<Field>>,
    /// Why the client's side was broken off, when it was its own fault.
    refusal: Cell<Option<Refusal>>,
}

impl Stream {
    /// A stream with its body and its sink.
    pub fn new(id: u64) -> Stream {
        Stream {
            id,
            answered: Cell::new(false),
            refuses_content: Cell::new(false),
            priority: Cell::new(Priority::default()),
            readable: Signal::default(),
            writable: Signal::default(),
            finished: Cell::new(false),
            lost: Cell::new(false),
            ends: Cell::new(2),
            trailers: RefCell::default(),
            refusal: Cell::new(None),
        }
    }

    /// The request's trailers came.
    pub fn put_trailers(&self, trailers: Vec<Field>) {
        self.trailers.replace(trailers);
    }

    /// The rest of the request is malformed.
    pub fn refuse(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    /// The request ended and every byte of it was read.
    pub fn finish(&self) {
        self.finished.set(true);
        self.readable.raise();
    }

    /// The request's end was read.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Nothing can be sent any more; nothing more will come.
    pub fn lose(&self) {
        self.lost.set(true);
        self.readable.raise();
        self.writable.raise();
    }

    /// See [`Stream::lose`].
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Content came.
    pub fn wake_reader(&self) {
        self.readable.raise();
    }

    /// The stream may have capacity.
    pub fn wake_writer(&self) {
        self.writable.raise();
    }
}

/// Body or sink: the stream is closed when both are gone.
struct End {
    connection: Rc<Connection>,
    stream: Rc<Stream>,
}

impl Drop for End {
    fn drop(&mut self) {
        let left = self.stream.ends.get().saturating_sub(1);
        self.stream.ends.set(left);
        if left == 0
            && let Some(mut state) = self.connection.try_state()
        {
            state.release(&self.stream);
            drop(state);
            self.connection.touch();
        }
    }
}

enum Read {
    Piece(Bytes),
    End,
    Failed(BodyError),
    Pending,
}

/// The request body.
pub(super) struct Body {
    end: End,
    /// Bytes still to come, when content-length said so.
    expected: Option<u64>,
    done: bool,
    rate: Rate,
    /// A tunnel may be silent for as long as its two ends like.
    is_tunnel: bool,
}

impl Body {
    /// The body of the request with `head`.
    pub fn new(
        connection: Rc<Connection>,
        stream: Rc<Stream>,
        head: &Head,
        limits: &WireLimits,
    ) -> Body {
        let expected = match head.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        stream.refuses_content.set(expected == Some(0));
        let rate = Rate::new(RateLimits {
            bytes_min: limits.body_rate_bytes_min,
            grace: Duration::from_millis(limits.body_rate_grace_ms),
            idle: Duration::from_millis(limits.body_idle_timeout_ms),
        });
        Body {
            end: End { connection, stream },
            expected,
            // What follows an extended CONNECT is the tunnel's (RFC 9220).
            done: head.framing == Framing::None && !head.websocket,
            rate,
            is_tunnel: false,
        }
    }

    fn read(&mut self) -> Read {
        let piece = self.take();
        if !matches!(piece, Read::Pending) {
            return piece;
        }
        loop {
            let unread = self.unread();
            // Everything was read; only now can quiche tell whether that was all (RFC 9114 §4.1).
            self.end.connection.poll();
            let piece = self.take();
            if !matches!(piece, Read::Pending) || self.unread() >= unread {
                return piece;
            }
            // quiche tells of the first of several empty DATA frames only.
            self.end.connection.empty_frame();
        }
    }

    fn unread(&self) -> usize {
        let state = self.end.connection.state();
        state
            .quic
            .stream_readable_len(self.end.stream.id, usize::MAX)
    }

    fn take(&mut self) -> Read {
        let (stream, connection) = (self.end.stream.clone(), self.end.connection.clone());
        if let Some(refusal) = stream.refusal.get() {
            return Read::Failed(BodyError::Invalid(refusal));
        }
        if stream.is_lost() {
            return Read::Failed(BodyError::Incomplete);
        }
        let mut state = connection.state();
        if stream.is_finished() {
            return match self.expected {
                None | Some(0) => Read::End,
                Some(_) => self.mismatch(&mut state),
            };
        }
        let State {
            quic, h3: Some(h3), ..
        } = &mut *state
        else {
            return Read::Failed(BodyError::Incomplete);
        };
        let ready = quic.stream_readable_len(stream.id, PIECE_BYTES_MAX);
        // Even when nothing is there quiche must be asked, else it announces no more content.
        let mut piece = BytesMut::with_capacity(ready);
        match h3.recv_body_buf(quic, stream.id, (&mut piece).limit(ready.max(1))) {
            Ok(_) => self.piece(&mut state, piece.freeze()),
            Err(Error::Done) => Read::Pending,
            Err(_) => Read::Failed(BodyError::Incomplete),
        }
    }

    /// Counts a piece. Reading made room, so the client may have to be told.
    fn piece(&mut self, state: &mut State, piece: Bytes) -> Read {
        self.end.connection.touch();
        if let Some(expected) = &mut self.expected {
            match expected.checked_sub(piece.len() as u64) {
                Some(left) => *expected = left,
                None => return self.mismatch(state),
            }
        }
        Read::Piece(piece)
    }

    /// RFC 9114 §4.1.2: content-length and the sum of DATA frames differ: malformed.
    fn mismatch(&self, state: &mut State) -> Read {
        state.abandon(&self.end.stream, H3_MESSAGE_ERROR);
        self.end.connection.touch();
        let refusal = Refusal::BadRequest("content-length and content differ");
        Read::Failed(BodyError::Invalid(refusal))
    }
}

impl BodySource for Body {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.done {
                return None;
            }
            let error = match self.read() {
                Read::Piece(piece) => {
                    match self.rate.waits() {
                        true => self.rate.moved(piece.len(), Instant::now().into_std()),
                        false => self.rate.moved_at_once(piece.len()),
                    }
                    return Some(Ok(piece));
                }
                Read::End => {
                    self.done = true;
                    return None;
                }
                Read::Failed(error) => error,
                Read::Pending if self.is_tunnel => {
                    self.end.stream.readable.wait().await;
                    continue;
                }
                Read::Pending => {
                    let now = Instant::now();
                    let (patience, _) = self.rate.wait(now.into_std());
                    let readable = self.end.stream.readable.wait();
                    if timeout_at(now + patience, readable).await.is_ok() {
                        continue;
                    }
                    BodyError::Timeout
                }
            };
            self.done = true;
            return Some(Err(error));
        }
    }

    fn trailers(&mut self) -> Vec<Field> {
        self.end.stream.trailers.take()
    }

    fn open_tunnel(&mut self) {
        self.is_tunnel = true;
    }
}

/// The response.
pub(super) struct Sink {
    end: End,
    /// The head, until it was sent with what follows it.
    head: Option<Vec<Field>>,
    /// Bytes still to be sent, when the head announced them.
    remaining: Option<u64>,
    /// A head or an interim response was sent before.
    begun: bool,
    /// Counted in `Connection::sending`.
    sending: bool,
    is_head: bool,
    is_tunnel: bool,
    idle: Duration,
}

impl Sink {
    /// The sink of a stream; `is_head`: the answer to HEAD has no content. `idle_ms` is how long
    /// the client may take nothing.
    pub fn new(
        connection: Rc<Connection>,
        stream: Rc<Stream>,
        is_head: bool,
        idle_ms: u64,
    ) -> Sink {
        let end = End { connection, stream };
        Sink {
            end,
            head: None,
            remaining: None,
            begun: false,
            sending: false,
            is_head,
            is_tunnel: false,
            idle: Duration::from_millis(idle_ms),
        }
    }

    /// Tries `send` until the stream has capacity for it, the client is gone or too slow.
    async fn retry<T>(
        &mut self,
        mut send: impl FnMut(&mut Sink, &mut State) -> Result<T, Error>,
    ) -> Result<T, Gone> {
        let deadline = Instant::now() + self.idle;
        loop {
            if self.end.stream.is_lost() {
                return Err(Gone);
            }
            let connection = self.end.connection.clone();
            let result = send(self, &mut connection.state());
            match result {
                Ok(sent) => {
                    connection.touch();
                    return Ok(sent);
                }
                Err(Error::Done | Error::StreamBlocked) => {
                    connection.touch();
                    let stream = self.end.stream.clone();
                    if timeout_at(deadline, stream.writable.wait()).await.is_err() {
                        self.reset();
                    }
                }
                Err(_) => {
                    self.end.stream.lose();
                }
            }
        }
    }

    /// Sends a head, an interim response or (after a head) trailers.
    async fn fields(&mut self, fields: Vec<Field>, section: Section) -> Result<(), Gone> {
        let fin = section.ends();
        self.retry(|sink, state| {
            let State {
                quic, h3: Some(h3), ..
            } = state
            else {
                return Err(Error::InternalError);
            };
            let (id, priority) = (sink.end.stream.id, sink.end.stream.priority.get());
            if sink.begun {
                let is_trailers = section == Section::Trailers;
                h3.send_additional_headers(quic, id, &fields, is_trailers, fin)
            } else {
                h3.send_response_with_priority(quic, id, &fields, &priority, fin)
            }
        })
        .await?;
        self.begun = true;
        self.end.stream.answered.set(fin);
        if !fin && !self.sending {
            self.sending = true;
            let sending = &self.end.connection.sending;
            sending.set(sending.get() + 1);
        }
        Ok(())
    }

    async fn send_head(&mut self, section: Section) -> Result<(), Gone> {
        match self.head.take() {
            Some(fields) => self.fields(fields, section).await,
            None => Ok(()),
        }
    }
}

/// One field section of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// More follows: the final head, or content.
    Head,
    /// A head that is all there is.
    Only,
    Trailers,
}

impl Section {
    fn ends(self) -> bool {
        self != Section::Head
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let sending = &self.end.connection.sending;
        sending.set(sending.get().saturating_sub(u32::from(self.sending)));
    }
}

impl ResponseSink for Sink {
    async fn interim(&mut self, status: u16, headers: Vec<Field>) -> Result<(), Gone> {
        self.fields(response::interim(status, headers), Section::Head)
            .await
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        self.remaining = match head.body {
            BodyLength::Known(length) if !self.is_head => Some(length),
            _ => None,
        };
        self.is_tunnel = head.body == BodyLength::Tunnel;
        self.head = Some(response::fields(head));
        if self.end.stream.is_lost() {
            return Err(Gone);
        }
        // Whoever opened a tunnel waits for the answer before it sends anything.
        match self.is_tunnel {
            true => self.send_head(Section::Head).await,
            false => Ok(()),
        }
    }

    async fn data(&mut self, piece: Bytes) -> Result<(), Gone> {
        if piece.is_empty() || self.is_head {
            return Ok(());
        }
        self.send_head(Section::Head).await?;
        let mut fin = false;
        if let Some(remaining) = &mut self.remaining {
            let Some(left) = remaining.checked_sub(piece.len() as u64) else {
                self.reset();
                return Err(Gone);
            };
            *remaining = left;
            fin = left == 0;
        }
        let mut rest = piece;
        while !rest.is_empty() {
            let all = rest.len();
            let (sent, left) = self
                .retry(|sink, state| {
                    let State {
                        quic, h3: Some(h3), ..
                    } = state
                    else {
                        return Err(Error::InternalError);
                    };
                    let mut part = rest.clone();
                    let sent = h3.send_body_zc(quic, sink.end.stream.id, &mut part, fin)?;
                    Ok((sent, part))
                })
                .await?;
            // quiche leaves the unsent remainder, or the whole when nothing remains.
            rest = if sent == all { Bytes::new() } else { left };
        }
        self.end.stream.answered.set(fin);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send_head(Section::Head).await
    }

    async fn end(&mut self) -> Result<(), Gone> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            self.reset();
            return Err(Gone);
        }
        self.send_head(Section::Only).await?;
        if self.end.stream.answered.get() {
            return Ok(());
        }
        self.retry(|sink, state| {
            let State {
                quic, h3: Some(h3), ..
            } = state
            else {
                return Err(Error::InternalError);
            };
            h3.send_body(quic, sink.end.stream.id, &[], true)
        })
        .await?;
        self.end.stream.answered.set(true);
        Ok(())
    }

    async fn trailers(&mut self, trailers: Vec<Field>) -> Result<(), Gone> {
        let fields = response::trailers(trailers);
        let cut_short = self.remaining.is_some_and(|remaining| remaining > 0);
        // After the last byte of a known length the stream has ended already.
        if fields.is_empty() || self.is_head || cut_short || self.end.stream.answered.get() {
            return self.end().await;
        }
        self.send_head(Section::Head).await?;
        self.fields(fields, Section::Trailers).await
    }

    fn reset(&mut self) {
        let stream = &self.end.stream;
        // RFC 9114 §4.4: how a tunnel says that its other end broke.
        let error = match self.is_tunnel {
            true => H3_CONNECT_ERROR,
            false => H3_INTERNAL_ERROR,
        };
        if !stream.answered.get() && !stream.is_lost() {
            self.end.connection.state().abandon(stream, error);
            self.end.connection.touch();
        }
    }

    async fn closed(&mut self) {
        while !self.end.stream.is_lost() {
            self.end.stream.writable.wait().await;
        }
    }
}

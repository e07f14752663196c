//! One HTTP/3 connection: quiche's two state machines, the streams in progress, and what the
//! events of a packet mean for them.

use super::cid::Cid;
use super::request;
use super::response::{self, Field};
use super::stream::{Body, Sink, Stream};
use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::seam::{BodyLength, ResponseHead};
use crate::serve::serve;
use crate::shared::Admission;
use crate::thread::WireThread;
use bytes::Bytes;
use edge_http_policy::{Framing, Refusal, Version, head_from_fields};
use quiche::Shutdown;
use quiche::h3::{Event, Header, NameValue, Priority};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

/// RFC 9114 §8.1.
pub(super) const H3_NO_ERROR: u64 = 0x100;
pub(super) const H3_INTERNAL_ERROR: u64 = 0x102;
const H3_EXCESSIVE_LOAD: u64 = 0x107;
const H3_REQUEST_REJECTED: u64 = 0x10b;
pub(super) const H3_MESSAGE_ERROR: u64 = 0x10e;
/// A GOAWAY that promises nothing yet: stop opening streams, those under way are served.
const GOAWAY_ID: u64 = (1 << 62) - 4;
/// Streams that a client may reset before their answer: a burst, then so many a second.
const RESETS_MAX: u64 = 200;
const RESETS_PER_SECOND: u64 = 20;

/// Buffers of quiche: sent bodies are passed on without a copy.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers;

impl quiche::BufFactory for Buffers {
    type Buf = Bytes;
    type DgramBuf = Vec<u8>;

    fn buf_from_slice(buf: &[u8]) -> Bytes {
        Bytes::copy_from_slice(buf)
    }

    fn dgram_buf_from_slice(buf: &[u8]) -> Vec<u8> {
        buf.to_vec()
    }
}

/// The transport connection.
pub(super) type Quic = quiche::Connection<Buffers>;

/// Connections with something to send; the endpoint's task waits on it.
#[derive(Default)]
pub(super) struct Queue {
    keys: RefCell<VecDeque<usize>>,
    waker: RefCell<Option<Waker>>,
}

impl Queue {
    /// Takes the next one.
    pub fn pop(&self) -> Option<usize> {
        self.keys.borrow_mut().pop_front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.keys.borrow().len()
    }

    /// Whether any waits; if none, `context` is woken by the next.
    pub fn poll(&self, context: &Context<'_>) -> bool {
        if self.len() > 0 {
            return true;
        }
        self.waker.replace(Some(context.waker().clone()));
        false
    }

    fn push(&self, key: usize) {
        self.keys.borrow_mut().push_back(key);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The parts that borrow each other.
pub(super) struct State {
    pub quic: Quic,
    pub h3: Option<quiche::h3::Connection>,
    pub streams: HashMap<u64, Rc<Stream>>,
    /// Every id under which packets may come.
    pub cids: Vec<Cid>,
    /// Earliest entry in the endpoint's timers.
    pub scheduled: Option<Instant>,
    pub facts: Arc<ConnectionFacts>,
    pub accepted: Instant,
    pub last_request: Instant,
    requests: u64,
    goaway_sent: bool,
    resets: u64,
    _admission: Admission,
}

/// A connection, shared by the endpoint and the tasks of its requests.
pub(super) struct Connection {
    pub key: usize,
    /// Has packets of this turn's batch.
    pub touched: Cell<bool>,
    /// Waits a moment for a response that could carry its acknowledgement.
    pub lingering: Cell<bool>,
    /// Datagrams since the last flush.
    pub unanswered: Cell<u32>,
    /// Responses that have begun and not ended.
    pub sending: Cell<u32>,
    queued: Cell<bool>,
    queue: Rc<Queue>,
    state: RefCell<State>,
    thread: Rc<WireThread>,
}

impl Connection {
    /// A connection that quiche just accepted.
    pub fn new(
        key: usize,
        thread: Rc<WireThread>,
        queue: Rc<Queue>,
        quic: Quic,
        facts: ConnectionFacts,
        admission: Admission,
    ) -> Rc<Connection> {
        let now = Instant::now();
        let state = State {
            quic,
            h3: None,
            streams: HashMap::new(),
            cids: Vec::new(),
            scheduled: None,
            facts: Arc::new(facts),
            accepted: now,
            last_request: now,
            requests: 0,
            goaway_sent: false,
            resets: 0,
            _admission: admission,
        };
        Rc::new(Connection {
            key,
            touched: Cell::new(false),
            lingering: Cell::new(false),
            unanswered: Cell::new(0),
            sending: Cell::new(0),
            queued: Cell::new(false),
            queue,
            state: RefCell::new(state),
            thread,
        })
    }

    /// The state; never held across an await.
    pub fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// The state, unless a caller further up has it.
    pub fn try_state(&self) -> Option<RefMut<'_, State>> {
        self.state.try_borrow_mut().ok()
    }

    /// Has the endpoint send what the connection has, soon.
    pub fn touch(&self) {
        if !self.queued.replace(true) {
            self.queue.push(self.key);
        }
    }

    /// The endpoint took it off the queue.
    pub fn unqueue(&self) {
        self.queued.set(false);
        self.lingering.set(false);
        self.unanswered.set(0);
    }

    /// Starts HTTP/3 once the handshake is done. Returns whether that was now.
    pub fn establish(&self, settings: &quiche::h3::Config) -> bool {
        let mut state = self.state();
        let State {
            quic, h3, facts, ..
        } = &mut *state;
        if h3.is_some() || !quic.is_established() || quic.is_closed() || quic.is_draining() {
            return false;
        }
        match quiche::h3::Connection::with_transport(quic, settings) {
            Ok(started) => *h3 = Some(started),
            Err(_) => {
                let _ = quic.close(true, H3_INTERNAL_ERROR, b"");
                return false;
            }
        }
        let (sni, certificate) = crate::tls::identity(AsMut::as_mut(quic));
        *facts = Arc::new((**facts).clone().secured(sni, certificate));
        true
    }

    /// Takes every event that quiche has, starts requests, wakes bodies and sinks.
    pub fn poll(self: &Rc<Self>) {
        let mut state = self.state();
        loop {
            let State {
                quic, h3: Some(h3), ..
            } = &mut *state
            else {
                return;
            };
            match h3.poll(quic) {
                Ok((id, Event::Headers { list, more_frames })) => {
                    self.headers(&mut state, id, &list, more_frames);
                }
                Ok((id, Event::Data)) => state.arrived(id),
                Ok((id, Event::Finished)) => {
                    if let Some(stream) = state.streams.get(&id) {
                        stream.finish();
                    }
                }
                Ok((id, Event::Reset(_))) => state.client_reset(id),
                Ok((id, Event::PriorityUpdate)) => {
                    let update = h3.take_last_priority_update(id).unwrap_or_default();
                    if let Some(stream) = state.streams.get(&id) {
                        stream.priority.set(request::priority(&update));
                    }
                }
                Ok((_, Event::GoAway)) => {}
                Err(quiche::h3::Error::Done) => break,
                Err(_) => {
                    // quiche has closed it with the right code; if not, this does.
                    let _ = quic.close(true, H3_INTERNAL_ERROR, b"");
                    break;
                }
            }
        }
        state.wake_writers();
    }

    /// Tells the client to open no more streams.
    pub fn go_away(&self) {
        self.state().go_away();
        self.touch();
    }

    fn headers(self: &Rc<Self>, state: &mut State, id: u64, list: &[Header], more: bool) {
        if let Some(stream) = state.streams.get(&id) {
            if !request::trailers_are_valid(list) {
                let stream = stream.clone();
                state.abandon(&stream, H3_MESSAGE_ERROR);
            }
            return;
        }
        let limits = self.thread.limits();
        state.requests += 1;
        state.last_request = Instant::now();
        let per_connection = limits.requests_per_connection_max;
        if per_connection > 0 && state.requests >= per_connection {
            state.go_away();
        }
        let overrun =
            per_connection > 0 && state.requests > per_connection + limits.quic_streams_max;
        if overrun || state.streams.len() as u64 >= limits.quic_streams_max {
            state.shutdown(id, H3_REQUEST_REJECTED);
            return;
        }
        let fields = request::fields(list);
        match head_from_fields(Version::Http3, fields, !more, &limits.head()) {
            Ok(head) => self.serve(state, id, head),
            Err(refusal) => self.refuse(state, id, list, refusal),
        }
    }

    fn serve(self: &Rc<Self>, state: &mut State, id: u64, head: edge_http_policy::Head) {
        let stream = Rc::new(Stream::new(id));
        if head.framing == Framing::None {
            stream.finish();
        }
        if let Some(value) = head.header("priority").next() {
            stream.priority.set(request::priority(value));
        }
        let limits = self.thread.limits();
        let idle = std::time::Duration::from_millis(limits.body_idle_timeout_ms);
        let body = Body::new(self.clone(), stream.clone(), head.framing, idle);
        let sink = Sink::new(
            self.clone(),
            stream.clone(),
            head.method.as_ref() == b"HEAD",
            idle,
        );
        state.streams.insert(id, stream);
        let (thread, facts) = (self.thread.clone(), state.facts.clone());
        self.thread
            .spawn(async move { serve(&thread, &facts, head, body, sink).await });
    }

    /// A malformed request is a stream error (RFC 9114 §4.1.2); one that is merely too large or
    /// expects too much is answered.
    fn refuse(&self, state: &mut State, id: u64, list: &[Header], refusal: Refusal) {
        let code = ErrorCode::from(refusal);
        self.thread
            .refuse(&state.facts, Version::Http3, code, &request::line(list));
        let answer = match refusal {
            Refusal::BadRequest(_) => None,
            _ => self.thread.shared.answer(code).cloned(),
        };
        let Some(answer) = answer else {
            state.shutdown(id, H3_MESSAGE_ERROR);
            return;
        };
        let is_head = list
            .iter()
            .any(|f| f.name() == b":method" && f.value() == b"HEAD");
        let body = BodyLength::Known(answer.body.len() as u64);
        let head = ResponseHead {
            status: answer.status,
            headers: answer.headers,
            body,
        };
        let text = if is_head { Bytes::new() } else { answer.body };
        state.answer(id, &response::fields(head), text);
    }
}

impl State {
    /// When the connection must be looked at although nothing came.
    pub fn deadline(&self, handshake: std::time::Duration) -> Option<Instant> {
        let timeout = self.quic.timeout_instant();
        if self.h3.is_some() {
            return timeout;
        }
        let handshake = self.accepted + handshake;
        Some(timeout.map_or(handshake, |timeout| timeout.min(handshake)))
    }

    /// Resets both directions of a stream.
    pub fn shutdown(&mut self, id: u64, error: u64) {
        let _ = self.quic.stream_shutdown(id, Shutdown::Read, error);
        let _ = self.quic.stream_shutdown(id, Shutdown::Write, error);
    }

    /// Resets both directions of a stream in progress and tells its body and sink.
    pub fn abandon(&mut self, stream: &Stream, error: u64) {
        self.shutdown(stream.id, error);
        stream.lose();
    }

    /// Every stream is lost: the connection is closing.
    pub fn lose_streams(&mut self) {
        for stream in self.streams.values() {
            stream.lose();
        }
    }

    /// The body and the sink of `stream` are gone: whatever they left open is closed.
    pub fn release(&mut self, stream: &Stream) {
        let answered = stream.answered.get();
        if !answered && !stream.is_lost() {
            let _ = self
                .quic
                .stream_shutdown(stream.id, Shutdown::Write, H3_INTERNAL_ERROR);
        }
        if !stream.is_finished() && !stream.is_lost() {
            // RFC 9114 §4.1: a complete answer may come before the whole request.
            let error = if answered {
                H3_NO_ERROR
            } else {
                H3_INTERNAL_ERROR
            };
            let _ = self.quic.stream_shutdown(stream.id, Shutdown::Read, error);
        }
        self.streams.remove(&stream.id);
    }

    fn arrived(&mut self, id: u64) {
        let Some(stream) = self.streams.get(&id).cloned() else {
            let _ = self.quic.stream_shutdown(id, Shutdown::Read, H3_NO_ERROR);
            return;
        };
        // `content-length: 0`, then content: nobody would read it, so it is judged here.
        if stream.refuses_content.get() {
            self.abandon(&stream, H3_MESSAGE_ERROR);
        } else {
            stream.wake_reader();
        }
    }

    fn client_reset(&mut self, id: u64) {
        let Some(stream) = self.streams.get(&id).cloned() else {
            return;
        };
        self.abandon(&stream, quiche::h3::WireErrorCode::RequestCancelled as u64);
        self.resets += u64::from(!stream.answered.get());
        let allowed = RESETS_MAX + RESETS_PER_SECOND * self.accepted.elapsed().as_secs();
        if self.resets > allowed {
            let _ = self.quic.close(true, H3_EXCESSIVE_LOAD, b"");
        }
    }

    /// Wakes sinks whose streams have capacity again, and those the client told to stop.
    fn wake_writers(&mut self) {
        while let Some(id) = self.quic.stream_writable_next() {
            if !self.streams.contains_key(&id) {
                continue;
            }
            if self.quic.stream_capacity(id).is_err() {
                self.client_reset(id);
            } else if let Some(stream) = self.streams.get(&id) {
                stream.wake_writer();
            }
        }
    }

    fn go_away(&mut self) {
        let State {
            quic,
            h3: Some(h3),
            goaway_sent,
            ..
        } = self
        else {
            return;
        };
        if !*goaway_sent {
            *goaway_sent = h3.send_goaway(quic, GOAWAY_ID).is_ok();
        }
    }

    /// A short complete answer; reset when it does not fit at once.
    fn answer(&mut self, id: u64, fields: &[Field], text: Bytes) {
        let State {
            quic, h3: Some(h3), ..
        } = self
        else {
            return;
        };
        let (length, fin) = (text.len(), text.is_empty());
        let priority = Priority::default();
        let head = h3.send_response_with_priority(quic, id, fields, &priority, fin);
        let sent = match head {
            Ok(()) if fin => true,
            Ok(()) => h3.send_body(quic, id, &text, true) == Ok(length),
            Err(_) => false,
        };
        let error = if sent { H3_NO_ERROR } else { H3_INTERNAL_ERROR };
        let _ = quic.stream_shutdown(id, Shutdown::Read, error);
        if !sent {
            let _ = quic.stream_shutdown(id, Shutdown::Write, error);
        }
    }
}

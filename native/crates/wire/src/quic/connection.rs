//! One HTTP/3 connection: what the events of its packets and the ends of its clocks mean.

use super::body::Body;
use super::queue::Queue;
use super::request;
use super::response;
use super::sink::Sink;
use super::state::{
    H3_EXCESSIVE_LOAD, H3_INTERNAL_ERROR, H3_MESSAGE_ERROR, H3_REQUEST_CANCELLED,
    H3_REQUEST_INCOMPLETE, H3_REQUEST_REJECTED, Patience, State,
};
use super::stream::Stream;
use crate::error_code::ErrorCode;
use crate::seam::{BodyLength, ResponseHead};
use crate::serve::serve;
use crate::thread::WireThread;
use bytes::Bytes;
use edge_http_policy::{Framing, Head, Refusal, Version, head_from_fields};
use quiche::h3::{Event, Header, NameValue};
use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

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
        state: State,
    ) -> Rc<Connection> {
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

    /// Starts HTTP/3 once the handshake is done, or once early data may come. Returns whether the
    /// handshake was done just now.
    pub fn establish(&self, settings: &quiche::h3::Config) -> bool {
        let mut state = self.state();
        let State {
            quic,
            h3,
            facts,
            half_open,
            ..
        } = &mut *state;
        let ready = quic.is_established() || quic.is_in_early_data();
        if half_open.is_none() || !ready || quic.is_closed() || quic.is_draining() {
            return false;
        }
        if h3.is_none() {
            match quiche::h3::Connection::with_transport(quic, settings) {
                Ok(started) => *h3 = Some(started),
                Err(_) => {
                    state.close(true, H3_INTERNAL_ERROR, b"");
                    return false;
                }
            }
            let (sni, certificate) = crate::tls::identity(AsMut::as_mut(quic));
            *facts = Arc::new((**facts).clone().secured(sni, certificate));
        }
        quic.is_established() && half_open.take().is_some()
    }

    /// Takes every event that quiche has, starts requests, wakes bodies and sinks.
    pub fn poll(self: &Rc<Self>) {
        let mut state = self.state();
        if state.h3.is_none() {
            return;
        }
        let held = state.note_heads(Instant::now());
        if held > self.thread.limits().connection_bytes_max {
            return self.cut(&mut state, ErrorCode::ConnectionBytesExceeded);
        }
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
                Ok((id, Event::Finished)) => self.finished(&mut state, id),
                Ok((id, Event::Reset(_))) => self.client_reset(&mut state, id),
                Ok((id, Event::PriorityUpdate)) => {
                    let update = h3.take_last_priority_update(id).unwrap_or_default();
                    if let Some(stream) = state.streams.get(&id) {
                        stream.priority.set(request::priority(&update));
                    }
                    self.control_frame(&mut state);
                }
                Ok((_, Event::GoAway)) => self.control_frame(&mut state),
                Err(quiche::h3::Error::Done) => break,
                Err(_) => {
                    // quiche has closed it with the right code; if not, this does.
                    self.violated(&mut state);
                    break;
                }
            }
        }
        self.wake_writers(&mut state);
    }

    /// What a timer that fired means, beyond QUIC's own.
    pub fn overdue(&self, patience: &Patience, now: Instant) {
        let mut state = self.state();
        if state.is_handshake_late(patience, now) {
            let (facts, code) = (state.facts.clone(), ErrorCode::HandshakeTimeout);
            self.thread.lost(&facts, Version::Http3, code);
            return state.lapse();
        }
        if !state.is_established() {
            return;
        }
        for _ in 0..state.reset_late_heads(patience, now) {
            let code = ErrorCode::HeaderTimeout;
            self.thread.refuse(&state.facts, Version::Http3, code, b"");
        }
        if state.should_leave(patience, now) {
            state.go_away();
        }
        state.leave(now);
    }

    /// Tells the client to open no more streams.
    pub fn go_away(&self) {
        self.state().go_away();
        self.touch();
    }

    /// A DATA frame without content came.
    pub fn empty_frame(&self) {
        self.control_frame(&mut self.state());
    }

    /// Ends the connection because it went beyond a limit.
    fn cut(&self, state: &mut State, code: ErrorCode) {
        self.thread.refuse(&state.facts, Version::Http3, code, b"");
        state.close(true, H3_EXCESSIVE_LOAD, b"");
    }

    /// The client broke a rule of HTTP/3 that ends the connection.
    fn violated(&self, state: &mut State) {
        if state.quic.is_draining() || state.quic.is_closed() {
            return;
        }
        let code = ErrorCode::ProtocolViolation;
        self.thread.refuse(&state.facts, Version::Http3, code, b"");
        state.close(true, H3_INTERNAL_ERROR, b"");
    }

    /// A frame that asks for nothing: a burst is allowed, then so many a second.
    fn control_frame(&self, state: &mut State) {
        let limits = self.thread.limits();
        state.control_frames += 1;
        let rate = u64::from(limits.control_frames_per_second);
        let allowed =
            u64::from(limits.control_frames_max) + rate * state.accepted.elapsed().as_secs();
        if state.control_frames > allowed {
            self.cut(state, ErrorCode::ControlFramesExceeded);
        }
    }

    fn headers(self: &Rc<Self>, state: &mut State, id: u64, list: &[Header], more: bool) {
        let limits = self.thread.limits();
        state.forget_head(id);
        if let Some(stream) = state.streams.get(&id).cloned() {
            match request::trailers(list, &limits) {
                Ok(trailers) => stream.put_trailers(trailers),
                Err(refusal) => {
                    stream.refuse(refusal);
                    state.abandon(&stream, H3_MESSAGE_ERROR);
                }
            }
            return;
        }
        if !state.begin_request(id) {
            return state.shutdown(id, H3_REQUEST_REJECTED);
        }
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

    fn serve(self: &Rc<Self>, state: &mut State, id: u64, mut head: Head) {
        let stream = Rc::new(Stream::new(id));
        if head.framing == Framing::None && !head.websocket {
            stream.finish();
        }
        head.early = !state.is_established();
        if let Some(value) = head.header("priority").next() {
            stream.priority.set(request::priority(value));
        }
        let limits = self.thread.limits();
        let body = Body::new(self.clone(), stream.clone(), &head, &limits);
        let is_head = head.method.as_ref() == b"HEAD";
        let sink = Sink::new(
            self.clone(),
            stream.clone(),
            is_head,
            limits.body_idle_timeout_ms,
        );
        state.streams.insert(id, stream);
        let (thread, facts) = (self.thread.clone(), state.facts.clone());
        self.thread.spawn(async move {
            // Boxed: a spawned task is moved several times, and most of its size is this.
            Box::pin(serve(&thread, &facts, head, body, sink)).await;
        });
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

    /// The client ended its side. Without a head there is no request (RFC 9114 §4.1).
    fn finished(&self, state: &mut State, id: u64) {
        if let Some(stream) = state.streams.get(&id) {
            stream.finish();
        } else if state.forget_head(id) {
            let code = ErrorCode::BadRequest;
            self.thread.refuse(&state.facts, Version::Http3, code, b"");
            state.shutdown(id, H3_REQUEST_INCOMPLETE);
        }
    }

    fn client_reset(&self, state: &mut State, id: u64) {
        let stream = state.streams.get(&id).cloned();
        let waited = state.forget_head(id);
        if let Some(stream) = &stream {
            state.abandon(stream, H3_REQUEST_CANCELLED);
        } else if !waited {
            return;
        }
        state.resets += u64::from(stream.is_none_or(|stream| !stream.answered.get()));
        let limits = self.thread.limits();
        let rate = u64::from(limits.stream_resets_per_second);
        let allowed =
            u64::from(limits.stream_resets_max) + rate * state.accepted.elapsed().as_secs();
        if state.resets > allowed {
            self.cut(state, ErrorCode::StreamResetsExceeded);
        }
    }

    /// Wakes sinks whose streams have capacity again, and those the client told to stop.
    fn wake_writers(&self, state: &mut State) {
        while let Some(id) = state.quic.stream_writable_next() {
            if !state.streams.contains_key(&id) {
                continue;
            }
            if state.quic.stream_capacity(id).is_err() {
                self.client_reset(state, id);
            } else if let Some(stream) = state.streams.get(&id) {
                stream.wake_writer();
            }
        }
    }
}

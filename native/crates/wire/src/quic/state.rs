//! What changes in a connection: quiche's two state machines, the streams in progress, the clocks,
//! and how the connection leaves.

use super::cid::Cid;
use super::handshakes::HalfOpen;
use super::ids::Ids;
use super::moves::{Moves, Path};
use super::queue::Quic;
use super::response::Field;
use super::stream::Stream;
use crate::config::WireLimits;
use crate::exchange::ConnectionFacts;
use crate::shared::Admission;
use crate::stats::Stats;
use bytes::Bytes;
use quiche::Shutdown;
use quiche::h3::Priority;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// RFC 9114 §8.1.
pub(super) const H3_NO_ERROR: u64 = 0x100;
pub(super) const H3_INTERNAL_ERROR: u64 = 0x102;
pub(super) const H3_EXCESSIVE_LOAD: u64 = 0x107;
pub(super) const H3_REQUEST_REJECTED: u64 = 0x10b;
pub(super) const H3_REQUEST_CANCELLED: u64 = 0x10c;
pub(super) const H3_REQUEST_INCOMPLETE: u64 = 0x10d;
pub(super) const H3_MESSAGE_ERROR: u64 = 0x10e;
pub(super) const H3_CONNECT_ERROR: u64 = 0x10f;
/// A GOAWAY that promises nothing yet: stop opening streams, those under way are served.
const GOAWAY_ID: u64 = (1 << 62) - 4;
/// How long a client has to see that GOAWAY before the one that refuses what it opens then
/// (RFC 9114 §5.2), and how long nothing must have come before the connection is closed.
const LEAVE_GRACE: Duration = Duration::from_secs(1);
const LEAVE_INTERVAL: Duration = Duration::from_millis(250);
/// How long the client has at least to acknowledge the last GOAWAY and the last answers, and how
/// long it is waited for: a close throws away what is still on its way.
const LAST_WORD_MIN: Duration = Duration::from_millis(500);
const LAST_WORD_MAX: Duration = Duration::from_secs(5);
/// Answers that may not have arrived are looked for among so many streams.
const LAST_STREAMS: u64 = 1024;

/// How long a connection may take for what it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub handshake: Duration,
    pub head: Duration,
    pub idle: Duration,
    pub age: Duration,
}

impl Patience {
    /// From the limits; under pressure idle connections go early.
    pub fn new(limits: &WireLimits, pressure: bool) -> Patience {
        let idle = match pressure {
            true => limits.keep_alive_idle_timeout_under_pressure_ms,
            false => limits.keep_alive_idle_timeout_ms,
        };
        Patience {
            handshake: Duration::from_millis(limits.handshake_timeout_ms),
            head: Duration::from_millis(limits.header_timeout_ms),
            idle: Duration::from_millis(idle),
            age: Duration::from_millis(limits.connection_age_max_ms),
        }
    }
}

/// A request whose fields have not all come.
struct PendingHead {
    since: Instant,
    bytes: usize,
}

/// After the first GOAWAY.
struct Leaving {
    /// Nothing can be said while the client's window is full of a response.
    is_said: bool,
    since: Instant,
    look: Instant,
    /// The GOAWAY that says which streams are served was sent.
    last: Option<LastWord>,
}

/// After the last GOAWAY.
struct LastWord {
    said: Instant,
    /// When something was lost, or an acknowledgement was late, the last time.
    disturbed: Instant,
    losses: usize,
}

/// A connection's place among those that are open, counted until it is given back.
pub(super) struct Counted {
    stats: Arc<Stats>,
    _admission: Admission,
}

impl Counted {
    /// Counts a connection that begins.
    pub fn new(admission: Admission, stats: Arc<Stats>) -> Counted {
        stats.quic_add("accepted", 1);
        Counted {
            stats,
            _admission: admission,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.quic_add("ended", 1);
    }
}

/// The parts that borrow each other.
pub(super) struct State {
    pub quic: Quic,
    pub h3: Option<quiche::h3::Connection>,
    pub streams: HashMap<u64, Rc<Stream>>,
    /// Every id under which packets may come.
    pub cids: Ids,
    /// Ids issued after the first one.
    pub issued: u64,
    /// Earliest entry in the endpoint's timers.
    pub scheduled: Option<Instant>,
    pub facts: Arc<ConnectionFacts>,
    pub accepted: Instant,
    /// Until the handshake is done.
    pub half_open: Option<HalfOpen>,
    pub requests: u64,
    pub resets: u64,
    pub control_frames: u64,
    active_at: Instant,
    pending_heads: HashMap<u64, PendingHead>,
    /// The first stream id that no request had yet.
    next_id: u64,
    leaving: Option<Leaving>,
    closing: bool,
    lapsed: bool,
    moves: Moves,
    _counted: Counted,
}

impl State {
    /// A connection that quiche just accepted.
    pub fn new(quic: Quic, facts: ConnectionFacts, half_open: HalfOpen, counted: Counted) -> State {
        let now = Instant::now();
        State {
            quic,
            h3: None,
            streams: HashMap::new(),
            cids: Ids::default(),
            issued: 0,
            scheduled: None,
            facts: Arc::new(facts),
            accepted: now,
            half_open: Some(half_open),
            requests: 0,
            resets: 0,
            control_frames: 0,
            active_at: now,
            pending_heads: HashMap::new(),
            next_id: 0,
            leaving: None,
            closing: false,
            lapsed: false,
            moves: Moves::default(),
            _counted: counted,
        }
    }

    /// Whether packets may come under that id. To quiche an id that was given up breaks the
    /// protocol, but the packet was only overtaken by the one that did so, as in a migration.
    pub fn knows(&self, id: &Cid) -> bool {
        self.quic
            .source_ids()
            .any(|known| known.as_ref() == id.as_slice())
    }

    /// Whether the handshake is done.
    pub fn is_established(&self) -> bool {
        self.half_open.is_none()
    }

    /// When the connection must be looked at although nothing came.
    pub fn deadline(&self, patience: &Patience) -> Option<Instant> {
        let timeout = self.quic.timeout_instant();
        if self.closing {
            return timeout;
        }
        let own = match &self.leaving {
            _ if !self.is_established() => self.accepted + patience.handshake,
            Some(leaving) => leaving.look,
            None if self.streams.is_empty() => {
                (self.accepted + patience.age).min(self.active_at + patience.idle)
            }
            None => self.accepted + patience.age,
        };
        let heads = self.pending_heads.values().map(|head| head.since);
        let head = heads.min().map(|since| since + patience.head);
        [timeout, Some(own), head].into_iter().flatten().min()
    }

    /// Whether the handshake takes too long.
    pub fn is_handshake_late(&self, patience: &Patience, now: Instant) -> bool {
        !self.closing && !self.is_established() && self.accepted + patience.handshake <= now
    }

    /// Notes requests whose first bytes are here; returns how many bytes of unfinished heads quiche
    /// holds by now. To be called before it reads them.
    pub fn note_heads(&mut self, now: Instant) -> usize {
        for id in self.quic.readable() {
            if id % 4 != 0 || self.streams.contains_key(&id) {
                continue;
            }
            let readable = self.quic.stream_readable_len(id, usize::MAX);
            let fresh = PendingHead {
                since: now,
                bytes: 0,
            };
            let head = self.pending_heads.entry(id).or_insert(fresh);
            head.bytes = head.bytes.saturating_add(readable);
        }
        self.pending_heads.values().map(|head| head.bytes).sum()
    }

    /// The head of `id` came, or never will. Returns whether it was waited for.
    pub fn forget_head(&mut self, id: u64) -> bool {
        self.pending_heads.remove(&id).is_some()
    }

    /// Gives up heads that take too long; how many.
    pub fn reset_late_heads(&mut self, patience: &Patience, now: Instant) -> usize {
        let late = |head: &PendingHead| head.since + patience.head <= now;
        let heads = self.pending_heads.iter();
        let late: Vec<u64> = heads
            .filter(|(_, head)| late(head))
            .map(|(id, _)| *id)
            .collect();
        for id in &late {
            self.forget_head(*id);
            self.shutdown(*id, H3_REQUEST_INCOMPLETE);
        }
        late.len()
    }

    /// A request begins on stream `id`. False: the client knew that it would not be served.
    pub fn begin_request(&mut self, id: u64) -> bool {
        if self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.last.is_some())
            && id >= self.next_id
        {
            return false;
        }
        self.next_id = self.next_id.max(id + 4);
        self.requests += 1;
        self.active_at = Instant::now();
        true
    }

    /// Takes a packet.
    pub fn receive(&mut self, packet: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let (local, peer) = (to, from);
        self.moves
            .receive(&mut self.quic, packet, Path { local, peer });
    }

    /// Follows the client to another address, once that is proven. Returns whether it moved.
    pub fn follow(&mut self) -> bool {
        let Some(peer) = self.moves.follow(&mut self.quic) else {
            return false;
        };
        let moved = peer != self.facts.peer;
        if moved {
            self.facts = Arc::new((*self.facts).clone().moved(peer));
        }
        moved
    }

    /// The next packet: its length, the address it goes from and the one it goes to.
    pub fn send(&mut self, space: &mut [u8]) -> Option<(usize, SocketAddr, SocketAddr)> {
        match self.moves.send(&mut self.quic, space) {
            Ok((length, path)) => Some((length, path.local, path.peer)),
            Err(quiche::Error::Done) => None,
            Err(_) => {
                let _ = self.quic.close(false, 1, b"");
                None
            }
        }
    }

    /// Closes the connection; nothing more is expected of it.
    pub fn close(&mut self, app: bool, error: u64, reason: &'static [u8]) {
        self.closing = true;
        let _ = self.quic.close(app, error, reason);
        self.lose_streams();
    }

    /// Closes a connection whose handshake takes too long.
    pub fn lapse(&mut self) {
        self.lapsed = true;
        self.close(false, 0, b"handshake timeout");
    }

    /// Whether nothing is left to do. What lapsed does not linger: while its client has used up
    /// what may be sent to an address that is not proven, quiche cannot send the close, and would
    /// hold the connection, and its place, until the idle timeout.
    pub fn is_over(&self) -> bool {
        self.quic.is_closed() || self.lapsed
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
        self.pending_heads.clear();
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
        self.active_at = Instant::now();
    }

    /// Content of a request came.
    pub fn arrived(&mut self, id: u64) {
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

    /// Whether the connection is too old, or has had nothing to do for too long.
    pub fn should_leave(&self, patience: &Patience, now: Instant) -> bool {
        let idle = self.streams.is_empty() && self.active_at + patience.idle <= now;
        self.leaving.is_none() && (idle || self.accepted + patience.age <= now)
    }

    /// Tells the client to open no more streams.
    pub fn go_away(&mut self) {
        let State {
            quic,
            h3: Some(h3),
            leaving,
            ..
        } = self
        else {
            return;
        };
        if leaving.as_ref().is_some_and(|leaving| leaving.is_said) {
            return;
        }
        let now = Instant::now();
        *leaving = Some(Leaving {
            is_said: h3.send_goaway(quic, GOAWAY_ID).is_ok(),
            since: now,
            look: now + LEAVE_INTERVAL,
            last: None,
        });
    }

    /// Says that GOAWAY, now that packets came or time went by, if it could not be said before.
    pub fn retry_goaway(&mut self) {
        if self
            .leaving
            .as_ref()
            .is_some_and(|leaving| !leaving.is_said)
        {
            self.go_away();
        }
    }

    /// The next step after GOAWAY, when it is time for one.
    pub fn leave(&mut self, now: Instant) {
        let busy = !self.streams.is_empty() || !self.pending_heads.is_empty();
        let State {
            quic,
            h3: Some(h3),
            leaving: Some(leaving),
            ..
        } = self
        else {
            return;
        };
        if leaving.look > now {
            return;
        }
        leaving.look = now + LEAVE_INTERVAL;
        if !leaving.is_said {
            return;
        }
        let losses = losses(quic);
        let rtt = quic.path_stats().find(|path| path.active);
        let rtt = rtt.map_or(Duration::ZERO, |path| path.rtt);
        let Some(last) = &mut leaving.last else {
            if leaving.since + LEAVE_GRACE <= now && h3.send_goaway(quic, self.next_id).is_ok() {
                let (said, disturbed) = (now, now);
                leaving.last = Some(LastWord {
                    said,
                    disturbed,
                    losses,
                });
            }
            return;
        };
        if std::mem::replace(&mut last.losses, losses) != losses {
            last.disturbed = now;
        }
        // The end of an answer that began before GOAWAY is waited for as long as any other.
        if busy {
            (last.said, last.disturbed) = (now, now);
            return;
        }
        // Without an acknowledgement a probe would have been sent by now (RFC 9002 §6.2).
        let heard = last.disturbed + LAST_WORD_MIN + rtt * 5 <= now;
        let late = last.said + LAST_WORD_MAX <= now;
        if self.active_at + LAST_WORD_MIN > now {
            return;
        }
        if late || (heard && self.is_delivered()) {
            self.close(true, H3_NO_ERROR, b"");
        }
    }

    /// Whether every answer was acknowledged: quiche forgets streams then.
    fn is_delivered(&mut self) -> bool {
        let first = self.next_id.saturating_sub(4 * LAST_STREAMS);
        let mut last = (first..self.next_id).step_by(4);
        let quic = &mut self.quic;
        last.all(|id| quic.stream_capacity(id).is_err())
    }

    /// A short complete answer; reset when it does not fit at once.
    pub fn answer(&mut self, id: u64, fields: &[Field], text: Bytes) {
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

/// What was lost or not acknowledged in time, so far.
fn losses(quic: &Quic) -> usize {
    let late: usize = quic.path_stats().map(|path| path.total_pto_count).sum();
    quic.stats().lost + late
}

//! One TCP connection (RFC 9293): segments and the time in, segments out. It has no clock and no
//! socket, so that its tests run two of them in virtual time.

mod buffers;
mod cubic;
mod receive;
mod recovery;
mod rtt;
mod transmit;

#[cfg(test)]
mod tests;

use crate::limits::{
    HALF_OPEN_TIMEOUT, KEEP_ALIVE, LINGER, RECEIVE_BYTES_MAX, SEND_BYTES_MAX, SILENCE_MAX,
    TIME_WAIT,
};
use crate::ranges::position;
use crate::segment::{ACK, SYN, Segment, Terms};
use buffers::{ReceiveBuffer, SendBuffer};
use recovery::Recovery;
use rtt::RoundTrip;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

/// Largest window in the wire's 16 bits at `RECEIVE_BYTES_MAX`.
const SCALE: u8 = 5;
/// A peer that says nothing of its segments takes these (RFC 9293 §3.7.1).
const SEGMENT_BYTES_UNSAID: usize = 536;
/// Less than this makes the heads most of what is sent.
const SEGMENT_BYTES_MIN: usize = 64;

/// Where a connection is. Which half ended is told by the ends' positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// We began.
    SynSent,
    /// The peer began, and nobody took it yet.
    Offered,
    /// The peer began, and we agreed.
    SynReceived,
    Open,
    /// Both halves ended; the peer may not know.
    TimeWait,
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    phase: Phase,
    /// Why it ended before its time.
    fault: Option<ErrorKind>,
    /// Bytes of a segment that the peer takes, and that fit on our way.
    segment: usize,
    own_segment: usize,
    out: SendBuffer,
    recovery: Recovery,
    round_trip: RoundTrip,
    /// Of our SYN; the first byte follows.
    initial: u64,
    /// Below it everything arrived there.
    first: u64,
    /// Where new bytes go on.
    next: u64,
    /// Of our FIN, once nothing more will be written.
    fin: Option<u64>,
    peer_window: u64,
    /// The largest that it had.
    peer_window_max: u64,
    peer_scale: u8,
    /// Sequence and acknowledgement of the last word about the window (RFC 9293 §3.10.7.4).
    window_word: (u64, u64),
    peer_sack: bool,
    peer_scales: bool,
    input: ReceiveBuffer,
    /// Of the peer's FIN.
    peer_fin: Option<u64>,
    /// The end of the window that the peer was told.
    edge: u64,
    window_max: usize,
    /// The last piece that came too early.
    newest: u64,
    /// Bytes that came since the last acknowledgement.
    unanswered: usize,
    /// Bytes that came in order, one soon after the other, and when the last of them did.
    flow: usize,
    flowed: Instant,
    owes_answer: bool,
    owes_reset: bool,
    owes_probe: bool,
    owes_syn: bool,
    /// What fits into a small window goes, too: waiting for a larger one took long enough.
    is_pressed: bool,
    /// The peer had ended before we did: it remembers the connection, and we need not.
    is_last_to_end: bool,
    /// Nobody holds it any more.
    is_orphan: bool,
    timers: Timers,
}

#[derive(Debug)]
struct Timers {
    /// For an answer to what is under way, or for a window that is shut.
    answer: Option<Instant>,
    /// For our acknowledgement.
    delayed: Option<Instant>,
    /// For the end of the present phase.
    phase: Option<Instant>,
    /// When something came last.
    heard: Instant,
    /// Since when an answer is awaited.
    silent: Option<Instant>,
}

/// Both ends, and how much fits into a packet between them.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub packet_bytes_max: usize,
    /// Of our first sequence number; nobody outside can know it (RFC 6528).
    pub secret: u32,
}

impl Connection {
    /// Begins one.
    pub fn dial(ends: Ends, now: Instant) -> Connection {
        Connection::new(ends, Phase::SynSent, now)
    }

    fn new(ends: Ends, phase: Phase, now: Instant) -> Connection {
        let heads = crate::packet::head_bytes(ends.local.ip()) + crate::segment::HEAD_BYTES;
        let segment = ends
            .packet_bytes_max
            .saturating_sub(heads)
            .max(SEGMENT_BYTES_MIN);
        // So that positions before it are positive, too.
        let initial = (1 << 32) + u64::from(ends.secret);
        let mut out = SendBuffer::default();
        out.begin(initial + 1);
        let patience = if phase == Phase::SynSent {
            SILENCE_MAX
        } else {
            HALF_OPEN_TIMEOUT
        };
        Connection {
            local: ends.local,
            remote: ends.remote,
            phase,
            fault: None,
            segment,
            own_segment: segment,
            out,
            recovery: Recovery::new(segment),
            round_trip: RoundTrip::default(),
            initial,
            first: initial,
            next: initial,
            fin: None,
            peer_window: 0,
            peer_window_max: 0,
            peer_scale: 0,
            window_word: (0, 0),
            peer_sack: false,
            peer_scales: false,
            input: ReceiveBuffer::default(),
            peer_fin: None,
            edge: 0,
            window_max: RECEIVE_BYTES_MAX,
            newest: 0,
            unanswered: 0,
            flow: 0,
            flowed: now,
            owes_answer: false,
            owes_reset: false,
            owes_probe: false,
            owes_syn: phase == Phase::SynSent,
            is_pressed: false,
            is_last_to_end: false,
            is_orphan: false,
            timers: Timers {
                answer: None,
                delayed: None,
                phase: Some(now + patience),
                heard: now,
                silent: None,
            },
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Both sides agreed, now or once.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::TimeWait)
    }

    /// Why it is of no use any more.
    pub fn fault(&self) -> Option<ErrorKind> {
        self.fault
    }

    /// Nothing of it needs to be remembered.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed && !self.owes_reset
    }

    /// Bytes of its peer that are held here.
    pub fn held(&self) -> usize {
        self.input.held()
    }

    /// The peer says that it is there: now to be agreed to.
    pub fn accept(&mut self) {
        if self.phase == Phase::Offered {
            self.phase = Phase::SynReceived;
            self.owes_syn = true;
        }
    }

    /// Takes as much as there is room for; how much.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.fin.is_some() || self.phase == Phase::Closed => Err(ErrorKind::BrokenPipe),
            None => Ok(self.out.write(bytes)),
        }
    }

    /// There is room that is worth a wake-up.
    pub fn can_write(&self) -> bool {
        self.phase == Phase::Closed || self.out.room() >= SEND_BYTES_MAX / 4
    }

    /// Takes bytes out by pieces; zero at the end of the stream, `None` when there are none yet.
    pub fn read(
        &mut self,
        length: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<Option<usize>, ErrorKind> {
        if self.input.readable() > 0 {
            return Ok(Some(self.input.read(length, take)));
        }
        match self.fault {
            Some(fault) => Err(fault),
            None if self.has_peer_ended() || self.phase == Phase::Closed => Ok(Some(0)),
            None => Ok(None),
        }
    }

    pub fn can_read(&self) -> bool {
        self.input.readable() > 0 || self.phase == Phase::Closed || self.has_peer_ended()
    }

    /// A peer that was here before begins anew (RFC 9293 §3.10.7.4, in TIME-WAIT).
    pub fn gives_way_to(&self, segment: &Segment<'_>) -> bool {
        let expected = self.input.next();
        self.phase == Phase::TimeWait
            && segment.has(SYN)
            && !segment.has(ACK)
            && position(segment.sequence, expected) > expected
    }

    /// Everything up to the peer's FIN came.
    fn has_peer_ended(&self) -> bool {
        self.peer_fin.is_some_and(|fin| self.input.next() == fin)
    }

    /// Our FIN was acknowledged.
    fn have_we_ended(&self) -> bool {
        self.fin.is_some_and(|fin| self.first > fin)
    }

    /// Nothing more will be written.
    pub fn close(&mut self) {
        if self.fin.is_none() {
            self.fin = Some(self.out.end());
        }
    }

    /// Nobody will read or write any more. What the peer sent and nobody read is a reason to tell
    /// it so (RFC 9293 §3.6.1 and RFC 1122 §4.2.2.13).
    pub fn abandon(&mut self, now: Instant) {
        self.is_orphan = true;
        if self.input.readable() > 0 || !self.is_open() {
            self.abort(ErrorKind::ConnectionAborted);
            return;
        }
        self.close();
        if self.phase == Phase::Open {
            self.timers.phase = Some(now + LINGER);
        }
    }

    /// Ends it at once; the peer is told.
    pub fn abort(&mut self, fault: ErrorKind) {
        let is_known = !matches!(self.phase, Phase::Closed | Phase::TimeWait);
        // Who never heard of us need not hear that we are gone.
        self.owes_reset |= is_known && (self.phase != Phase::SynSent || self.next > self.initial);
        self.end(Some(fault));
    }

    fn end(&mut self, fault: Option<ErrorKind>) {
        self.phase = Phase::Closed;
        self.fault = self.fault.or(fault);
        self.timers.answer = None;
        self.timers.delayed = None;
        self.timers.phase = None;
        if self.is_orphan || self.fault.is_some() {
            self.input.clear();
        }
    }

    /// Holds less of what nobody reads, from now on.
    pub fn set_window_max(&mut self, bytes: usize) {
        self.window_max = bytes;
    }

    /// What the peer's SYN or its answer to ours says.
    fn agree(&mut self, terms: Terms) {
        let said = terms
            .segment_bytes
            .map_or(SEGMENT_BYTES_UNSAID, usize::from);
        self.segment = self.segment.min(said).max(SEGMENT_BYTES_MIN);
        self.recovery = Recovery::new(self.segment);
        self.peer_sack = terms.sack;
        self.peer_scales = terms.scale.is_some();
        self.peer_scale = terms.scale.unwrap_or_default();
        if !self.peer_scales {
            self.window_max = self.window_max.min(usize::from(u16::MAX));
        }
    }

    /// After either half ended.
    fn look_for_end(&mut self, now: Instant) {
        if self.phase != Phase::Open || !self.have_we_ended() || !self.has_peer_ended() {
            return;
        }
        if self.is_last_to_end {
            self.end(None);
            return;
        }
        self.timers.answer = None;
        self.phase = Phase::TimeWait;
        self.timers.phase = Some(now + TIME_WAIT);
    }

    /// When `on_time` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let Timers {
            answer,
            delayed,
            phase,
            heard,
            ..
        } = self.timers;
        let keep_alive = match (self.phase, answer) {
            (Phase::Open, None) => Some(heard + KEEP_ALIVE),
            _ => None,
        };
        [answer, delayed, phase, keep_alive]
            .into_iter()
            .flatten()
            .min()
    }

    /// What the time brings.
    pub fn on_time(&mut self, now: Instant) {
        let is_due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if is_due(self.timers.delayed) {
            self.timers.delayed = None;
            self.owes_answer = true;
        }
        if is_due(self.timers.phase) {
            self.timers.phase = None;
            match self.phase {
                Phase::TimeWait => self.end(None),
                _ => self.abort(ErrorKind::TimedOut),
            }
        }
        if is_due(self.timers.answer) {
            self.timers.answer = None;
            self.on_silence(now);
        }
        let is_idle = now.saturating_duration_since(self.timers.heard) >= KEEP_ALIVE;
        if self.phase == Phase::Open && is_idle && self.timers.answer.is_none() {
            self.owes_probe = true;
            self.await_answer(now);
            self.round_trip.timed_out();
        }
    }

    /// Whoever changed it calls this, before it asks for the deadline.
    pub fn settle(&mut self, now: Instant) {
        // The peer's window holds everything up, and nothing is under way that would bring the news
        // of it: those may be lost (RFC 9293 §3.8.6.1).
        let is_held_up = self.has_more() && self.first == self.next && self.next_piece().is_none();
        if self.phase == Phase::Open && is_held_up && self.timers.answer.is_none() {
            self.await_answer(now);
        }
    }

    /// From now on silence is told by a timer.
    fn await_answer(&mut self, now: Instant) {
        self.timers.answer = Some(now + self.round_trip.timeout());
        self.timers.silent.get_or_insert(now);
    }

    /// No answer in time, or a window that stays shut.
    fn on_silence(&mut self, now: Instant) {
        let silent = self
            .timers
            .silent
            .map(|since| now.saturating_duration_since(since));
        if silent.is_some_and(|silent| silent >= SILENCE_MAX) {
            self.abort(ErrorKind::TimedOut);
            return;
        }
        match self.phase {
            Phase::SynSent | Phase::SynReceived => self.owes_syn = true,
            Phase::Open if self.first < self.next => {
                self.recovery.timed_out(self.first, self.next);
            }
            Phase::Open => {
                self.is_pressed = self.has_more() && self.peer_window > 0;
                self.owes_probe = self.has_more() && self.peer_window == 0;
            }
            _ => return,
        }
        self.round_trip.timed_out();
    }
}

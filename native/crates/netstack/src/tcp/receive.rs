//! What a segment does to a connection (RFC 9293 §3.10.7).

use super::recovery::Acknowledged;
use super::{Connection, Ends, Phase};
use crate::ranges::{Range, position};
use crate::segment::{ACK, FIN, RST, SACKS_MAX, SYN, Segment};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// How long an acknowledgement waits for company (RFC 9293 §3.8.6.3: less than half a second).
const DELAY: Duration = Duration::from_millis(20);
const DELAY_IN_FLOW: Duration = Duration::from_millis(2);
/// Between two segments of one flow.
const PAUSE: Duration = Duration::from_millis(5);
/// From here on a flow is one that acknowledgements need not drive.
const FLOW_BYTES: usize = 256 * 1024;
const SEGMENTS_IN_FLOW: usize = 8;

impl Connection {
    /// A peer begins one; nothing is said until `accept`.
    pub fn offered(ends: Ends, syn: &Segment<'_>, now: Instant) -> Connection {
        let mut connection = Connection::new(ends, Phase::Offered, now);
        connection.begin_input(syn);
        connection
    }

    /// Takes the peer's SYN.
    fn begin_input(&mut self, syn: &Segment<'_>) {
        let peer_initial = (1 << 32) + u64::from(syn.sequence);
        self.input.begin(peer_initial + 1);
        self.edge = peer_initial + 1;
        self.agree(syn.terms);
        self.peer_window = u64::from(syn.window); // never scaled in a SYN (RFC 7323 §2.2)
        self.peer_window_max = self.peer_window;
        self.window_word = (peer_initial, self.first);
    }

    /// A segment came. Gives the answer to one that belongs to no such connection, as a refusal.
    pub fn receive(&mut self, segment: &Segment<'_>, now: Instant) -> Option<bytes::BytesMut> {
        match self.phase {
            Phase::Closed => return segment.reset(),
            Phase::SynSent => return self.receive_in_syn_sent(segment, now),
            // It knows neither our numbers nor whether we are there.
            Phase::Offered if segment.has(RST) => self.end(Some(ErrorKind::ConnectionReset)),
            Phase::Offered => {}
            Phase::SynReceived | Phase::Open | Phase::TimeWait => {
                self.receive_in_order(segment, now);
            }
        }
        None
    }

    fn receive_in_syn_sent(
        &mut self,
        segment: &Segment<'_>,
        now: Instant,
    ) -> Option<bytes::BytesMut> {
        let is_ours = position(segment.acknowledged, self.next) == self.initial + 1;
        if !segment.has(ACK) || !is_ours {
            // Both began at once: rare enough to let one of the time-outs decide.
            return if segment.has(ACK) {
                segment.reset()
            } else {
                None
            };
        }
        if segment.has(RST) {
            self.end(Some(ErrorKind::ConnectionRefused));
            return None;
        }
        if segment.has(SYN) {
            self.heard(now);
            self.round_trip.answered(self.initial + 1, now);
            self.first = self.initial + 1;
            self.begin_input(segment);
            self.opened();
            self.owes_answer = true;
        }
        None
    }

    fn opened(&mut self) {
        self.phase = Phase::Open;
        self.timers.phase = None;
        self.timers.answer = None;
        self.out.begin(self.initial + 1);
    }

    fn heard(&mut self, now: Instant) {
        self.timers.heard = now;
        self.timers.silent = None;
    }

    fn receive_in_order(&mut self, segment: &Segment<'_>, now: Instant) {
        let at = position(segment.sequence, self.input.next());
        if !self.is_in_window(at, segment) {
            self.heard(now);
            self.owes_answer |= !segment.has(RST);
            // RFC 9293 §3.10.7.4: behind a window that is shut, acknowledgements still count.
            if at == self.input.next() && segment.flags & (SYN | RST | ACK) == ACK {
                self.take_acknowledgement(segment, at, now);
            }
            return;
        }
        if segment.has(RST) {
            self.receive_reset(at);
            return;
        }
        if segment.has(SYN) {
            // RFC 5961 §4.2; our answer to the SYN may be lost, too.
            if self.phase == Phase::SynReceived {
                self.owes_syn = true;
            } else {
                self.owes_answer = true;
            }
            return;
        }
        if !segment.has(ACK) {
            return;
        }
        self.heard(now);
        if !self.take_acknowledgement(segment, at, now) {
            return;
        }
        self.take_payload(segment, at, now);
        self.look_for_end(now);
    }

    /// RFC 9293 §3.10.7.4: some of it lies in the window, or it is empty and at its edge.
    fn is_in_window(&self, at: u64, segment: &Segment<'_>) -> bool {
        let expected = self.input.next() + u64::from(self.has_peer_ended());
        let length = segment.payload.len() as u64 + u64::from(segment.has(FIN));
        let edge = self.edge.max(expected);
        if length == 0 {
            return (expected..=edge).contains(&at);
        }
        at < edge && at + length > expected
    }

    /// RFC 5961 §3.2: only the exact number ends it; others are asked.
    fn receive_reset(&mut self, at: u64) {
        let expected = self.input.next() + u64::from(self.has_peer_ended());
        if at != expected {
            self.owes_answer = true;
            return;
        }
        let fault = match self.phase {
            Phase::TimeWait => None,
            Phase::Open if self.have_we_ended() && self.has_peer_ended() => None,
            _ => Some(ErrorKind::ConnectionReset),
        };
        self.end(fault);
    }

    /// False: it speaks of what was never sent.
    fn take_acknowledgement(&mut self, segment: &Segment<'_>, at: u64, now: Instant) -> bool {
        let said = position(segment.acknowledged, self.next);
        if said > self.next || (self.phase == Phase::SynReceived && said <= self.initial) {
            self.owes_answer = true;
            return false;
        }
        if self.phase == Phase::SynReceived {
            self.first = self.initial + 1;
            self.round_trip.answered(self.first, now);
            self.opened();
        }
        let before = self.first;
        if said < before {
            return true; // late, its payload may still be of use
        }
        let is_bare = segment.payload.is_empty() && !segment.has(FIN);
        let window = u64::from(segment.window) << self.peer_scale;
        let is_same_window = window == self.peer_window;
        self.take_window(window, (at, said));
        self.first = said;
        self.out.forget_below(said);
        if said > before {
            self.round_trip.answered(said, now);
            self.timers.answer = None;
        }
        if said == self.next {
            self.timers.answer = None;
        } else if self.timers.answer.is_none() {
            self.await_answer(now);
        }
        self.take_blocks(segment, before, (is_bare && is_same_window, now));
        true
    }

    /// An older segment that comes late must not shut the window again.
    fn take_window(&mut self, window: u64, word: (u64, u64)) {
        if word < self.window_word && word.1 <= self.window_word.1 {
            return;
        }
        self.window_word = word;
        if window > self.peer_window && self.first == self.next {
            self.timers.answer = None; // no more asking for it
        }
        self.peer_window = window;
        self.peer_window_max = self.peer_window_max.max(window);
    }

    fn take_blocks(&mut self, segment: &Segment<'_>, before: u64, (is_bare, now): (bool, Instant)) {
        let mut blocks: [Range; SACKS_MAX] = [(0, 0); SACKS_MAX];
        let given = if self.peer_sack {
            segment.sacks.all()
        } else {
            &[]
        };
        for (block, &(start, end)) in blocks.iter_mut().zip(given) {
            *block = (position(start, self.next), position(end, self.next));
        }
        let said = Acknowledged {
            first: self.first,
            before,
            next: self.next,
            blocks: blocks.get(..given.len()).unwrap_or_default(),
            is_bare,
            round_trip: self.round_trip.mean(),
        };
        self.recovery.acknowledged(&said, now);
    }

    fn take_payload(&mut self, segment: &Segment<'_>, at: u64, now: Instant) {
        let expected = self.input.next();
        let length = segment.payload.len() as u64;
        if length > 0 && self.is_orphan {
            self.abort(ErrorKind::ConnectionAborted);
            return;
        }
        if self.phase != Phase::Open || self.has_peer_ended() {
            self.owes_answer |= length > 0 || segment.has(FIN);
            return;
        }
        if segment.has(FIN) && self.peer_fin.is_none() {
            self.peer_fin = Some(at + length);
        }
        let fits = self.edge.saturating_sub(at).min(length) as usize;
        let limit = self.peer_fin.unwrap_or(u64::MAX).saturating_sub(at);
        let fits = fits.min(usize::try_from(limit).unwrap_or(usize::MAX));
        let had_early = self.input.has_early();
        self.input
            .insert(at, segment.payload.get(..fits).unwrap_or_default());
        self.newest = at;
        self.unanswered += segment.payload.len();
        let is_in_order = at <= expected && !had_early;
        let (often, delay) = self.answers_after(is_in_order, segment.payload.len(), now);
        // RFC 5681 §4.2: a hole, its end, and the end of the stream are told at once.
        if !is_in_order || self.has_peer_ended() || self.unanswered >= often * self.segment {
            self.owes_answer = true;
        } else if length > 0 && self.timers.delayed.is_none() {
            self.timers.delayed = Some(now + delay);
        }
    }

    /// Segments until the next acknowledgement, and how long it waits for them: two (RFC 9293
    /// §3.8.6.3), and more while much flows without a hole or a pause, as behind a card that joins
    /// segments. A sender whose window is small pauses, and is answered soon.
    fn answers_after(
        &mut self,
        is_in_order: bool,
        bytes: usize,
        now: Instant,
    ) -> (usize, Duration) {
        let paused = now.saturating_duration_since(self.flowed) > PAUSE;
        self.flow = if is_in_order && !paused {
            self.flow.saturating_add(bytes)
        } else {
            0
        };
        self.flowed = now;
        if self.flow >= FLOW_BYTES {
            (SEGMENTS_IN_FLOW, DELAY_IN_FLOW)
        } else {
            (2, DELAY)
        }
    }
}

//! What a connection has to say, as packets.

use super::{Connection, Phase, SCALE};
use crate::segment::{ACK, FIN, PSH, RST, SYN, Sacks, Segment, Terms};
use bytes::BytesMut;
use std::time::Instant;

impl Connection {
    /// Appends at most `room` packets; whether there is more to say.
    pub fn transmit(&mut self, now: Instant, packets: &mut Vec<BytesMut>, room: usize) -> bool {
        let limit = packets.len() + room;
        if room == 0 {
            return self.has_something_to_say();
        }
        match self.phase {
            Phase::Closed => self.say_reset(packets),
            Phase::SynSent | Phase::SynReceived => self.say_syn(now, packets),
            Phase::Offered => {}
            Phase::Open => self.say_bytes(now, packets, limit),
            Phase::TimeWait => {}
        }
        if packets.len() >= limit {
            return self.has_something_to_say();
        }
        self.owes_answer |= self.is_window_news();
        if self.owes_probe && matches!(self.phase, Phase::Open) {
            self.owes_probe = false;
            // Of a byte that arrived: it must be answered, and the answer has the window.
            packets.push(
                self.segment_at(self.first.wrapping_sub(1), ACK)
                    .build((&[], &[])),
            );
        } else if self.owes_answer && self.is_open() {
            let answer = self.segment_at(self.next, ACK);
            self.answered();
            packets.push(answer.build((&[], &[])));
        }
        false
    }

    /// Whether `transmit` has a packet.
    pub fn has_something_to_say(&self) -> bool {
        match self.phase {
            Phase::Closed => self.owes_reset,
            Phase::SynSent | Phase::SynReceived => self.owes_syn,
            Phase::Offered => false,
            Phase::Open => {
                let owes = self.owes_answer || self.owes_probe || self.is_window_news();
                owes || self.next_piece().is_some()
            }
            Phase::TimeWait => self.owes_answer,
        }
    }

    /// Bytes or the end, which never went.
    pub(super) fn has_more(&self) -> bool {
        self.next < self.last()
    }

    /// After all that was written, the end included.
    fn last(&self) -> u64 {
        self.out.end() + u64::from(self.fin.is_some())
    }

    fn say_reset(&mut self, packets: &mut Vec<BytesMut>) {
        if !self.owes_reset {
            return;
        }
        self.owes_reset = false;
        packets.push(self.segment_at(self.next, RST | ACK).build((&[], &[])));
    }

    fn say_syn(&mut self, now: Instant, packets: &mut Vec<BytesMut>) {
        if !self.owes_syn {
            return;
        }
        self.owes_syn = false;
        let is_answer = self.phase == Phase::SynReceived;
        let mut segment = self.segment_at(self.initial, if is_answer { SYN | ACK } else { SYN });
        if !is_answer {
            segment.acknowledged = 0;
        }
        let window = if is_answer {
            self.told_edge() - self.input.next()
        } else {
            self.window_max as u64
        };
        segment.window = u16::try_from(window).unwrap_or(u16::MAX);
        let fits = if is_answer {
            self.own_segment
        } else {
            self.segment
        };
        segment.terms = Terms {
            segment_bytes: u16::try_from(fits).ok(),
            scale: (!is_answer || self.peer_scales).then_some(SCALE),
            sack: !is_answer || self.peer_sack,
        };
        packets.push(segment.build((&[], &[])));
        if is_answer {
            self.edge = self.edge.max(self.input.next() + u64::from(segment.window));
        }
        self.next = self.initial + 1;
        self.round_trip.sent(self.next, now);
        self.await_answer(now);
    }

    fn say_bytes(&mut self, now: Instant, packets: &mut Vec<BytesMut>, limit: usize) {
        self.recovery.is_limiting = false;
        while packets.len() < limit {
            let Some((at, length)) = self.next_piece() else {
                break;
            };
            packets.push(self.piece_packet(at, length));
            let end = at + length;
            if at < self.next {
                self.recovery.repeated(end);
                self.round_trip.sent_again();
            } else {
                self.next = end;
                self.is_pressed = false;
                self.is_last_to_end = self.has_peer_ended();
                self.round_trip.sent(end, now);
            }
            if self.timers.answer.is_none() {
                self.await_answer(now);
            }
        }
        let waits = self.has_more();
        self.recovery.is_limiting |=
            waits && self.recovery.room(self.first, self.next) < self.segment as u64;
    }

    /// Where the next segment begins, and how much of the sequence it takes.
    pub(super) fn next_piece(&self) -> Option<(u64, u64)> {
        let segment = self.segment as u64;
        let room = self.recovery.room(self.first, self.next);
        // Also with little room: a segment is not cut for it.
        let may_go = room >= segment || self.first == self.next;
        if !may_go {
            return None;
        }
        if let Some((start, end)) = self.recovery.next_lost(self.first) {
            return Some((start, (end - start).min(segment)));
        }
        let window = (self.first + self.peer_window).saturating_sub(self.next);
        let waiting = self.last() - self.next;
        let length = waiting.min(segment).min(window);
        // Silly windows (RFC 9293 §3.8.6.2.1): full segments, or all that there is, or half of the
        // largest window.
        let is_worth_it =
            length == waiting || length == segment || length * 2 >= self.peer_window_max;
        let is_worth_it = is_worth_it || self.is_pressed;
        (length > 0 && is_worth_it).then_some((self.next, length))
    }

    fn piece_packet(&mut self, at: u64, length: u64) -> BytesMut {
        let end = at + length;
        let has_fin = self.fin.is_some_and(|fin| end > fin);
        let bytes = (length - u64::from(has_fin)) as usize;
        let is_last = end >= self.out.end();
        let flags = ACK | if has_fin { FIN } else { 0 } | if is_last { PSH } else { 0 };
        let segment = self.segment_at(at, flags);
        self.answered();
        segment.build(self.out.piece(at, bytes))
    }

    /// A head with everything that the peer is to know of what came.
    fn segment_at(&mut self, at: u64, flags: u8) -> Segment<'static> {
        let expected = self.input.next();
        let edge = self.told_edge();
        // RFC 9293 §3.8.6.2.2: not by crumbs.
        if edge >= self.edge + self.segment.min(self.window_max / 2) as u64 {
            self.edge = edge;
        }
        let scale = if self.peer_scales { SCALE } else { 0 };
        let window = (self.edge - expected) >> scale;
        let mut sacks = Sacks::default();
        if self.peer_sack && flags & (SYN | RST) == 0 {
            for (start, end) in self.input.early(self.newest) {
                sacks.push((start as u32, end as u32));
            }
        }
        Segment {
            source: self.local,
            target: self.remote,
            flags,
            // The lower half is what the wire has.
            sequence: at as u32,
            acknowledged: (expected + u64::from(self.has_peer_ended())) as u32,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            terms: Terms::default(),
            sacks,
            payload: &[],
        }
    }

    fn answered(&mut self) {
        self.owes_answer = false;
        self.unanswered = 0;
        self.timers.delayed = None;
    }

    /// Where the window could end now.
    fn told_edge(&self) -> u64 {
        let room = self.window_max.saturating_sub(self.input.readable());
        let mut edge = self.input.next() + room as u64;
        if !self.peer_scales {
            edge = edge.min(self.input.next() + u64::from(u16::MAX));
        }
        edge
    }

    /// The peer may be waiting for a window that has opened (RFC 9293 §3.8.6.2.2).
    fn is_window_news(&self) -> bool {
        if self.phase != Phase::Open || self.has_peer_ended() {
            return false;
        }
        let left = self.edge.saturating_sub(self.input.next());
        let opened = self.told_edge().saturating_sub(self.edge);
        let much = self.window_max as u64 / 2;
        left < much && opened >= (self.window_max as u64 / 4).max(self.segment as u64)
    }
}

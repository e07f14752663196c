//! What is known of bytes under way: which arrived, which are lost, and how much may follow.
//!
//! Loss is seen by selective acknowledgements (RFC 6675): bytes are lost once others that went
//! three segments later have arrived, or after a time-out all of them. Without such
//! acknowledgements three equal ones in a row mean that the first segment is lost (RFC 6582).

use super::cubic::Cubic;
use crate::limits::SEND_BYTES_MAX;
use crate::ranges::{Range, Ranges};
use std::time::{Duration, Instant};

/// Later segments, or equal acknowledgements, that mean a loss (RFC 5681 §3.2).
const LATER_SEGMENTS: u64 = 3;
/// Blocks that are remembered of a peer.
const BLOCKS_MAX: usize = 256;

#[derive(Debug)]
pub struct Recovery {
    segment: u64,
    cubic: Cubic,
    arrived: Ranges,
    /// Up to here, what is missing was sent again.
    repeated: u64,
    /// Up to here, what is missing is lost.
    lost: u64,
    /// A loss is being made good until this is acknowledged.
    until: Option<u64>,
    equal: u64,
    /// The window was what held the sender up.
    pub is_limiting: bool,
}

/// What an acknowledgement says.
pub struct Acknowledged<'a> {
    /// Below it everything arrived; before that, it was `before`.
    pub first: u64,
    pub before: u64,
    /// Where new bytes go on.
    pub next: u64,
    pub blocks: &'a [Range],
    /// It says nothing but this.
    pub is_bare: bool,
    pub round_trip: Duration,
}

impl Recovery {
    pub fn new(segment: usize) -> Recovery {
        Recovery {
            segment: segment as u64,
            cubic: Cubic::new(segment, SEND_BYTES_MAX * 2),
            arrived: Ranges::default(),
            repeated: 0,
            lost: 0,
            until: None,
            equal: 0,
            is_limiting: false,
        }
    }

    /// Bytes that may go now.
    pub fn room(&self, first: u64, next: u64) -> u64 {
        (self.cubic.window() as u64).saturating_sub(self.under_way(first, next))
    }

    fn under_way(&self, first: u64, next: u64) -> u64 {
        let missing = self.arrived.missing(first, next);
        let lost = self.arrived.missing(self.repeated.max(first), self.lost);
        let left = if self.arrived.is_empty() {
            self.equal * self.segment
        } else {
            0
        };
        missing.saturating_sub(lost).saturating_sub(left)
    }

    /// What is to be sent again next.
    pub fn next_lost(&self, first: u64) -> Option<Range> {
        self.arrived.hole(self.repeated.max(first), self.lost)
    }

    /// What is missing was sent again up to here.
    pub fn repeated(&mut self, end: u64) {
        self.repeated = end;
    }

    pub fn acknowledged(&mut self, said: &Acknowledged<'_>, now: Instant) {
        for &(start, end) in said.blocks {
            // Also what tells of bytes that came twice (RFC 2883): it lies below.
            if start >= said.first && end <= said.next {
                self.arrived.insert((start, end), BLOCKS_MAX);
            }
        }
        let fresh = said.first - said.before;
        if fresh > 0 {
            self.advanced(said, fresh, now);
        } else if said.is_bare && said.next > said.first {
            self.equal += 1;
        }
        self.look_for_losses(said);
    }

    fn advanced(&mut self, said: &Acknowledged<'_>, fresh: u64, now: Instant) {
        let without_blocks = self.arrived.is_empty();
        self.arrived.forget_below(said.first);
        self.equal = 0;
        match self.until {
            Some(until) if said.first < until => {
                // RFC 6582 §3.2: what the partial acknowledgement asks for is lost, too.
                if without_blocks && self.lost <= said.first {
                    self.repeated = said.first;
                    self.lost = (said.first + self.segment).min(until);
                }
                if self.is_slow_start() {
                    self.cubic.acknowledged(fresh, now, said.round_trip);
                }
            }
            Some(_) => self.until = None,
            None if self.is_limiting => self.cubic.acknowledged(fresh, now, said.round_trip),
            None => {}
        }
    }

    /// After a time-out: the window grows while the rest is made good.
    fn is_slow_start(&self) -> bool {
        self.until.is_some_and(|until| self.lost >= until)
    }

    fn look_for_losses(&mut self, said: &Acknowledged<'_>) {
        let later = LATER_SEGMENTS * self.segment;
        let by_blocks = self.arrived.end().unwrap_or_default().saturating_sub(later);
        let is_lost = by_blocks > said.first || self.equal >= LATER_SEGMENTS;
        if !is_lost || said.next == said.first {
            return;
        }
        if self.until.is_none() {
            self.until = Some(said.next);
            self.cubic.lost();
            self.repeated = said.first;
            self.lost = said.first + self.segment.min(said.next - said.first);
        }
        self.lost = self.lost.max(by_blocks);
    }

    /// Nothing came in time: all of it is lost, but for what is known to be there.
    pub fn timed_out(&mut self, first: u64, next: u64) {
        self.cubic.timed_out(self.arrived.missing(first, next));
        // RFC 2018 §8: who forgets what it told of has its first bytes missing and "arrived".
        if self.arrived.start() == Some(first) {
            self.arrived.clear();
        }
        self.until = Some(next);
        self.repeated = first;
        self.lost = next;
        self.equal = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(first: u64, before: u64, blocks: &[Range]) -> Acknowledged<'_> {
        Acknowledged {
            first,
            before,
            next: 20_000,
            blocks,
            is_bare: true,
            round_trip: Duration::from_millis(10),
        }
    }

    #[test]
    fn what_went_before_others_that_arrived_is_sent_again_once() {
        let mut recovery = Recovery::new(1000);
        let now = Instant::now();
        recovery.acknowledged(&said(0, 0, &[(2000, 3000)]), now);
        assert_eq!(recovery.next_lost(0), None);
        recovery.acknowledged(&said(0, 0, &[(2000, 4000), (6000, 9000)]), now);
        assert_eq!(recovery.next_lost(0), Some((0, 2000)));
        recovery.repeated(2000);
        assert_eq!(recovery.next_lost(0), Some((4000, 6000)));
        recovery.repeated(6000);
        assert_eq!(recovery.next_lost(0), None);
        // Half of the way is made good; the rest was sent again already.
        recovery.acknowledged(&said(4000, 0, &[(6000, 9000)]), now);
        assert_eq!(recovery.next_lost(4000), None);
        assert_eq!(recovery.under_way(4000, 20_000), 13_000);
    }

    #[test]
    fn three_equal_acknowledgements_mean_that_the_first_segment_is_lost() {
        let mut recovery = Recovery::new(1000);
        let now = Instant::now();
        for _ in 0..2 {
            recovery.acknowledged(&said(5000, 5000, &[]), now);
        }
        assert_eq!(recovery.next_lost(5000), None);
        recovery.acknowledged(&said(5000, 5000, &[]), now);
        assert_eq!(recovery.next_lost(5000), Some((5000, 6000)));
        recovery.repeated(6000);
        recovery.acknowledged(&said(8000, 5000, &[]), now);
        assert_eq!(recovery.next_lost(8000), Some((8000, 9000)));
    }

    #[test]
    fn after_a_time_out_all_is_lost_but_what_is_known_to_be_there() {
        let mut recovery = Recovery::new(1000);
        recovery.acknowledged(&said(0, 0, &[(2000, 4000)]), Instant::now());
        recovery.timed_out(0, 20_000);
        assert_eq!(recovery.room(0, 20_000), 1000);
        assert_eq!(recovery.next_lost(0), Some((0, 2000)));
        recovery.repeated(2000);
        assert_eq!(recovery.next_lost(0), Some((4000, 20_000)));
        // A peer that forgot what it told of gets it again.
        recovery.timed_out(2000, 20_000);
        assert_eq!(recovery.next_lost(2000), Some((2000, 20_000)));
    }
}

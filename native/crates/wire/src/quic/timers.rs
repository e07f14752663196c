//! When each connection wants to be woken. An entry may be too early (the connection asked again
//! for later): then it is put back when it comes up, so a packet costs no heap operation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Wake-up times by connection key.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    /// Adds a wake-up for `key`, unless `scheduled` (its earliest one) comes first.
    pub fn schedule(&mut self, key: usize, at: Instant, scheduled: &mut Option<Instant>) {
        if scheduled.is_none_or(|earliest| at < earliest) {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest wake-up.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one wake-up that is due.
    pub fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let due = self.next().is_some_and(|at| at <= now);
        due.then(|| self.heap.pop())
            .flatten()
            .map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_earlier_wake_ups_are_added() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut scheduled = None;
        for seconds in [5, 9, 3, 4] {
            timers.schedule(1, at(seconds), &mut scheduled);
        }
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(9)), Some((at(3), 1)));
        assert_eq!(timers.pop(at(9)), Some((at(5), 1)));
        assert_eq!(timers.pop(at(9)), None);
    }
}

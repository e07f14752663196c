//! The CPU time that the inspection of one exchange may take.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time budget is used up; the caller decides what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget;

/// Work between two looks at the clock, in bytes; each operator costs `OPERATOR_WORK` more. A look
/// is a system call of some 0.3 µs: most requests end before their first.
pub const WORK_PER_LOOK: usize = 64 * 1024;
const OPERATOR_WORK: usize = 256;
/// What a stretch of `WORK_PER_LOOK` counts that began before the first look.
const UNSEEN: Duration = Duration::from_micros(250);

/// What was spent in earlier calls for the same exchange: workers do others in between.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    time: Duration,
    work: usize,
}

/// Looks at the clock now and then, by work done. The clock is that of the thread: on a busy
/// machine the time for which a request waits for a processor is not held against it.
pub struct Budget {
    limit: Duration,
    spent: Spent,
    looked: Option<Duration>,
    clock: fn() -> Duration,
}

impl Budget {
    /// What is left of the limit.
    pub fn new(limit: Duration, spent: Spent) -> Self {
        Self::with_clock((limit, spent), thread_time)
    }

    /// For texts that no request brings.
    pub fn unlimited() -> Self {
        Self::with_clock((Duration::MAX, Spent::default()), || Duration::ZERO)
    }

    /// The same with another clock.
    pub fn with_clock((limit, spent): (Duration, Spent), clock: fn() -> Duration) -> Self {
        Self {
            limit,
            spent,
            looked: None,
            clock,
        }
    }

    /// Counts one operator or transformation over a text of this length.
    pub fn spend(&mut self, text_len: usize) -> Result<(), OverBudget> {
        self.spent.work += OPERATOR_WORK + text_len;
        if self.spent.work < WORK_PER_LOOK {
            return Ok(());
        }
        self.look()
    }

    /// Counts the time from here on exactly, for what is not counted as work.
    pub fn start(&mut self) {
        self.looked.get_or_insert_with(self.clock);
    }

    /// Counts the time since the last look.
    pub fn look(&mut self) -> Result<(), OverBudget> {
        self.spent.work = 0;
        let now = (self.clock)();
        let since = self.looked.map_or(UNSEEN, |last| now.saturating_sub(last));
        self.looked = Some(now);
        self.spent.time += since;
        if self.spent.time > self.limit {
            return Err(OverBudget);
        }
        Ok(())
    }

    /// For the next call.
    pub fn spent(&self) -> Spent {
        self.spent
    }
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(now.tv_sec.unsigned_abs(), nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Every look finds that a millisecond has passed.
    fn by_looks() -> Duration {
        LOOKS.with(|looks| {
            looks.set(looks.get() + 1);
            Duration::from_millis(looks.get())
        })
    }

    fn budget(limit_ms: u64, spent: Spent) -> Budget {
        Budget::with_clock((Duration::from_millis(limit_ms), spent), by_looks)
    }

    #[test]
    fn small_work_never_looks_at_the_clock() {
        let mut budget = budget(0, Spent::default());
        for _ in 0..100 {
            assert_eq!(budget.spend(100), Ok(()));
        }
        assert_eq!(LOOKS.with(Cell::get), 0);
    }

    #[test]
    fn it_ends_with_the_first_look_beyond_the_limit() {
        let mut budget = budget(5, Spent::default());
        let stretches = (0..).find(|_| budget.spend(WORK_PER_LOOK).is_err());
        // The first counts a quarter of a millisecond, five more are within the limit.
        assert_eq!(stretches, Some(5));
    }

    #[test]
    fn what_was_spent_before_counts() {
        let mut first = budget(5, Spent::default());
        first.start();
        assert_eq!((first.look(), first.look()), (Ok(()), Ok(())));
        let mut second = budget(3, first.spent());
        second.start();
        assert_eq!((second.look(), second.look()), (Ok(()), Err(OverBudget)));
    }

    #[test]
    fn work_of_many_small_calls_adds_up() {
        let mut spent = Spent::default();
        let mut calls = 0;
        loop {
            let mut budget = budget(1, spent);
            if budget.spend(WORK_PER_LOOK / 4).is_err() {
                break;
            }
            spent = budget.spent();
            calls += 1;
        }
        assert_eq!(calls, 19);
    }

    #[test]
    fn the_time_of_other_threads_is_not_counted() {
        let before = thread_time();
        std::thread::spawn(|| (0..1_000_000u64).map(std::hint::black_box).sum::<u64>())
            .join()
            .ok();
        let after = thread_time();
        assert!(after >= before);
    }
}

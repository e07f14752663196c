//! The least rate at which a body must move: an average over the time spent waiting for the other
//! side. Time is an argument, and time in which nobody asked for bytes does not count, so that a
//! slow endpoint never makes its client look slow.

use std::time::{Duration, Instant};

/// What a body is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Bytes per second on average; 0: any rate will do.
    pub bytes_min: u64,
    /// Waiting that is free.
    pub grace: Duration,
    /// The longest wait for a single byte.
    pub idle: Duration,
}

/// What was waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// Nothing came for `idle`.
    Idle,
    /// Bytes come, but fewer than `bytes_min` a second.
    Slow,
}

/// One body's progress.
#[derive(Debug)]
pub struct Rate {
    limits: RateLimits,
    bytes: u64,
    /// Waited until the last bytes came.
    waited: Duration,
    /// Waits since.
    since: Option<Instant>,
}

impl Rate {
    /// A body of which nothing has moved.
    pub fn new(limits: RateLimits) -> Rate {
        Rate {
            limits,
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Begins to wait, or goes on waiting: for how long from `now`, and what it means when that
    /// passes without bytes.
    pub fn wait(&mut self, now: Instant) -> (Duration, Late) {
        let since = *self.since.get_or_insert(now);
        let idle = (since + self.limits.idle).saturating_duration_since(now);
        let Some(earned_ms) = (self.bytes.saturating_mul(1000)).checked_div(self.limits.bytes_min)
        else {
            return (idle, Late::Idle);
        };
        let earned = self.limits.grace.max(Duration::from_millis(earned_ms));
        let waited = self.waited + now.saturating_duration_since(since);
        let slow = earned.saturating_sub(waited);
        if slow < idle {
            (slow, Late::Slow)
        } else {
            (idle, Late::Idle)
        }
    }

    /// Bytes moved, and nobody waits until `wait` is called again.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Bytes moved without any wait: saves asking for the time.
    pub fn moved_at_once(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Whether a wait is going on.
    pub fn waits(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RateLimits = RateLimits {
        bytes_min: 1024,
        grace: Duration::from_secs(10),
        idle: Duration::from_secs(30),
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn within_the_grace_any_rate_will_do() {
        let (mut rate, start) = (Rate::new(LIMITS), Instant::now());
        assert_eq!(rate.wait(start), (seconds(10), Late::Slow));
        rate.moved(1, start + seconds(9));
        assert_eq!(rate.wait(start + seconds(9)), (seconds(1), Late::Slow));
        assert_eq!(rate.wait(start + seconds(11)), (Duration::ZERO, Late::Slow));
    }

    #[test]
    fn bytes_earn_time_up_to_the_idle_timeout() {
        let (mut rate, start) = (Rate::new(LIMITS), Instant::now());
        rate.moved_at_once(20 * 1024);
        assert_eq!(rate.wait(start), (seconds(20), Late::Slow));
        rate.moved(20 * 1024, start + seconds(15));
        assert_eq!(rate.wait(start + seconds(15)), (seconds(25), Late::Slow));
        rate.moved(1 << 30, start + seconds(16));
        assert_eq!(rate.wait(start + seconds(16)), (seconds(30), Late::Idle));
    }

    #[test]
    fn time_in_which_nobody_waits_is_free() {
        let (mut rate, start) = (Rate::new(LIMITS), Instant::now());
        rate.wait(start);
        rate.moved(1, start + seconds(4));
        assert_eq!(rate.wait(start + seconds(1000)), (seconds(6), Late::Slow));
    }

    #[test]
    fn without_a_minimum_only_silence_counts() {
        let mut rate = Rate::new(RateLimits {
            bytes_min: 0,
            ..LIMITS
        });
        let start = Instant::now();
        assert_eq!(rate.wait(start), (seconds(30), Late::Idle));
        assert_eq!(rate.wait(start + seconds(12)), (seconds(18), Late::Idle));
    }
}

//! Token buckets: what a client may do at once, and how fast that comes back.

use std::time::Instant;

/// The shape of a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// How often at once.
    pub burst: u32,
    /// How often per second beyond that.
    pub per_second: u32,
}

/// A bucket that starts full.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    /// Thousandths.
    tokens: u64,
    since: Instant,
}

impl Bucket {
    pub fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket {
            rate,
            tokens: u64::from(rate.burst) * 1000,
            since: now,
        }
    }

    /// Takes one; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let earned = passed.saturating_mul(u64::from(self.rate.per_second));
        if earned > 0 {
            let full = u64::from(self.rate.burst) * 1000;
            self.tokens = self.tokens.saturating_add(earned).min(full);
            self.since = now;
        }
        let left = self.tokens.checked_sub(1000);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_the_rate() {
        let begun = Instant::now();
        let rate = Rate {
            burst: 3,
            per_second: 2,
        };
        let mut bucket = Bucket::new(rate, begun);
        let mut taken = |after| {
            (0..10)
                .filter(|_| bucket.take(begun + Duration::from_millis(after)))
                .count()
        };
        assert_eq!(
            [taken(0), taken(400), taken(500), taken(60_000)],
            [3, 0, 1, 3]
        );
    }
}

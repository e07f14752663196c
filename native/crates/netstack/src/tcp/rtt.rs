//! How long an answer takes, and how long to wait for one (RFC 6298).

use std::time::{Duration, Instant};

/// RFC 6298 §2 has a second; a fifth of one is what the kernels have.
const TIMEOUT_MIN: Duration = Duration::from_millis(200);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Before anything was measured.
const TIMEOUT_FIRST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<(Duration, Duration)>,
    /// One position under way at a time, and when it went.
    timed: Option<(u64, Instant)>,
    /// Timeouts in a row.
    backoff: u32,
}

impl RoundTrip {
    /// The time-out in force.
    pub fn timeout(&self) -> Duration {
        let base = match self.smoothed {
            Some((mean, deviation)) => mean + (deviation * 4).max(Duration::from_millis(1)),
            None => TIMEOUT_FIRST,
        };
        let doubled = base.max(TIMEOUT_MIN) * 2_u32.saturating_pow(self.backoff.min(8));
        doubled.min(TIMEOUT_MAX)
    }

    /// The mean; none was measured: zero.
    pub fn mean(&self) -> Duration {
        self.smoothed.map(|(mean, _)| mean).unwrap_or_default()
    }

    /// New bytes up to `end` went.
    pub fn sent(&mut self, end: u64, now: Instant) {
        if self.timed.is_none() {
            self.timed = Some((end, now));
        }
    }

    /// An answer to what was sent twice says nothing (Karn's algorithm, RFC 6298 §3).
    pub fn sent_again(&mut self) {
        self.timed = None;
    }

    /// Everything below `position` arrived.
    pub fn answered(&mut self, position: u64, now: Instant) {
        self.backoff = 0;
        let Some((end, sent)) = self.timed else {
            return;
        };
        if position < end {
            return;
        }
        self.timed = None;
        let took = now.saturating_duration_since(sent);
        self.smoothed = Some(match self.smoothed {
            None => (took, took / 2),
            Some((mean, deviation)) => {
                let off = mean.abs_diff(took);
                ((mean * 7 + took) / 8, (deviation * 3 + off) / 4)
            }
        });
    }

    /// Nothing came in time.
    pub fn timed_out(&mut self) {
        self.timed = None;
        self.backoff += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_out_follows_what_was_measured_and_doubles() {
        let start = Instant::now();
        let mut trip = RoundTrip::default();
        assert_eq!(trip.timeout(), TIMEOUT_FIRST);
        trip.sent(10, start);
        trip.sent(20, start); // not the one that is timed
        trip.answered(5, start + Duration::from_secs(9));
        trip.answered(10, start + Duration::from_millis(400));
        assert_eq!(trip.mean(), Duration::from_millis(400));
        assert_eq!(trip.timeout(), Duration::from_millis(1200));
        trip.timed_out();
        trip.timed_out();
        assert_eq!(trip.timeout(), Duration::from_millis(4800));
        trip.sent(30, start);
        trip.sent_again();
        trip.answered(30, start + Duration::from_secs(9));
        assert_eq!(trip.timeout(), Duration::from_millis(1200));
        for _ in 0..40 {
            trip.timed_out();
        }
        assert_eq!(trip.timeout(), TIMEOUT_MAX);
    }
}

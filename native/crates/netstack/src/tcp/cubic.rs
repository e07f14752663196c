//! How much may be under way: CUBIC (RFC 9438) with slow start.

use std::time::{Duration, Instant};

/// RFC 9438 §4.1 and §4.6.
const C: f64 = 0.4;
const BETA: f64 = 0.7;
/// Segments to begin with (RFC 6928).
const SEGMENTS_FIRST: usize = 10;

#[derive(Debug)]
pub struct Cubic {
    segment: usize,
    /// Bytes that may be under way.
    window: f64,
    threshold: f64,
    /// The window before the last loss.
    before: f64,
    /// Since when it grows, how long until it is where it was, and what Reno's would be.
    epoch: Option<(Instant, f64, f64)>,
    most: f64,
}

impl Cubic {
    pub fn new(segment: usize, most: usize) -> Cubic {
        Cubic {
            segment,
            window: (segment * SEGMENTS_FIRST) as f64,
            threshold: f64::INFINITY,
            before: 0.0,
            epoch: None,
            most: most as f64,
        }
    }

    pub fn window(&self) -> usize {
        self.window as usize
    }

    /// `bytes` arrived while the window was what held the sender up.
    pub fn acknowledged(&mut self, bytes: u64, now: Instant, round_trip: Duration) {
        let bytes = bytes as f64;
        if self.window < self.threshold {
            self.window = (self.window + bytes).min(self.most);
            return;
        }
        let segment = self.segment as f64;
        let (window, before) = (self.window, self.before.max(self.window));
        let (since, until, reno) = self.epoch.get_or_insert_with(|| {
            let until = ((before - window) / (C * segment)).cbrt();
            (now, until, window)
        });
        let ahead = now.saturating_duration_since(*since) + round_trip;
        let target = C * (ahead.as_secs_f64() - *until).powi(3) * segment + before;
        let target = target.clamp(window, 1.5 * window);
        let cubic = window + (target - window) * bytes / window;
        // RFC 9438 §4.3: never slower than Reno.
        *reno += 3.0 * (1.0 - BETA) / (1.0 + BETA) * segment * bytes / window;
        self.window = cubic.max(*reno).min(self.most);
    }

    /// Something was lost, which others noticed: once per round trip.
    pub fn lost(&mut self) {
        // RFC 9438 §4.7: leave room for who else is there.
        let room = if self.window < self.before {
            (1.0 + BETA) / 2.0
        } else {
            1.0
        };
        self.before = self.window * room;
        self.threshold = (self.window * BETA).max(2.0 * self.segment as f64);
        self.window = self.threshold;
        self.epoch = None;
    }

    /// Nothing came back at all (RFC 5681 §3.1).
    pub fn timed_out(&mut self, under_way: u64) {
        self.before = self.window;
        let half = under_way as f64 * BETA;
        self.threshold = half.max(2.0 * self.segment as f64);
        self.window = self.segment as f64;
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_falls_back_and_returns_to_where_it_was() {
        let start = Instant::now();
        let trip = Duration::from_millis(50);
        let mut cubic = Cubic::new(1000, 1_000_000);
        assert_eq!(cubic.window(), 10_000);
        cubic.acknowledged(90_000, start, trip);
        assert_eq!(cubic.window(), 100_000);
        cubic.lost();
        assert_eq!(cubic.window(), 70_000);
        let mut now = start;
        let mut at_5_s = 0;
        for round in 0..400 {
            now += trip;
            let window = cubic.window() as u64;
            cubic.acknowledged(window, now, trip);
            if round == 100 {
                at_5_s = cubic.window();
            }
        }
        assert!((95_000..150_000).contains(&at_5_s), "{at_5_s}");
        assert!(cubic.window() > 200_000);
        for _ in 0..4_000 {
            now += trip;
            cubic.acknowledged(cubic.window() as u64, now, trip);
        }
        assert_eq!(cubic.window(), 1_000_000);
        cubic.timed_out(500_000);
        assert_eq!(cubic.window(), 1000);
    }
}

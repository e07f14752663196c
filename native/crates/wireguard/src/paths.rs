//! Which way packets to a peer take: directly, or through a relay.
//!
//! A peer without a relay has one way. With one, packets take both until an answer has proven that
//! the direct way leads there and back (the replay window of the core drops the twin), then the
//! direct one, and both again when nothing comes back on it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Nothing came back directly for so long after a packet was sent: the way is in doubt. Two probes
/// fall into this time, so that traffic in one direction alone does not look like silence.
const SILENCE: Duration = Duration::from_millis(700);
/// Between probes of a way that is in use, and of one that is not known.
const PROBE_WHILE_USED: Duration = Duration::from_millis(200);
const PROBE_WHILE_UNKNOWN: Duration = Duration::from_secs(1);
/// A proof is worth so much after the last sign of life.
const PROOF_KEPT: Duration = Duration::from_secs(30);
/// Without packets for so long nobody asks.
const IDLE: Duration = Duration::from_secs(10);
/// Probes that may still be answered.
const OPEN_MAX: usize = 64;
pub const CANDIDATES_MAX: usize = 16;

/// What is known of the ways to a peer that has a relay.
#[derive(Default)]
pub struct Ways {
    /// Where it might be, beside its endpoint.
    pub candidates: Vec<SocketAddr>,
    /// Where it says that we are.
    pub seen_as: Option<SocketAddr>,
    is_proven: bool,
    last_heard: Option<Instant>,
    last_sent: Option<Instant>,
    /// Since when nothing came back.
    unanswered_since: Option<Instant>,
    last_probed: Option<Instant>,
    open: Vec<(u64, SocketAddr)>,
}

/// Why packets do not go directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    NoEndpoint,
    /// No probe was answered yet.
    Unproven,
    /// It worked and does no more.
    Silent,
}

impl Ways {
    /// None: they go directly.
    pub fn doubt(&self, now: Instant) -> Option<Doubt> {
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < PROOF_KEPT;
        if !self.is_proven || !self.last_heard.is_some_and(is_fresh) {
            return Some(Doubt::Unproven);
        }
        let is_silent = |since: Instant| now.saturating_duration_since(since) >= SILENCE;
        self.unanswered_since
            .is_some_and(is_silent)
            .then_some(Doubt::Silent)
    }

    /// A packet leaves.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.unanswered_since.get_or_insert(now);
    }

    /// An authentic packet came directly.
    pub fn heard(&mut self, now: Instant) {
        // After a silence only an answer proves that our packets arrive as well.
        if self.doubt(now) == Some(Doubt::Silent) {
            self.is_proven = false;
        }
        self.last_heard = Some(now);
        self.unanswered_since = None;
    }

    /// Where to probe now, if it is time; `next` gives numbers.
    pub fn probes(
        &mut self,
        now: Instant,
        endpoint: Option<SocketAddr>,
        mut next: impl FnMut() -> u64,
    ) -> Vec<(u64, SocketAddr)> {
        let is_within = |at: Option<Instant>, time: Duration| {
            at.is_some_and(|at| now.saturating_duration_since(at) < time)
        };
        let doubt = self.doubt(now);
        let wait = match doubt {
            None if self.unanswered_since.is_none() => return Vec::new(),
            None => PROBE_WHILE_USED,
            Some(_) => PROBE_WHILE_UNKNOWN,
        };
        if !is_within(self.last_sent, IDLE) || is_within(self.last_probed, wait) {
            return Vec::new();
        }
        self.last_probed = Some(now);
        let others = self.candidates.iter().copied();
        let others = others.filter(|&other| doubt.is_some() && Some(other) != endpoint);
        let probes: Vec<_> = endpoint
            .into_iter()
            .chain(others)
            .map(|to| (next(), to))
            .collect();
        self.open.extend(&probes);
        let surplus = self.open.len().saturating_sub(OPEN_MAX);
        self.open.drain(..surplus);
        probes
    }

    /// An answer to a probe came from where the probe went: there the peer is. False for any other.
    pub fn answered(&mut self, now: Instant, number: u64, from: SocketAddr) -> bool {
        let is_asked = self.open.contains(&(number, from));
        if is_asked {
            self.open.retain(|(open, _)| *open != number);
            self.is_proven = true;
            self.last_heard = Some(now);
            self.unanswered_since = None;
        }
        is_asked
    }
}

/// So much at once, and so much in a second.
pub struct Quota {
    left: f64,
    most: f64,
    per_second: f64,
    at: Instant,
}

impl Quota {
    pub fn new(most: f64, per_second: f64) -> Self {
        Self {
            left: most,
            most,
            per_second,
            at: Instant::now(),
        }
    }

    /// Whether so much is left; takes it.
    pub fn take(&mut self, now: Instant, much: f64) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * self.per_second).min(self.most);
        self.at = now;
        let is_there = self.left >= much;
        if is_there {
            self.left -= much;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn proven(at: Instant, endpoint: SocketAddr) -> Ways {
        let mut ways = Ways::default();
        ways.sent(at);
        let probes = ways.probes(at, Some(endpoint), || 7);
        assert_eq!(probes, [(7, endpoint)]);
        assert!(ways.answered(at, 7, endpoint));
        ways
    }

    #[test]
    fn a_way_is_direct_after_an_answer_from_where_was_asked() {
        let (now, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let mut ways = Ways::default();
        assert_eq!(ways.doubt(now), Some(Doubt::Unproven));
        ways.sent(now);
        ways.heard(now);
        assert_eq!(
            ways.doubt(now),
            Some(Doubt::Unproven),
            "they reach us, do we them?"
        );
        assert_eq!(ways.probes(now, Some(here), || 5), [(5, here)]);
        assert!(!ways.answered(now, 6, here));
        assert!(!ways.answered(now, 5, "192.0.2.2:1".parse().unwrap()));
        assert!(ways.answered(now, 5, here));
        assert_eq!(ways.doubt(now), None);
        assert!(!ways.answered(now, 5, here), "once");
    }

    #[test]
    fn silence_under_traffic_ends_it_within_a_second_and_idleness_does_not() {
        let (begin, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let mut ways = proven(begin, here);
        assert_eq!(
            ways.doubt(begin + 20_000 * MS),
            None,
            "nobody sent anything"
        );
        let cut = begin + 20_000 * MS;
        let mut asked = 0;
        for ms in 0..SILENCE.as_millis() as u32 {
            ways.sent(cut + ms * MS);
            assert_eq!(ways.doubt(cut + ms * MS), None);
            asked += ways
                .probes(cut + ms * MS, Some(here), || u64::from(ms))
                .len();
        }
        assert!(asked >= 2);
        assert_eq!(ways.doubt(cut + SILENCE), Some(Doubt::Silent));
        ways.heard(cut + 2 * SILENCE);
        assert_eq!(ways.doubt(cut + 2 * SILENCE), Some(Doubt::Unproven));
    }

    #[test]
    fn traffic_one_way_is_kept_direct_by_answers() {
        let (begin, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let mut ways = proven(begin, here);
        for ms in 1..5_000 {
            let now = begin + ms * MS;
            ways.sent(now);
            for (number, to) in ways.probes(now, Some(here), || u64::from(ms)) {
                assert!(ways.answered(now, number, to));
            }
            assert_eq!(ways.doubt(now), None);
        }
    }

    #[test]
    fn candidates_are_asked_while_the_way_is_unknown_and_nobody_when_idle() {
        let (now, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let mut ways = Ways {
            candidates: vec!["192.0.2.2:2".parse().unwrap(), here],
            ..Ways::default()
        };
        assert_eq!(
            ways.probes(now, Some(here), || 1).len(),
            0,
            "nothing was sent"
        );
        ways.sent(now);
        assert_eq!(ways.probes(now, Some(here), || 1).len(), 2);
        assert_eq!(ways.probes(now + 900 * MS, Some(here), || 1).len(), 0);
        assert_eq!(ways.probes(now + 1_000 * MS, Some(here), || 1).len(), 2);
        assert_eq!(ways.probes(now + IDLE, Some(here), || 1).len(), 0);
    }

    #[test]
    fn a_quota_is_for_each_second() {
        let mut quota = Quota::new(10.0, 5.0);
        let now = Instant::now();
        assert!(quota.take(now, 10.0));
        assert!(!quota.take(now, 1.0));
        assert!(quota.take(now + 1_000 * MS, 5.0));
        assert!(!quota.take(now + 1_000 * MS, 1.0));
    }
}

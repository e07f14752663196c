//! Which way packets to a peer take: directly, or through a relay.
//!
//! A peer without relays has one way. With them, packets take both until an answer has proven that
//! the direct way leads there and back (the replay window of the core drops the twin), then the
//! direct one, and both again when nothing comes back on it.

use crate::envelope::Id;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
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
/// Addresses that a delta may name, beside the endpoint.
pub const CANDIDATES_MAX: usize = 16;
/// Addresses that relays and its own probes told, the newest first.
const INTRODUCED_MAX: usize = 4;
/// Relays of one peer: gateways come in pairs.
pub const RELAYS_MAX: usize = 2;

/// The endpoint of a peer, and where it might be beside it.
pub type Places<'a> = (Option<SocketAddr>, &'a [SocketAddr]);

/// What is known of the ways to a peer that has a relay or is one.
#[derive(Default)]
pub struct Ways {
    introduced: Vec<SocketAddr>,
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
    /// It worked when it was used last, which is some time ago.
    Idle,
}

impl Ways {
    /// None: they go directly.
    pub fn doubt(&self, now: Instant) -> Option<Doubt> {
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < PROOF_KEPT;
        if !self.is_proven {
            return Some(Doubt::Unproven);
        }
        if self.is_silent(now) {
            return Some(Doubt::Silent);
        }
        let is_known = self.last_heard.is_some_and(is_fresh);
        (!is_known).then_some(Doubt::Idle)
    }

    /// Whether packets took it lately.
    pub fn is_used(&self, now: Instant) -> bool {
        let is_late = |since: Instant| now.saturating_duration_since(since) < IDLE;
        self.last_sent.is_some_and(is_late)
    }

    /// Whether nothing came back for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        let is_long = |since: Instant| now.saturating_duration_since(since) >= SILENCE;
        self.unanswered_since.is_some_and(is_long)
    }

    /// Somebody says that the peer is there: asks at the next turn of the timers.
    pub fn introduce(&mut self, at: SocketAddr) {
        let is_known = self.introduced.first() == Some(&at);
        self.introduced.retain(|known| *known != at);
        self.introduced.insert(0, at);
        self.introduced.truncate(INTRODUCED_MAX);
        if !is_known {
            self.last_probed = None;
        }
    }

    /// Whether to ask a relay that is in use whether it is there, at its endpoint.
    pub fn asks(&mut self, now: Instant, endpoint: SocketAddr, number: u64) -> bool {
        let is_early = |at: Instant| now.saturating_duration_since(at) < PROBE_WHILE_USED;
        if self.last_probed.is_some_and(is_early) {
            return false;
        }
        self.last_probed = Some(now);
        self.open(&[(number, endpoint)]);
        self.sent(now);
        true
    }

    fn open(&mut self, probes: &[(u64, SocketAddr)]) {
        self.open.extend(probes);
        let surplus = self.open.len().saturating_sub(OPEN_MAX);
        self.open.drain(..surplus);
    }

    /// A packet leaves, by whichever way.
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

    /// Where to probe now, if it is time: at the endpoint, and beside it while the way is in doubt;
    /// `next` gives numbers.
    pub fn probes(
        &mut self,
        now: Instant,
        (endpoint, candidates): Places,
        mut next: impl FnMut() -> u64,
    ) -> Vec<(u64, SocketAddr)> {
        let doubt = self.doubt(now);
        let wait = match doubt {
            None if self.unanswered_since.is_none() => return Vec::new(),
            None => PROBE_WHILE_USED,
            Some(_) => PROBE_WHILE_UNKNOWN,
        };
        let is_early = |at: Instant| now.saturating_duration_since(at) < wait;
        if !self.is_used(now) || self.last_probed.is_some_and(is_early) {
            return Vec::new();
        }
        self.last_probed = Some(now);
        let mut places: Vec<SocketAddr> = endpoint.into_iter().collect();
        for &other in self.introduced.iter().chain(candidates) {
            if doubt.is_some() && !places.contains(&other) {
                places.push(other);
            }
        }
        let probes: Vec<_> = places.into_iter().map(|to| (next(), to)).collect();
        self.open(&probes);
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

/// Messages to these addresses of loopback leave this machine in a TCP connection, by another part
/// of this program (mesh/carrier.ts): they say nothing to other machines.
pub fn is_carried(at: SocketAddr) -> bool {
    matches!(at.ip(), IpAddr::V4(v4) if v4.octets().starts_with(&[127, 77]))
}

/// What a relay does for the others.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// Of each node, with a burst of a quarter of it.
    pub bytes_per_second: u32,
    /// Pairs of nodes at one time.
    pub pairs_max: usize,
}

/// Of a node's bytes in a second so much may come at once.
const BURST: f64 = 0.25;

impl RelayLimits {
    pub fn quota(self) -> Quota {
        let per_second = f64::from(self.bytes_per_second);
        Quota::new(per_second * BURST, per_second)
    }
}

/// A pair that exchanged nothing for so long is none.
const PAIR_KEPT: Duration = Duration::from_secs(60);
/// Two that go on through a relay are told of each other's place so often.
const INTRODUCTIONS: Duration = Duration::from_secs(5);

/// The pairs of nodes that a relay forwards for.
#[derive(Default)]
pub struct Pairs {
    known: HashMap<(Id, Id), Pair>,
    swept: Option<Instant>,
}

struct Pair {
    used: Instant,
    introduced: Instant,
    /// What both were told.
    places: [Option<SocketAddr>; 2],
}

/// One of a pair, and where it is.
pub type Placed = (Id, Option<SocketAddr>);

impl Pairs {
    /// A message of this pair: none when there are too many pairs; true when it is time to tell
    /// both where the other is.
    pub fn admit(&mut self, now: Instant, pair: [Placed; 2], most: usize) -> Option<bool> {
        let mut pair = pair;
        pair.sort_by_key(|(id, _)| *id);
        let [(one, at_one), (other, at_other)] = pair;
        let (ends, places) = ((one, other), [at_one, at_other]);
        if let Some(pair) = self.known.get_mut(&ends) {
            pair.used = now;
            let is_old = now.saturating_duration_since(pair.introduced) >= INTRODUCTIONS;
            let is_due = is_old || pair.places != places;
            if is_due {
                (pair.introduced, pair.places) = (now, places);
            }
            return Some(is_due);
        }
        if self.known.len() >= most {
            self.sweep(now);
        }
        (self.known.len() < most).then(|| {
            let pair = Pair {
                used: now,
                introduced: now,
                places,
            };
            self.known.insert(ends, pair);
            true
        })
    }

    /// Not for each message that finds no room.
    fn sweep(&mut self, now: Instant) {
        let is_early = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(1);
        if self.swept.is_some_and(is_early) {
            return;
        }
        self.swept = Some(now);
        let is_used = |pair: &Pair| now.saturating_duration_since(pair.used) < PAIR_KEPT;
        self.known.retain(|_, pair| is_used(pair));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn proven(at: Instant, endpoint: SocketAddr) -> Ways {
        let mut ways = Ways::default();
        ways.sent(at);
        let probes = ways.probes(at, (Some(endpoint), &[]), || 7);
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
        assert_eq!(ways.probes(now, (Some(here), &[]), || 5), [(5, here)]);
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
        assert_eq!(ways.doubt(begin + 30_000 * MS), Some(Doubt::Idle));
        let cut = begin + 20_000 * MS;
        let mut asked = 0;
        for ms in 0..SILENCE.as_millis() as u32 {
            ways.sent(cut + ms * MS);
            assert_eq!(ways.doubt(cut + ms * MS), None);
            asked += ways
                .probes(cut + ms * MS, (Some(here), &[]), || u64::from(ms))
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
            for (number, to) in ways.probes(now, (Some(here), &[]), || u64::from(ms)) {
                assert!(ways.answered(now, number, to));
            }
            assert_eq!(ways.doubt(now), None);
        }
    }

    #[test]
    fn candidates_are_asked_while_the_way_is_unknown_and_nobody_when_idle() {
        let (now, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let known: Places = (Some(here), &["192.0.2.2:2".parse().unwrap(), here]);
        let mut ways = Ways::default();
        let mut asked = |at| ways.probes(at, known, || 1).len();
        assert_eq!(asked(now), 0, "nothing was sent");
        ways.sent(now);
        let mut asked = |at| ways.probes(at, known, || 1).len();
        assert_eq!(asked(now), 2);
        assert_eq!(asked(now + 900 * MS), 0);
        assert_eq!(asked(now + 1_000 * MS), 2);
        assert_eq!(asked(now + IDLE), 0);
    }

    #[test]
    fn who_was_introduced_is_asked_at_once_and_only_the_newest_are_kept() {
        let now = Instant::now();
        let place = |port: u16| SocketAddr::new([192, 0, 2, 1].into(), port);
        let mut ways = Ways::default();
        ways.sent(now);
        assert_eq!(ways.probes(now, (None, &[]), || 1), []);
        for port in 1..=9 {
            ways.introduce(place(port));
        }
        let asked = ways.probes(now, (Some(place(8)), &[]), || 1);
        let ports: Vec<u16> = asked.iter().map(|(_, to)| to.port()).collect();
        assert_eq!(ports, [8, 9, 7, 6]);
        ways.introduce(place(9));
        assert_eq!(ways.probes(now, (None, &[]), || 1), [], "nothing new");
        ways.introduce(place(5));
        assert_eq!(ways.probes(now, (None, &[]), || 1).len(), INTRODUCED_MAX);
    }

    #[test]
    fn a_relay_in_use_that_does_not_answer_is_silent() {
        let (now, here) = (Instant::now(), "192.0.2.1:1".parse().unwrap());
        let mut ways = Ways::default();
        assert!(ways.asks(now, here, 1));
        assert!(!ways.asks(now + 100 * MS, here, 2), "not so often");
        assert!(!ways.is_silent(now + 600 * MS));
        assert!(ways.is_silent(now + SILENCE));
        assert!(ways.asks(now + SILENCE, here, 3));
        assert!(ways.answered(now + SILENCE, 3, here));
        assert!(!ways.is_silent(now + 2 * SILENCE));
    }

    #[test]
    fn what_a_tcp_connection_carries_is_at_addresses_of_its_own() {
        let is_carried = |text: &str| is_carried(text.parse().unwrap());
        assert!(is_carried("127.77.0.1:1") && is_carried("127.77.255.9:1"));
        assert!(!is_carried("127.0.0.1:1") && !is_carried("[::1]:1"));
    }

    #[test]
    fn pairs_are_introduced_now_and_then_and_are_not_more_than_so_many() {
        let (now, most) = (Instant::now(), 2);
        let node = |number: u8| ([number; 8], None);
        let mut pairs = Pairs::default();
        let mut admit = |at, one, other| pairs.admit(at, [one, other], most);
        assert_eq!(admit(now, node(1), node(2)), Some(true));
        assert_eq!(admit(now, node(2), node(1)), Some(false), "the same");
        let moved = ([2; 8], Some(SocketAddr::new([192, 0, 2, 1].into(), 1)));
        assert_eq!(admit(now, node(1), moved), Some(true), "elsewhere now");
        assert_eq!(admit(now, moved, node(1)), Some(false));
        assert_eq!(admit(now, node(1), node(3)), Some(true));
        assert_eq!(admit(now, node(1), node(4)), None);
        let later = now + INTRODUCTIONS;
        assert_eq!(admit(later, node(1), moved), Some(true));
        let gone = now + PAIR_KEPT + MS;
        assert_eq!(admit(gone, node(1), node(4)), Some(true), "one is idle");
        assert_eq!(admit(gone, node(5), node(4)), None);
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

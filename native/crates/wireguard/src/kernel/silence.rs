//! For how long peers of the kernel's device have not answered. It tells only how much was sent and
//! received so far, so this is known from one look at it to the next: a silence begins at the look
//! that finds more sent and nothing received, and ends at the one that finds more received.

use super::messages::{Key, PeerState};
use std::collections::HashMap;
use std::time::Instant;

/// A keepalive, which asks for no word back: a header and a tag.
const KEEPALIVE_BYTES: u64 = 32;

/// What the last look found, of peers that something was sent to.
#[derive(Default)]
pub struct Silences(HashMap<Key, Silence>);

#[derive(Clone, Copy)]
struct Silence {
    received_bytes: u64,
    sent_bytes: u64,
    at: Instant,
    since: Option<Instant>,
}

impl Silences {
    pub fn look(&mut self, peers: &[PeerState], now: Instant) {
        let spoken_to = peers.iter().filter(|peer| peer.sent_bytes > 0);
        let found = spoken_to.map(|peer| {
            let before = self.0.get(&peer.key);
            (peer.key, Silence::after(before.copied(), peer, now))
        });
        self.0 = found.collect();
    }

    /// In milliseconds; none: nothing waits for a word.
    pub fn of(&self, key: &Key, now: Instant) -> Option<u64> {
        let silence = now.saturating_duration_since(self.0.get(key)?.since?);
        Some(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Silence {
    fn after(before: Option<Self>, peer: &PeerState, now: Instant) -> Self {
        let found = Self {
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
            at: now,
            since: None,
        };
        // One that was made anew counts from the beginning.
        let before = before.filter(|before| before.sent_bytes <= peer.sent_bytes);
        let before = before.unwrap_or(Self {
            received_bytes: 0,
            sent_bytes: 0,
            at: now,
            since: None,
        });
        if peer.received_bytes != before.received_bytes {
            return found;
        }
        let seconds = now.saturating_duration_since(before.at).as_secs();
        let interval = u64::from(peer.keepalive_s);
        // One for what came before the last look, and those of the interval.
        let keepalives = 1 + seconds.checked_div(interval).map_or(0, |kept| kept + 1);
        let asks = peer.sent_bytes - before.sent_bytes > keepalives * KEEPALIVE_BYTES;
        let since = before.since.or(asks.then_some(now));
        Self { since, ..found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_sent_without_an_answer_is_a_silence_until_something_comes() {
        // Seconds, sent, received, the keepalive's interval: milliseconds of silence.
        let cases = [
            (0, 0, 0, 0, None),
            (1, 148, 0, 0, Some(0)),
            (3, 148, 0, 0, Some(2_000)),
            (4, 296, 92, 0, None),
            (5, 296, 192, 0, None),
            (15, 328, 192, 0, None), // the kernel's own word for what came
            (16, 328, 192, 10, None),
            (46, 424, 192, 10, None), // kept alive
            (47, 552, 192, 10, Some(0)),
            (48, 552, 192, 10, Some(1_000)),
            (49, 148, 0, 0, Some(0)), // made anew
            (50, 296, 92, 0, None),
        ];
        let began = Instant::now();
        let mut silences = Silences::default();
        for (seconds, sent_bytes, received_bytes, keepalive_s, wanted) in cases {
            let now = began + Duration::from_secs(seconds);
            let peer = PeerState {
                sent_bytes,
                received_bytes,
                keepalive_s,
                ..PeerState::default()
            };
            let key = peer.key;
            silences.look(&[peer], now);
            assert_eq!(silences.of(&key, now), wanted, "after {seconds} s");
        }
    }
}

//! Who began a handshake before it was a peer here: news of a node reach the others one after the
//! other. It would begin again only after five seconds (WireGuard's REKEY_TIMEOUT), so when it is
//! told of, this side begins.

use gotatun::x25519::PublicKey;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After that it has begun again by itself.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Anybody who knows our key can be one of them; with more, the oldest is forgotten.
const KEPT_MAX: usize = 64;

#[derive(Default)]
pub struct Early(VecDeque<(PublicKey, Instant)>);

impl Early {
    pub fn note(&mut self, key: PublicKey, now: Instant) {
        self.0.retain(|(known, _)| *known != key);
        if self.0.len() == KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back((key, now));
    }

    /// What is found of them by now; those are none of them any more.
    pub fn take<T>(&mut self, now: Instant, find: impl Fn(&PublicKey) -> Option<T>) -> Vec<T> {
        let mut found = Vec::new();
        self.0.retain(|(key, at)| {
            if now.saturating_duration_since(*at) >= KEPT_FOR {
                return false;
            }
            let one = find(key);
            let is_found = one.is_some();
            found.extend(one);
            !is_found
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_are_kept_for_a_while_and_so_many() {
        let key = |number: u8| PublicKey::from([number; 32]);
        let mut early = Early::default();
        let now = Instant::now();
        let take = |early: &mut Early, number: u8, now| {
            let find = |one: &PublicKey| (*one == key(number)).then_some(());
            early.take(now, find).len()
        };
        early.note(key(1), now);
        early.note(key(1), now);
        assert_eq!(take(&mut early, 2, now), 0);
        assert_eq!(take(&mut early, 1, now), 1);
        assert_eq!(take(&mut early, 1, now), 0);
        early.note(key(1), now);
        assert_eq!(take(&mut early, 1, now + KEPT_FOR), 0);
        (0..=KEPT_MAX as u8).for_each(|number| early.note(key(number), now));
        assert_eq!(take(&mut early, 0, now), 0, "the oldest one");
        assert_eq!(take(&mut early, 1, now), 1);
        assert_eq!(take(&mut early, KEPT_MAX as u8, now), 1);
    }
}

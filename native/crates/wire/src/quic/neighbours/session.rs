//! What two programs have between them once each knows that the other is there: a key for either
//! direction, and a count of what was said, so that nothing recorded is heard twice.

use super::message::{self, Key, Nonce, Saying, SessionId};

/// Messages overtake each other between threads by no more than this.
const WINDOW: u64 = 128;

pub(super) struct Session {
    pub id: SessionId,
    sending: Key,
    receiving: Key,
    said: u64,
    heard: Heard,
}

/// Which side one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Said hello.
    First,
    Second,
}

impl Session {
    /// From the release's key and both nonces, that of the hello first.
    pub fn new(key: &Key, role: Role, first: &Nonce, second: &Nonce) -> Option<Session> {
        let master = message::derive(key, &[b"edge neighbours session", first, second])?;
        let of = |label: &[u8]| message::derive(&master, &[label]);
        let (from_first, from_second) = (of(b"first")?, of(b"second")?);
        let (sending, receiving) = match role {
            Role::First => (from_first, from_second),
            Role::Second => (from_second, from_first),
        };
        Some(Session {
            id: *of(b"id")?.first_chunk()?,
            sending,
            receiving,
            said: 0,
            heard: Heard::default(),
        })
    }

    /// The next message to the other side.
    pub fn say(&mut self, saying: &Saying) -> Option<Vec<u8>> {
        self.said += 1;
        message::say(&self.sending, &self.id, self.said, saying)
    }

    /// What a message says that came with this session's id; `None`: it is forged, or not new.
    pub fn hear(&mut self, counter: u64, message: &[u8]) -> Option<Saying> {
        if !message::is_proven(&self.receiving, message) || !self.heard.is_new(counter) {
            return None;
        }
        message::saying(message)
    }
}

/// Counts that came, in a window below the highest one (as in RFC 4303 §3.4.3).
#[derive(Default)]
struct Heard {
    highest: u64,
    /// Bit n: `highest - n` came.
    seen: u128,
}

impl Heard {
    fn is_new(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            let shifted = u32::try_from(ahead)
                .ok()
                .and_then(|by| self.seen.checked_shl(by));
            self.seen = shifted.unwrap_or(0) | 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if counter == 0 || behind >= WINDOW {
            return false;
        }
        let bit = 1u128 << behind;
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::message::Message;
    use super::*;

    fn pair(key: &Key) -> [Session; 2] {
        [Role::First, Role::Second].map(|role| Session::new(key, role, &[1; 16], &[2; 16]).unwrap())
    }

    fn counter(bytes: &[u8]) -> u64 {
        match message::read(bytes) {
            Some(Message::Saying(_, counter)) => counter,
            _ => 0,
        }
    }

    #[test]
    fn each_side_hears_the_other_once_and_never_itself() {
        let [mut first, mut second] = pair(&[3; 32]);
        assert_eq!(first.id, second.id);
        let bytes = first.say(&Saying::Bye).unwrap();
        assert_eq!(second.hear(counter(&bytes), &bytes), Some(Saying::Bye));
        assert_eq!(second.hear(counter(&bytes), &bytes), None, "replayed");
        assert_eq!(first.hear(counter(&bytes), &bytes), None, "sent back");
        let mut other = pair(&[4; 32]);
        assert_eq!(other[1].hear(counter(&bytes), &bytes), None, "another key");
    }

    #[test]
    fn what_was_overtaken_is_heard_within_the_window() {
        let [mut first, mut second] = pair(&[3; 32]);
        let said: Vec<Vec<u8>> = (0..WINDOW + 1)
            .map(|_| first.say(&Saying::Bye).unwrap())
            .collect();
        let mut hear = |bytes: &Vec<u8>| second.hear(counter(bytes), bytes).is_some();
        assert!(hear(said.last().unwrap()));
        assert!(!hear(&said[0]), "too old");
        assert!(said[1..said.len() - 1].iter().rev().all(&mut hear));
        assert!(!said.iter().any(&mut hear), "all were heard");
    }
}

//! A node behind a NAT that suddenly hears no more may have got another address there, and one that
//! is seen at another address has. Who sends to it learns that only from a packet of WireGuard, so
//! it says a word soon: a keepalive, long before the one that is due.

use super::{Message, State};
use bytes::BytesMut;
use gotatun::packet::Packet;
use std::time::{Duration, Instant};

/// After so long without a packet in the middle of a flow a word is said, and again after as long.
const QUIET: Duration = Duration::from_millis(500);
/// So many for one silence: most often the flow just ended.
const WORDS_MAX: u32 = 4;

#[derive(Default)]
pub struct Hearing {
    last: Option<Instant>,
    words: u32,
    /// It sees us at another address than before: a word at once.
    is_moved: bool,
}

impl Hearing {
    pub fn heard(&mut self, now: Instant) {
        self.last = Some(now);
        self.words = 0;
    }

    pub fn moved(&mut self) {
        self.is_moved = true;
    }

    /// Whether it is time for a word.
    pub fn wants_word(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.is_moved) {
            return true;
        }
        let Some(last) = self.last.filter(|_| self.words < WORDS_MAX) else {
            return false;
        };
        let is_due = now.saturating_duration_since(last) >= QUIET * (self.words + 1);
        if is_due {
            self.words += 1;
        }
        is_due
    }
}

impl State {
    /// A packet of this peer came directly.
    pub(super) fn heard(&mut self) {
        // Others find who is behind no NAT.
        if self.keepalive_s.is_some() {
            let hearing = self.hearing.get_or_insert_default();
            hearing.heard(Instant::now());
        }
    }

    /// A keepalive, if it is time for a word.
    pub(super) fn word(&mut self) -> Option<Message> {
        let hearing = self.hearing.as_mut().filter(|_| self.keepalive_s.is_some());
        if !hearing?.wants_word(Instant::now()) {
            return None;
        }
        let tunnel = self.tunnels.iter_mut().find(|one| one.proven.is_some())?;
        let empty = Packet::from_bytes(BytesMut::new());
        let sealed = tunnel.tunn.encapsulate_with_session(empty).ok()?;
        Some((tunnel.serial, sealed.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_gets_a_few_words_and_no_more() {
        let mut hearing = Hearing::default();
        let now = Instant::now();
        assert!(!hearing.wants_word(now), "nothing was ever heard");
        hearing.heard(now);
        let said = (0..100)
            .filter(|turn| hearing.wants_word(now + *turn * Duration::from_millis(250)))
            .collect::<Vec<_>>();
        assert_eq!(said, [2, 4, 6, 8]);
        hearing.moved();
        assert!(hearing.wants_word(now + Duration::from_secs(29)));
        assert!(!hearing.wants_word(now + Duration::from_secs(29)));
        hearing.heard(now + Duration::from_secs(30));
        assert!(hearing.wants_word(now + Duration::from_secs(31)));
    }
}

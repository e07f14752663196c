//! Whether a peer answers. Who only takes packets says nothing for up to ten seconds, as WireGuard
//! has it, and looks as one who is gone. So one that is watched is asked: a handshake is answered
//! by whoever lives, whatever program it is.

use super::{Message, State};
use gotatun::packet::WgKind;
use std::time::{Duration, Instant};

/// Packets were sent for so long, and nothing came back: it is asked.
const ASKED_AFTER: Duration = Duration::from_millis(700);
/// And again after a share of its silence: soon while an answer may have been lost on its way,
/// seldom when it is gone.
const ASKED_AGAIN_SHARE: u32 = 4;
const ASKED_AGAIN_MIN: Duration = Duration::from_millis(500);
const ASKED_AGAIN_MAX: Duration = Duration::from_secs(15);

#[derive(Default)]
pub struct Watching {
    /// The first packet to it after the last authentic one of it.
    unanswered_since: Option<Instant>,
    asked: Option<Instant>,
}

impl Watching {
    /// A packet goes to it.
    pub fn sent(&mut self) {
        self.unanswered_since.get_or_insert_with(Instant::now);
    }

    pub fn answered(&mut self) {
        self.unanswered_since = None;
        self.asked = None;
    }

    pub fn unanswered(&self, now: Instant) -> Option<Duration> {
        let since = self.unanswered_since?;
        Some(now.saturating_duration_since(since))
    }

    /// Whether it is time to ask.
    fn asks(&mut self, now: Instant) -> bool {
        let Some(silence) = self.unanswered(now) else {
            return false;
        };
        let is_due = match self.asked {
            None => silence >= ASKED_AFTER,
            Some(at) => {
                let wait = silence / ASKED_AGAIN_SHARE;
                now.saturating_duration_since(at) >= wait.clamp(ASKED_AGAIN_MIN, ASKED_AGAIN_MAX)
            }
        };
        if is_due {
            self.asked = Some(now);
        }
        is_due
    }
}

impl State {
    /// For how long packets were sent to it without a word back.
    pub(super) fn unanswered(&self) -> Option<Duration> {
        self.watching.as_ref()?.unanswered(Instant::now())
    }

    /// Something authentic came, by whichever way.
    pub(super) fn answered(&mut self) {
        if let Some(watching) = &mut self.watching {
            watching.answered();
        }
    }

    /// A handshake, if it is time to ask and none is among these messages.
    pub(super) fn make_speak(&mut self, messages: &mut Vec<Message>) {
        let is_asked = |(_, message): &Message| matches!(message, WgKind::HandshakeInit(_));
        let asks = |watching: &mut Box<Watching>| watching.asks(Instant::now());
        let is_due = self.is_watched && self.watching.as_mut().is_some_and(asks);
        if !is_due || messages.iter().any(is_asked) {
            return;
        }
        // While keys change, of those by which it is known to answer.
        let proven = self.tunnels.iter().position(|one| one.proven.is_some());
        let Some(tunnel) = self.tunnels.get_mut(proven.unwrap_or(0)) else {
            return;
        };
        // One that is on its way may be lost.
        let initiation = tunnel.tunn.format_handshake_initiation(true);
        messages.extend(initiation.map(|message| (tunnel.serial, message.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When it asks, in seconds after a packet that nobody answers.
    fn asked(has_sent: bool) -> Vec<f64> {
        let mut watching = Watching::default();
        let now = Instant::now();
        if has_sent {
            watching.unanswered_since = Some(now);
        }
        let turns = (0..240).map(|turn| Duration::from_millis(250) * turn);
        let asked = turns.filter(|&after| watching.asks(now + after));
        asked.map(|after| after.as_secs_f64()).collect()
    }

    #[test]
    fn who_is_silent_is_asked_often_at_first_and_seldom_later() {
        let at = asked(true);
        assert_eq!(at[..6], [0.75, 1.25, 1.75, 2.5, 3.5, 4.75]);
        let last = &at[at.len() - 2..];
        assert!((10.0..=15.0).contains(&(last[1] - last[0])), "{at:?}");
    }

    #[test]
    fn nobody_is_asked_to_whom_nothing_was_sent() {
        assert!(asked(false).is_empty());
    }

    #[test]
    fn an_answer_ends_a_silence_and_the_next_packet_begins_one() {
        let mut watching = Watching::default();
        watching.sent();
        let since = watching.unanswered_since.expect("it is open");
        assert!(watching.asks(since + ASKED_AFTER));
        watching.answered();
        assert_eq!(watching.unanswered(since + ASKED_AFTER), None);
        watching.sent();
        let since = watching.unanswered_since.expect("it is open again");
        watching.sent();
        assert_eq!(watching.unanswered_since, Some(since), "the first counts");
        assert!(!watching.asks(since + ASKED_AGAIN_MIN));
        assert!(watching.asks(since + ASKED_AFTER));
    }
}

//! When a client asks whether its relay still hears it, and when it has waited long enough for an
//! answer.

use std::time::{Duration, Instant};

/// Of one connection.
pub struct Watch {
    /// So long nothing came, and it asks; then again so often.
    ping: Duration,
    /// So long after the first of those questions it has ended.
    patience: Duration,
    heard: Instant,
    /// The first question since then, and the last one.
    asked: Option<(Instant, Instant)>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Ring {
    Nothing,
    Ask,
    Deaf,
}

impl Watch {
    /// One that asks after `ping`, and gives up when nothing came for `deaf`.
    pub fn new(ping: Duration, deaf: Duration, now: Instant) -> Watch {
        Watch {
            ping,
            patience: deaf.saturating_sub(ping),
            heard: now,
            asked: None,
        }
    }

    /// Something came that only the other end can have sent.
    pub fn heard(&mut self, now: Instant) {
        (self.heard, self.asked) = (now, None);
    }

    /// When it is to be looked at.
    pub fn due(&self) -> Instant {
        match self.asked {
            None => self.heard + self.ping,
            Some((first, last)) => (first + self.patience).min(last + self.ping),
        }
    }

    /// Counted from the first question, and not from the last word: a program that was stopped for
    /// a while has asked nothing.
    pub fn ring(&mut self, now: Instant) -> Ring {
        if now < self.due() {
            return Ring::Nothing;
        }
        let first = self.asked.map_or(now, |(first, _)| first);
        if self.asked.is_some() && now >= first + self.patience {
            return Ring::Deaf;
        }
        self.asked = Some((first, now));
        Ring::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_secs(3);
    const DEAF: Duration = Duration::from_secs(10);

    /// What it does at each of its times until it gives up, in milliseconds.
    fn rings(watch: &mut Watch, begin: Instant) -> Vec<u128> {
        let mut all = Vec::new();
        loop {
            let now = watch.due();
            all.push((now - begin).as_millis());
            if watch.ring(now) == Ring::Deaf {
                return all;
            }
        }
    }

    #[test]
    fn it_asks_and_asks_again_and_gives_up() {
        let begin = Instant::now();
        let mut watch = Watch::new(PING, DEAF, begin);
        assert_eq!(rings(&mut watch, begin), [3_000, 6_000, 9_000, 10_000]);
    }

    #[test]
    fn nothing_is_asked_while_something_comes() {
        let begin = Instant::now();
        let mut watch = Watch::new(PING, DEAF, begin);
        for second in 1..1_000 {
            let now = begin + Duration::from_secs(second);
            assert_eq!(watch.ring(now), Ring::Nothing);
            watch.heard(now);
        }
    }

    #[test]
    fn whoever_answers_is_asked_for_ever() {
        let begin = Instant::now();
        let mut watch = Watch::new(PING, DEAF, begin);
        for _ in 0..1_000 {
            let now = watch.due();
            assert_eq!(watch.ring(now), Ring::Ask);
            assert_eq!(watch.ring(now), Ring::Nothing);
            watch.heard(now + Duration::from_millis(20));
        }
    }

    #[test]
    fn after_a_long_stop_it_asks_first() {
        let begin = Instant::now();
        let mut watch = Watch::new(PING, DEAF, begin);
        let late = begin + 10 * DEAF;
        assert_eq!(watch.ring(late), Ring::Ask);
        assert_eq!(rings(&mut watch, late), [3_000, 6_000, 7_000]);
    }
}

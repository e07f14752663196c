//! What name servers said of addresses (`@rbl`). A rule asks here and gets an answer at once: an
//! address that is not known yet counts as not listed, and is put on the list of those to look up.
//! The program does the lookups; no request ever waits for one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many names may be known, and how many may wait for their answer.
#[derive(Clone, Copy, Debug)]
pub struct RblLimits {
    pub known: usize,
    pub pending: usize,
}

/// What was asked and answered so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RblStats {
    /// Names whose answer is known now.
    pub known: usize,
    /// Names that wait for their answer now.
    pub pending: usize,
    pub hits: u64,
    pub misses: u64,
    /// Questions that were not put because too many waited.
    pub dropped: u64,
    /// Answers forgotten before their time because the cache was full.
    pub evicted: u64,
}

/// Called when the list of names to look up begins to fill.
pub type Wake = Box<dyn Fn() + Send>;

struct Answer {
    listed: bool,
    place: (u64, u64),
}

/// The answers of all lists.
#[derive(Default)]
pub struct Rbl {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: HashMap<Arc<str>, Answer>,
    /// By the moment of their end, and a number that no two share.
    by_end: BTreeMap<(u64, u64), Arc<str>>,
    pending: HashSet<Arc<str>>,
    asked: Vec<Arc<str>>,
    wake: Option<Wake>,
    limits: Option<RblLimits>,
    numbers: u64,
    stats: RblStats,
}

const DEFAULT_LIMITS: RblLimits = RblLimits {
    known: 10_000,
    pending: 256,
};

/// The program's own: rules of all workers ask it.
pub static RBL: LazyLock<Rbl> = LazyLock::new(Rbl::default);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clock of the answers: milliseconds since the first question.
pub fn now_ms() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Rbl {
    /// Whether the name is known to be listed; asks for it when nothing is known.
    pub fn listed(&self, name: &str, now_ms: u64) -> bool {
        let mut state = self.state();
        if let Some(answer) = state.answers.get(name) {
            let (listed, place) = (answer.listed, answer.place);
            if place.0 > now_ms {
                state.stats.hits += 1;
                return listed;
            }
            state.forget(place);
        }
        state.stats.misses += 1;
        state.ask(name);
        false
    }

    /// Names to look up; each must be answered with `answer`.
    pub fn take_asked(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.state().asked)
    }

    /// The answer to a name that was taken; it holds until `end_ms`.
    pub fn answer(&self, name: &str, listed: bool, end_ms: u64) {
        let mut state = self.state();
        if !state.pending.remove(name) {
            return;
        }
        let limits = state.limits();
        while state.answers.len() >= limits.known.max(1) {
            // The one that would end first.
            let Some((&place, _)) = state.by_end.first_key_value() else {
                break;
            };
            state.forget(place);
            state.stats.evicted += 1;
        }
        state.numbers += 1;
        let place = (end_ms, state.numbers);
        let name: Arc<str> = Arc::from(name);
        state.by_end.insert(place, name.clone());
        state.answers.insert(name, Answer { listed, place });
    }

    /// Whom to wake; the lookups are the program's business.
    pub fn set_wake(&self, wake: Wake) {
        self.state().wake = Some(wake);
    }

    pub fn set_limits(&self, limits: RblLimits) {
        self.state().limits = Some(limits);
    }

    pub fn stats(&self) -> RblStats {
        let state = self.state();
        RblStats {
            known: state.answers.len(),
            pending: state.pending.len(),
            ..state.stats
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn limits(&self) -> RblLimits {
        self.limits.unwrap_or(DEFAULT_LIMITS)
    }

    fn forget(&mut self, place: (u64, u64)) {
        if let Some(name) = self.by_end.remove(&place) {
            self.answers.remove(&name);
        }
    }

    fn ask(&mut self, name: &str) {
        if self.pending.contains(name) {
            return;
        }
        // Without anyone to wake there is nobody who looks names up.
        let Some(wake) = &self.wake else { return };
        if self.pending.len() >= self.limits().pending {
            self.stats.dropped += 1;
            return;
        }
        let name: Arc<str> = Arc::from(name);
        if self.asked.is_empty() {
            wake();
        }
        self.pending.insert(name.clone());
        self.asked.push(name);
    }
}

/// The name that a list has for an address: RFC 5782 §2.1 and §2.4.
pub fn list_name(address: IpAddr, zone: &str) -> String {
    let mut name = String::with_capacity(zone.len() + 64);
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for byte in address.octets().iter().rev() {
                name.push_str(&format!("{byte}."));
            }
        }
        IpAddr::V6(address) => {
            for byte in address.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", byte & 0xf, byte >> 4));
            }
        }
    }
    name.push_str(zone);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn rbl(known: usize, pending: usize) -> (Rbl, Arc<AtomicUsize>) {
        let rbl = Rbl::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        rbl.set_wake(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        rbl.set_limits(RblLimits { known, pending });
        (rbl, woken)
    }

    #[test]
    fn the_first_question_is_answered_no_and_put_once() {
        let (rbl, woken) = rbl(10, 10);
        assert!(!rbl.listed("a", 0));
        assert!(!rbl.listed("a", 1));
        assert!(!rbl.listed("b", 1));
        assert_eq!(rbl.take_asked().len(), 2);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        rbl.answer("a", true, 100);
        rbl.answer("b", false, 100);
        assert!(rbl.listed("a", 99));
        assert!(!rbl.listed("b", 99));
        assert!(rbl.take_asked().is_empty());
        // At its end it is asked for again.
        assert!(!rbl.listed("a", 100));
        assert_eq!(rbl.take_asked().len(), 1);
        let stats = rbl.stats();
        assert_eq!(
            (stats.known, stats.pending, stats.hits, stats.misses),
            (1, 1, 2, 4)
        );
    }

    #[test]
    fn questions_and_answers_are_bounded() {
        let (rbl, _) = rbl(2, 3);
        for name in ["a", "b", "c", "d"] {
            rbl.listed(name, 0);
        }
        assert_eq!((rbl.stats().pending, rbl.stats().dropped), (3, 1));
        for (name, end_ms) in [("a", 50), ("b", 40), ("c", 60), ("never asked", 70)] {
            rbl.answer(name, true, end_ms);
        }
        assert_eq!((rbl.stats().known, rbl.stats().evicted), (2, 1));
        assert!(rbl.listed("a", 0) && rbl.listed("c", 0) && !rbl.listed("b", 0));
    }

    #[test]
    fn without_a_program_nothing_waits() {
        let rbl = Rbl::default();
        assert!(!rbl.listed("a", 0));
        assert_eq!(rbl.stats().pending, 0);
    }

    #[test]
    fn addresses_have_the_names_of_rfc_5782() -> Result<(), std::net::AddrParseError> {
        let cases = [
            ("192.0.2.99", "99.2.0.192.bad.example"),
            ("::ffff:192.0.2.99", "99.2.0.192.bad.example"),
            (
                "2001:db8:1:2:3:4:567:89ab",
                "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example",
            ),
        ];
        for (address, name) in cases {
            assert_eq!(list_name(address.parse()?, "bad.example"), name);
        }
        Ok(())
    }
}

//! Search with a large pattern, from one place where a match may begin to the next.
//!
//! An automaton that looks for all beginnings at once has a state for every mixture of unfinished
//! matches: of a pattern with hundreds of words a hostile text makes a new one at nearly every
//! byte, and building states is what costs. Tried from one beginning the pattern has few states,
//! and most tries end after a byte or two. Tries that run long, so that their sum would grow faster
//! than the text, make way for a sweep: all beginnings at once, until no match is unfinished.

use std::ops::Range;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::{pool::Pool, start, syntax};
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Hir, HirKind};

use super::byte_sets;
use super::gate::{ByteSet, contains, insert, union};
use crate::budget::{Budget, OverBudget};

/// Memory that the states of one pattern may take, in each thread that searches with it.
const CACHE_BYTES_MAX: usize = 2 << 20;
/// Bytes of tries per byte of text, on average, before there is a sweep.
const STEPS_PER_BYTE: usize = 16;
/// Steps that may be saved up for long tries.
const STEPS_SAVED_MAX: usize = 1024;
const STEPS_SAVED_PER_BYTE: usize = 16;
/// Distance between two places at which tries are compared.
const TRAIL_BYTES: usize = 16;
/// Tries that are remembered at each of them.
const TRAIL_WIDTH: usize = 4;
/// Bytes between two looks whether a sweep may end, and between two counts of work.
const SWEEP_BYTES: usize = 8;
const WORK_BYTES: usize = 4096;
/// Parts of a pattern from which on it is searched like this.
const PARTS_MIN: usize = 40;

/// What the text has before a beginning, as far as patterns can tell.
const BEFORE: [(u8, Option<u8>); 5] = [
    (1, None),
    (2, Some(b'\n')),
    (4, Some(b'\r')),
    (8, Some(b'a')),
    (16, Some(b' ')),
];

type Caches = Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>;

/// A pattern to hop with.
pub(super) struct Hops {
    dfa: DFA,
    /// By first byte: after which of `BEFORE` a match may begin with it.
    first: [u8; 256],
    /// By first byte: which bytes may come second, whatever is before them.
    second: Box<[ByteSet; 256]>,
    caches: Caches,
}

/// Where the first match begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    At(usize),
    /// There, or later.
    From(usize),
}

/// The newest first.
type Trail = [Option<LazyStateID>; TRAIL_WIDTH];

enum Ended {
    Match,
    NoMatch { steps: usize },
    Unfinished,
}

struct Search<'s> {
    dfa: &'s DFA,
    cache: &'s mut Cache,
    text: &'s [u8],
    budget: &'s mut Budget,
    work: usize,
    /// The states of failed tries at every `TRAIL_BYTES` of the text, the newest of each place: who
    /// comes to the same state there fails as well.
    trail: Vec<Trail>,
    /// States have other names after the cache was full and cleared.
    clears: usize,
}

/// Whether a pattern is large enough, and has no empty match.
pub(super) fn is_large(pattern: &str) -> bool {
    byte_sets::parse(pattern).is_some_and(|tree| {
        let least = tree.properties().minimum_len();
        least.is_some_and(|least| least > 0) && parts(&tree) >= PARTS_MIN
    })
}

fn parts(tree: &Hir) -> usize {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Capture(group) => parts(&group.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().map(parts).sum(),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            parts(&repetition.sub).saturating_mul(times as usize)
        }
    }
}

impl Hops {
    /// None for a pattern that cannot be searched like this.
    pub(super) fn build(pattern: &str, program_bytes_max: usize) -> Option<Self> {
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .dot_matches_new_line(true)
            .multi_line(true);
        let program = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(program_bytes_max))
            .which_captures(WhichCaptures::None);
        let config = Config::new()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE_BYTES_MAX)
            .skip_cache_capacity_check(true);
        let dfa = DFA::builder()
            .syntax(syntax)
            .thompson(program)
            .configure(config)
            .build(pattern)
            .ok()?;
        let mut cache = dfa.create_cache();
        let mut first = [0; 256];
        let mut second = Box::new([[0; 4]; 256]);
        for (bit, before) in BEFORE {
            for ((byte, set), next) in (0..=u8::MAX).zip(&mut first).zip(second.iter_mut()) {
                let began = begin(&dfa, &mut cache, (Anchored::Yes, before))?;
                let after = dfa.next_state(&mut cache, began, byte).ok()?;
                if !after.is_dead() {
                    *set |= bit;
                    *next = union(next, &followers((&dfa, &mut cache), after)?);
                }
            }
        }
        let searched = dfa.clone();
        let caches = Pool::new(Box::new(move || searched.create_cache()) as Box<_>);
        Some(Self {
            dfa,
            first,
            second,
            caches,
        })
    }

    /// Whether a match may begin here, by its first two bytes and the one before.
    fn may_begin(&self, text: &[u8], at: usize) -> bool {
        let byte = |at: usize| text.get(at).copied();
        let Some(first) = byte(at) else { return false };
        let before = kind(at.checked_sub(1).and_then(byte));
        let kinds = self.first.get(usize::from(first)).copied().unwrap_or(0);
        kinds & before != 0
            && byte(at + 1).is_none_or(|next| {
                let second = self.second.get(usize::from(first));
                second.is_some_and(|set| contains(set, next))
            })
    }

    /// The first match of at least one byte.
    pub(super) fn find(
        &self,
        text: &[u8],
        budget: &mut Budget,
    ) -> Result<Option<Found>, OverBudget> {
        // Most texts are short and have no place to begin at: they need no automaton at all.
        let near = text.len().min(WORK_BYTES);
        let mut at = (0..near)
            .find(|at| self.may_begin(text, *at))
            .unwrap_or(near);
        if at == text.len() {
            return Ok(None);
        }
        let mut cache = self.caches.get();
        let mut search = self.search(&mut cache, text, budget);
        let saved_max = STEPS_SAVED_MAX + text.len() * STEPS_SAVED_PER_BYTE;
        let mut saved = saved_max;
        while at < text.len() {
            search.worked(1)?;
            if !self.may_begin(text, at) {
                at += 1;
                saved += STEPS_PER_BYTE;
                continue;
            }
            saved = saved.min(saved_max);
            match search.attempt(at, saved)? {
                Ended::Match => return Ok(Some(Found::At(at))),
                Ended::NoMatch { steps } => {
                    at += 1;
                    saved = saved + STEPS_PER_BYTE - steps.min(saved);
                }
                Ended::Unfinished => {
                    let (ended, next) = search.sweep(at)?;
                    if matches!(ended, Ended::Match) {
                        return Ok(Some(Found::From(at)));
                    }
                    at = next;
                    saved = STEPS_SAVED_MAX;
                    search.trail.clear();
                }
            }
        }
        Ok(None)
    }

    /// The match that begins here, as a backtracking engine would choose it.
    pub(super) fn match_at(
        &self,
        (text, at): (&[u8], usize),
        budget: &mut Budget,
    ) -> Result<Option<Range<usize>>, OverBudget> {
        let mut cache = self.caches.get();
        let mut search = self.search(&mut cache, text, budget);
        let end = search.end_of(at)?;
        Ok(end.map(|end| at..end))
    }

    fn search<'s>(
        &'s self,
        cache: &'s mut Cache,
        text: &'s [u8],
        budget: &'s mut Budget,
    ) -> Search<'s> {
        Search {
            dfa: &self.dfa,
            cache,
            text,
            budget,
            work: 0,
            trail: Vec::new(),
            clears: 0,
        }
    }
}

/// None never happens: such an automaton fails only at bytes and limits that this one has not.
fn begin(
    dfa: &DFA,
    cache: &mut Cache,
    (anchored, before): (Anchored, Option<u8>),
) -> Option<LazyStateID> {
    let config = start::Config::new().anchored(anchored).look_behind(before);
    dfa.start_state(cache, &config).ok()
}

/// The bytes after which the automaton goes on from a state, or has a match.
fn followers((dfa, cache): (&DFA, &mut Cache), state: LazyStateID) -> Option<ByteSet> {
    let classes = dfa.byte_classes();
    let mut known = [None; 256];
    let mut set = ByteSet::default();
    for byte in 0..=u8::MAX {
        let known = known.get_mut(usize::from(classes.get(byte)))?;
        let goes_on = match *known {
            Some(goes_on) => goes_on,
            None => !dfa.next_state(cache, state, byte).ok()?.is_dead(),
        };
        *known = Some(goes_on);
        if goes_on {
            insert(&mut set, byte);
        }
    }
    Some(set)
}

fn kind(before: Option<u8>) -> u8 {
    match before {
        None => 1,
        Some(b'\n') => 2,
        Some(b'\r') => 4,
        Some(byte) if byte.is_ascii_alphanumeric() || byte == b'_' => 8,
        Some(_) => 16,
    }
}

impl Search<'_> {
    fn before(&self, at: usize) -> Option<u8> {
        self.text.get(at.checked_sub(1)?).copied()
    }

    fn worked(&mut self, bytes: usize) -> Result<(), OverBudget> {
        self.work += bytes;
        if self.work < WORK_BYTES {
            return Ok(());
        }
        self.budget.spend(std::mem::take(&mut self.work))
    }

    fn begin(&mut self, anchored: Anchored, at: usize) -> Option<LazyStateID> {
        let before = self.before(at);
        begin(self.dfa, self.cache, (anchored, before))
    }

    /// Whether a match begins here, as far as so many bytes tell.
    fn attempt(&mut self, at: usize, steps_max: usize) -> Result<Ended, OverBudget> {
        let Some(mut state) = self.begin(Anchored::Yes, at) else {
            return Ok(Ended::Unfinished);
        };
        let text = self.text.get(at..).unwrap_or_default();
        for (step, byte) in text.iter().enumerate() {
            let Ok(next) = self.dfa.next_state(self.cache, state, *byte) else {
                return Ok(Ended::Unfinished);
            };
            state = next;
            if state.is_tagged() {
                if state.is_match() {
                    return Ok(Ended::Match);
                }
                if state.is_dead() {
                    self.worked(step)?;
                    return Ok(Ended::NoMatch { steps: step });
                }
            }
            if (at + step).is_multiple_of(TRAIL_BYTES) && step > 0 {
                if step >= steps_max {
                    self.worked(step)?;
                    return Ok(Ended::Unfinished);
                }
                if self.has_failed(state, at + step) {
                    self.worked(step)?;
                    return Ok(Ended::NoMatch { steps: step });
                }
            }
        }
        self.worked(text.len())?;
        Ok(self.at_end(state, text.len()))
    }

    /// Whether an earlier try was in this state at this place; if not, this one will have been.
    fn has_failed(&mut self, state: LazyStateID, at: usize) -> bool {
        if self.clears != self.cache.clear_count() {
            self.clears = self.cache.clear_count();
            self.trail.clear();
        }
        let place = at / TRAIL_BYTES;
        if self.trail.len() <= place {
            self.trail.resize(place + 1, Trail::default());
        }
        let Some(trail) = self.trail.get_mut(place) else {
            return false;
        };
        let failed = trail.contains(&Some(state));
        if !failed {
            trail.rotate_right(1);
            let [newest, ..] = trail;
            *newest = Some(state);
        }
        failed
    }

    fn at_end(&mut self, state: LazyStateID, steps: usize) -> Ended {
        match self.dfa.next_eoi_state(self.cache, state) {
            Ok(last) if last.is_match() => Ended::Match,
            Ok(_) => Ended::NoMatch { steps },
            Err(_) => Ended::Unfinished,
        }
    }

    /// Whether a match begins here or later; ends where none is unfinished, which it tells.
    fn sweep(&mut self, from: usize) -> Result<(Ended, usize), OverBudget> {
        let no_match = Ended::NoMatch { steps: 0 };
        let end = self.text.len();
        let Some(mut state) = self.begin(Anchored::No, from) else {
            return Ok((Ended::Match, end));
        };
        for at in from..end {
            let byte = self.text.get(at).copied().unwrap_or_default();
            let Ok(next) = self.dfa.next_state(self.cache, state, byte) else {
                return Ok((Ended::Match, end));
            };
            state = next;
            if state.is_match() {
                return Ok((Ended::Match, at));
            }
            if at.is_multiple_of(SWEEP_BYTES) {
                self.worked(SWEEP_BYTES)?;
                if self.begin(Anchored::No, at + 1) == Some(state) {
                    return Ok((no_match, at + 1));
                }
            }
        }
        match self.at_end(state, 0) {
            Ended::NoMatch { .. } => Ok((no_match, end)),
            _ => Ok((Ended::Match, end)),
        }
    }

    fn end_of(&mut self, at: usize) -> Result<Option<usize>, OverBudget> {
        let mut end = None;
        let Some(mut state) = self.begin(Anchored::Yes, at) else {
            return Ok(None);
        };
        for place in at..self.text.len() {
            let byte = self.text.get(place).copied().unwrap_or_default();
            let Ok(next) = self.dfa.next_state(self.cache, state, byte) else {
                return Ok(None);
            };
            state = next;
            if state.is_match() {
                end = Some(place);
            } else if state.is_dead() {
                return Ok(end);
            }
            self.worked(1)?;
        }
        if matches!(self.at_end(state, 0), Ended::Match) {
            end = Some(self.text.len());
        }
        Ok(end)
    }
}

#[cfg(test)]
#[path = "hop_tests.rs"]
mod tests;

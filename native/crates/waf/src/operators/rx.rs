//! `@rx`.

use std::sync::OnceLock;

use super::byte_sets::{self, Analysis};
use super::hop::{self, Found, Hops};
use super::{Captures, Compiled, Factors, Gate, Matcher, pcre};
use crate::budget::{Budget, OverBudget};

/// TX:0 to TX:9.
const GROUPS_MAX: usize = 10;
/// Memory one compiled pattern may take; the regex crate's default is 10 MiB.
const PROGRAM_BYTES_MAX: usize = 32 << 20;
/// Steps that one match with look-around may take before it is given up.
const BACKTRACK_MAX: usize = 200_000;

/// `@rx ^/admin`: somewhere in the text, in byte mode, `.` matches newlines, `^` and `$` match at
/// lines (PCRE_DOTALL|PCRE_MULTILINE). Captures groups 0–9.
pub(super) fn rx(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    Ok(Box::new(Pattern::read(argument)?))
}

/// `@rxGlobal (\w)=`: as `@rx`, but TX:0–9 take the groups of all finds, one find after the other.
pub(super) fn rx_global(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    Ok(Box::new(Global(Pattern::read(argument)?)))
}

struct Global(Pattern);

impl Matcher for Global {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        let Self(pattern) = self;
        match captures {
            Some(captures) if pattern.matches(text, None) => {
                pattern.all_groups(text, captures);
                true
            }
            _ => pattern.matches(text, None),
        }
    }

    fn gate(&self) -> Gate {
        self.0.gate()
    }

    fn ready(&self) -> Result<(), String> {
        self.0.ready()
    }
}

/// A pattern with its gate, and its engine once a text got past the gate.
pub(super) struct Pattern {
    rewritten: pcre::Rewritten,
    engine: OnceLock<Engine>,
    analysis: Analysis,
}

enum Engine {
    /// Linear time; all of CRS 4.
    Linear(regex::bytes::Regex),
    /// The same of large patterns.
    Hopping(Box<Large>),
    /// Look-around, back-references, possessive quantifiers; bounded by `BACKTRACK_MAX`.
    Backtracking(fancy_regex::Regex),
    /// Does not compile, which whoever asked `ready` was told.
    Broken(String),
}

/// A pattern to hop with. Groups and further finds are left to the first engine, which takes
/// hundreds of KiB, and which few patterns ever need.
struct Large {
    hops: Hops,
    groups: usize,
    first: OnceLock<Option<regex::bytes::Regex>>,
}

fn linear(pattern: &str) -> Option<regex::bytes::Regex> {
    let mut builder = regex::bytes::RegexBuilder::new(pattern);
    builder
        .unicode(false)
        .dot_matches_new_line(true)
        .multi_line(true)
        .size_limit(PROGRAM_BYTES_MAX);
    builder.build().ok()
}

impl Engine {
    fn build(rewritten: &pcre::Rewritten) -> Self {
        if !rewritten.possessive
            && let Some(regex) = linear(&rewritten.pattern)
        {
            return match hops(rewritten) {
                Some(hops) => Self::Hopping(Box::new(Large {
                    hops,
                    groups: regex.captures_len(),
                    first: OnceLock::new(),
                })),
                None => Self::Linear(regex),
            };
        }
        let regex = fancy_regex::RegexBuilder::new(&rewritten.pattern)
            .bytes_mode(fancy_regex::BytesMode::Ascii)
            .dot_matches_new_line(true)
            .multi_line(true)
            .delegate_size_limit(PROGRAM_BYTES_MAX)
            .backtrack_limit(BACKTRACK_MAX)
            .build();
        match regex {
            Ok(regex) => Self::Backtracking(regex),
            Err(error) => Self::Broken(format!("the pattern does not compile: {error}")),
        }
    }
}

impl Pattern {
    /// Compiles a pattern in PCRE's syntax, given as bytes.
    pub(super) fn compile(pattern: &[u8]) -> Result<Self, String> {
        let read = Self::read(pattern)?;
        read.ready()?;
        Ok(read)
    }

    /// Reads a pattern for its gate; the engine, which costs most, is built when it is needed.
    fn read(pattern: &[u8]) -> Result<Self, String> {
        let rewritten = pcre::rewrite(pattern)?;
        // What does not parse in the linear dialect has an open gate.
        let analysis = if rewritten.possessive {
            Analysis::default()
        } else {
            byte_sets::analyse(&rewritten.pattern)
        };
        Ok(Self {
            rewritten,
            engine: OnceLock::new(),
            analysis,
        })
    }

    fn engine(&self) -> &Engine {
        self.engine.get_or_init(|| Engine::build(&self.rewritten))
    }

    /// Whether the pattern needs no backtracking.
    #[cfg(test)]
    pub(super) fn is_linear(&self) -> bool {
        matches!(self.engine(), Engine::Linear(_) | Engine::Hopping(_))
    }

    /// Of the linear patterns; built anew for a large one when it is first asked for.
    fn first_engine<'a>(&'a self, engine: &'a Engine) -> Option<&'a regex::bytes::Regex> {
        match engine {
            Engine::Linear(regex) => Some(regex),
            Engine::Hopping(large) => large
                .first
                .get_or_init(|| linear(&self.rewritten.pattern))
                .as_ref(),
            Engine::Backtracking(_) | Engine::Broken(_) => None,
        }
    }

    /// The first match at or after `from`; look-behind sees the text before it.
    pub(super) fn find_from(&self, text: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
        match self.engine() {
            engine @ (Engine::Linear(_) | Engine::Hopping(_)) => {
                let regex = self.first_engine(engine)?;
                regex.find_at(text, from).map(|found| found.range())
            }
            Engine::Backtracking(regex) => {
                let found = regex.find_from_pos(text, from).ok().flatten()?;
                Some(found.start()..found.end())
            }
            Engine::Broken(_) => None,
        }
    }
}

impl Pattern {
    /// The groups of find after find. As in ModSecurity, a find begins behind as many groups as
    /// were set so far, so those of a find with unset groups are partly written over.
    fn all_groups(&self, text: &[u8], captures: &mut Captures) {
        let mut set = 0;
        let mut add = |groups: &mut dyn Iterator<Item = Option<&[u8]>>| {
            let first = set;
            for (at, group) in groups.enumerate() {
                let Some(group) = group else { continue };
                set += 1;
                if first + at < GROUPS_MAX {
                    captures.resize(captures.len().max(first + at + 1), None);
                    if let Some(place) = captures.get_mut(first + at) {
                        *place = Some(group.to_vec());
                    }
                }
            }
            set < GROUPS_MAX
        };
        match self.engine() {
            engine @ (Engine::Linear(_) | Engine::Hopping(_)) => {
                let Some(regex) = self.first_engine(engine) else {
                    return;
                };
                let mut finds = regex.captures_iter(text);
                while finds.next().is_some_and(|groups| {
                    add(&mut groups.iter().map(|group| group.map(|one| one.as_bytes())))
                }) {}
            }
            Engine::Backtracking(regex) => {
                let mut finds = regex.captures_iter(text);
                while let Some(Ok(groups)) = finds.next() {
                    if !add(&mut groups.iter().map(|group| group.map(|one| one.as_bytes()))) {
                        break;
                    }
                }
            }
            Engine::Broken(_) => {}
        }
    }

    /// PCRE's `^` does not hold after a newline that ends the text, the regex crate's does: whether
    /// the only match is such a one.
    fn matches_only_after_the_end(&self, text: &[u8], regex: &regex::bytes::Regex) -> bool {
        self.analysis.empty_only_at_line_start
            && text.last() == Some(&b'\n')
            && regex
                .find(text)
                .is_some_and(|found| found.start() == text.len())
    }
}

impl Pattern {
    fn search(
        &self,
        text: &[u8],
        captures: Option<&mut Captures>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        let engine = self.engine();
        match engine {
            Engine::Linear(regex) => {
                let only_after = self.matches_only_after_the_end(text, regex);
                let matches = !only_after && regex.is_match(text);
                // Groups cost more than the answer, and nearly every answer is no.
                if let Some(captures) = captures.filter(|_| matches) {
                    groups((regex, text, 0), captures);
                }
                Ok(matches)
            }
            Engine::Hopping(large) => {
                let Some(found) = large.hops.find(text, budget)? else {
                    return Ok(false);
                };
                let Some(captures) = captures else {
                    return Ok(true);
                };
                let whole = match found {
                    Found::At(at) if large.groups == 1 => {
                        large.hops.match_at((text, at), budget)?
                    }
                    _ => None,
                };
                let (Found::At(from) | Found::From(from)) = found;
                match whole {
                    Some(whole) => captures.push(text.get(whole).map(<[u8]>::to_vec)),
                    None => {
                        if let Some(regex) = self.first_engine(engine) {
                            groups((regex, text, from), captures);
                        }
                    }
                }
                Ok(true)
            }
            Engine::Backtracking(regex) => {
                let Some(captures) = captures else {
                    return Ok(given_up_is_match(regex.is_match(text)));
                };
                match regex.captures(text) {
                    Ok(Some(groups)) => {
                        let texts = groups
                            .iter()
                            .map(|group| group.map(|group| group.as_bytes()));
                        captures.extend(texts.take(GROUPS_MAX).map(owned));
                        Ok(true)
                    }
                    Ok(None) => Ok(false),
                    Err(error) => Ok(given_up_is_match(Err(error))),
                }
            }
            Engine::Broken(_) => Ok(true),
        }
    }
}

/// The groups of the first match at or after a place.
fn groups((regex, text, from): (&regex::bytes::Regex, &[u8], usize), captures: &mut Captures) {
    let Some(groups) = regex.captures_at(text, from) else {
        return;
    };
    let texts = groups
        .iter()
        .map(|group| group.map(|group| group.as_bytes()));
    captures.extend(texts.take(GROUPS_MAX).map(owned));
}

/// The quicker search for a pattern that is large, and none of whose matches are empty.
fn hops(rewritten: &pcre::Rewritten) -> Option<Hops> {
    if !hop::is_large(&rewritten.pattern) {
        return None;
    }
    Hops::build(&rewritten.pattern, PROGRAM_BYTES_MAX)
}

impl Matcher for Pattern {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        // Without a bound there is always an answer.
        self.search(text, captures, &mut Budget::unlimited())
            .unwrap_or(true)
    }

    fn matches_within(
        &self,
        text: &[u8],
        captures: Option<&mut Captures>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        self.search(text, captures, budget)
    }

    fn gate(&self) -> Gate {
        self.analysis.gate.clone()
    }

    fn factors(&self) -> Factors {
        self.analysis.factors.clone()
    }

    fn ready(&self) -> Result<(), String> {
        match self.engine() {
            Engine::Broken(reason) => Err(reason.clone()),
            _ => Ok(()),
        }
    }
}

/// A text made to exhaust the engine counts as a match: a WAF that gives up must not let it pass.
/// (ModSecurity says no match and sets MSC_PCRE_LIMITS_EXCEEDED.)
fn given_up_is_match(outcome: fancy_regex::Result<bool>) -> bool {
    outcome.unwrap_or(true)
}

fn owned(group: Option<&[u8]>) -> Option<Vec<u8>> {
    group.map(<[u8]>::to_vec)
}

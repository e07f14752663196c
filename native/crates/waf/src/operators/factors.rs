//! What a match must contain: literal texts, read off a pattern's syntax tree. The sieve looks for
//! the literals of all operators at once, and an operator runs only when one of its own was found.
//!
//! A literal is looked for in one of two views of a text, both without ASCII case: the text itself,
//! or its letters and digits alone. The second is a homomorphism (it drops bytes one by one), so
//! what a pattern matches keeps its literals under it: `union\s+select` has `unionselect`, and
//! `c["'\\]*a["'\\]*t` has `cat`.
//!
//! Of texts without the bytes that only code has, more is known: what needs such a byte cannot
//! match there, so that `c(?:\$[a-z]*)?at` has `cat`. They have literals of their own.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

/// How a text is read while a literal is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum View {
    /// ASCII letters in lower case.
    Folded,
    /// The same, without all bytes that are no ASCII letters or digits.
    Letters,
}

/// A literal that a match may contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor {
    pub view: View,
    /// In lower case, at least `FACTOR_BYTES_MIN` bytes.
    pub text: Vec<u8>,
}

/// What matches contain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Factors {
    /// Any match contains one of these; none: nothing is known.
    pub any: Option<Vec<Factor>>,
    /// The same of a match in a text without bytes of code.
    pub prose: Option<Vec<Factor>>,
}

/// Bytes that prose, names, numbers and paths do not have.
pub fn is_code(byte: u8) -> bool {
    let control = byte < b' ' && !b"\t\n\r".contains(&byte);
    control || byte == 0x7f || b"$`\\<>{}|^~[]".contains(&byte)
}

/// Shortest literal that is worth looking for.
pub const FACTOR_BYTES_MIN: usize = 2;
/// Longest literal that is kept; a part of a required literal is required as well.
const FACTOR_BYTES_MAX: usize = 16;
/// Strings that one part of a pattern may stand for.
const STRINGS_MAX: usize = 512;
/// Members of a class that are tried one by one.
const CLASS_MAX: usize = 16;
/// Above this chance of being found at a place of benign text, looking for literals does not pay.
const CHANCE_MAX: f64 = 0.02;

type Strings = BTreeSet<Vec<u8>>;
type Required = BTreeSet<Factor>;

/// What is known of one part of a pattern.
struct Part {
    /// Everything that the part can match, under both views, when that is a small set; empty when
    /// it cannot match at all.
    exact: [Option<Strings>; 2],
    /// Any match of the part contains one of these.
    required: Option<Required>,
}

/// The texts that literals are derived for.
#[derive(Clone, Copy, PartialEq)]
enum Texts {
    Any,
    Prose,
}

impl Texts {
    fn may_have(self, bytes: &[u8]) -> bool {
        self == Self::Any || !bytes.iter().any(|byte| is_code(*byte))
    }
}

const VIEWS: [View; 2] = [View::Folded, View::Letters];

/// The literals of a pattern.
pub fn of_pattern(tree: &Hir) -> Factors {
    let of = |texts: Texts| {
        let required = best_of(read(tree, texts))?;
        (chance(&required) <= CHANCE_MAX).then(|| required.into_iter().collect())
    };
    Factors {
        any: of(Texts::Any),
        prose: of(Texts::Prose),
    }
}

/// The literals of an operator that looks for one of these phrases, in any case.
pub fn of_phrases<'a>(phrases: impl Iterator<Item = &'a [u8]> + Clone) -> Factors {
    let of = |texts: Texts| {
        let mut all = Required::new();
        for phrase in phrases.clone().filter(|phrase| texts.may_have(phrase)) {
            let exact = VIEWS.map(|view| Some(Strings::from([seen(phrase, view)])));
            let required = None;
            all.extend(best_of(Part { exact, required })?);
        }
        Some(all.into_iter().collect())
    };
    Factors {
        any: of(Texts::Any),
        prose: of(Texts::Prose),
    }
}

/// A text as a view shows it.
pub fn seen(text: &[u8], view: View) -> Vec<u8> {
    let kept = text
        .iter()
        .filter(|byte| view == View::Folded || byte.is_ascii_alphanumeric());
    kept.map(u8::to_ascii_lowercase).collect()
}

fn read(tree: &Hir, texts: Texts) -> Part {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => exactly(|_| Some(Strings::from([Vec::new()]))),
        HirKind::Literal(literal) if !texts.may_have(&literal.0) => {
            exactly(|_| Some(Strings::new()))
        }
        HirKind::Literal(literal) => exactly(|view| Some(Strings::from([seen(&literal.0, view)]))),
        HirKind::Class(class) => {
            let bytes = class_bytes(class).map(|mut bytes| {
                bytes.retain(|byte| texts.may_have(&[*byte]));
                bytes
            });
            exactly(|view| {
                let strings = bytes.as_ref()?.iter().map(|byte| seen(&[*byte], view));
                let strings: Strings = strings.collect();
                (strings.len() <= CLASS_MAX).then_some(strings)
            })
        }
        HirKind::Capture(group) => read(&group.sub, texts),
        HirKind::Repetition(repetition) => repeat(repetition, texts),
        HirKind::Concat(parts) => concat(parts, texts),
        HirKind::Alternation(branches) => either(branches, texts),
    }
}

fn exactly(strings: impl Fn(View) -> Option<Strings>) -> Part {
    Part {
        exact: VIEWS.map(strings),
        required: None,
    }
}

/// The bytes of a class; none for characters beyond ASCII.
fn class_bytes(class: &Class) -> Option<Vec<u8>> {
    match class {
        Class::Bytes(bytes) => Some(
            bytes
                .ranges()
                .iter()
                .flat_map(|range| range.start()..=range.end())
                .collect(),
        ),
        Class::Unicode(characters) => characters
            .ranges()
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .take(usize::from(u8::MAX))
            .map(|character| u8::try_from(character).ok().filter(u8::is_ascii))
            .collect(),
    }
}

fn repeat(repetition: &Repetition, texts: Texts) -> Part {
    let part = read(&repetition.sub, texts);
    let least = repetition.min;
    let exact = [0, 1].map(|view| {
        let strings = part.exact.get(view)?.as_ref()?;
        let empty = Strings::from([Vec::new()]);
        if *strings == empty || (strings.is_empty() && least == 0) {
            return Some(empty);
        }
        if strings.is_empty() {
            return Some(Strings::new());
        }
        match (least, repetition.max) {
            (0, Some(1)) => Some(strings.union(&empty).cloned().collect()),
            (1, Some(1)) => Some(strings.clone()),
            (2..=4, Some(most)) if most == least => {
                (0..least).try_fold(empty, |all, _| cross(&all, strings))
            }
            _ => None,
        }
    });
    let required = if least == 0 { None } else { best_of(part) };
    Part { exact, required }
}

/// Strings that grow while exact parts follow each other; where they cannot grow any more, what
/// was gathered is one candidate for what a match must contain.
fn concat(parts: &[Hir], texts: Texts) -> Part {
    let parts: Vec<Part> = parts.iter().map(|part| read(part, texts)).collect();
    let impossible = |strings: &Option<Strings>| strings.as_ref().is_some_and(Strings::is_empty);
    if parts.iter().any(|part| part.exact.iter().any(impossible)) {
        return exactly(|_| Some(Strings::new()));
    }
    let mut required: Option<Required> = None;
    let exact = [0, 1].map(|index| {
        let view = VIEWS.get(index).copied()?;
        let mut whole = true;
        let mut strings = Strings::from([Vec::new()]);
        for part in &parts {
            let next = part.exact.get(index).and_then(Option::as_ref);
            if let Some(next) = next
                && let Some(longer) = cross(&strings, next)
            {
                strings = longer;
                continue;
            }
            whole = false;
            keep_better(&mut required, as_required(&strings, view));
            strings = next.cloned().unwrap_or_else(|| [Vec::new()].into());
        }
        if !whole {
            keep_better(&mut required, as_required(&strings, view));
        }
        whole.then_some(strings)
    });
    for part in parts {
        keep_better(&mut required, part.required);
    }
    Part { exact, required }
}

fn either(branches: &[Hir], texts: Texts) -> Part {
    let parts: Vec<Part> = branches.iter().map(|branch| read(branch, texts)).collect();
    let exact = [0, 1].map(|index| {
        let mut all = Strings::new();
        for part in &parts {
            all.extend(part.exact.get(index)?.as_ref()?.iter().cloned());
        }
        (all.len() <= STRINGS_MAX).then_some(all)
    });
    let mut required = Some(Required::new());
    for part in parts {
        let best = best_of(part);
        required = required.zip(best).map(|(mut all, one)| {
            all.extend(one);
            all
        });
    }
    Part { exact, required }
}

/// Every string of the one before every string of the other; none when they are too many or too
/// long.
fn cross(left: &Strings, right: &Strings) -> Option<Strings> {
    if left.len() * right.len() > STRINGS_MAX {
        return None;
    }
    let mut all = Strings::new();
    for start in left {
        for end in right {
            let text = [start.as_slice(), end].concat();
            if text.len() > FACTOR_BYTES_MAX {
                return None;
            }
            all.insert(text);
        }
    }
    Some(all)
}

/// The best of what is known of a part.
fn best_of(part: Part) -> Option<Required> {
    let mut best = part.required;
    for (strings, view) in part.exact.iter().zip(VIEWS) {
        if let Some(strings) = strings {
            keep_better(&mut best, as_required(strings, view));
        }
    }
    best
}

fn as_required(strings: &Strings, view: View) -> Option<Required> {
    let factor = |text: &Vec<u8>| {
        let text = text
            .iter()
            .copied()
            .take(FACTOR_BYTES_MAX)
            .collect::<Vec<u8>>();
        (text.len() >= FACTOR_BYTES_MIN).then_some(Factor { view, text })
    };
    strings.iter().map(factor).collect()
}

fn keep_better(best: &mut Option<Required>, other: Option<Required>) {
    let Some(other) = other else { return };
    if best
        .as_ref()
        .is_none_or(|best| chance(&other) < chance(best))
    {
        *best = Some(other);
    }
}

fn chance(factors: &Required) -> f64 {
    let each = factors.iter();
    each.map(|factor| {
        factor
            .text
            .iter()
            .map(|byte| frequency(*byte))
            .product::<f64>()
    })
    .sum()
}

/// How often a byte occurs in benign text, roughly.
pub fn frequency(byte: u8) -> f64 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 0.08,
        b'h' | b'l' | b'd' | b'c' | b'u' | b'm' | b' ' => 0.045,
        b'a'..=b'z' | b'0'..=b'9' => 0.03,
        b'.' | b'/' | b'-' | b'_' | b',' | b'=' | b':' => 0.015,
        _ => 0.004,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn factors(pattern: &str) -> Option<Vec<(View, String)>> {
        let tree = regex_syntax::ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .build()
            .parse(pattern)
            .unwrap();
        let found = of_pattern(&tree).any?;
        let text = |factor: Factor| (factor.view, String::from_utf8(factor.text).unwrap());
        Some(found.into_iter().map(text).collect())
    }

    fn folded(texts: &[&str]) -> Option<Vec<(View, String)>> {
        Some(
            texts
                .iter()
                .map(|one| (View::Folded, (*one).to_owned()))
                .collect(),
        )
    }

    fn letters(texts: &[&str]) -> Option<Vec<(View, String)>> {
        Some(
            texts
                .iter()
                .map(|one| (View::Letters, (*one).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_match_must_contain_one_of_the_literals() {
        for (pattern, expected) in [
            (r"(?i)union\s+select", letters(&["unionselect"])),
            (r#"c["'\\]*u["'\\]*r["'\\]*l"#, letters(&["curl"])),
            (r"<script|javascript:", folded(&["<script", "javascript:"])),
            (r"\bfoo[0-9]+bar(?:baz)?", folded(&["foo"])),
            (r"(?:sleep|delay)\(.*\)", folded(&["delay(", "sleep("])),
            (r"ab(?:x|y)z", folded(&["abxz", "abyz"])),
            (r"(?:-{2}|x)*", None),
            (r".*", None),
            (r"[a-z]+", None),
            (r"a|b", None),
            (r"(?:long|)", None),
        ] {
            assert_eq!(factors(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn prose_has_nothing_that_needs_a_byte_of_code() {
        let tree = |pattern| regex_syntax::parse(pattern).unwrap();
        let of = |pattern| of_pattern(&tree(pattern)).prose;
        let cat = Factor {
            view: View::Folded,
            text: b"cat".to_vec(),
        };
        assert_eq!(of(r"c(?:\$[a-z]*)?at"), Some(vec![cat]));
        assert_eq!(of(r"<[a-z]+|`.*`"), Some(vec![]));
        assert_eq!(of(r"[a-z]+"), None);
    }

    #[test]
    fn phrases_are_their_own_literals_unless_one_is_too_short() {
        let of = |phrases: &[&'static [u8]]| of_phrases(phrases.iter().copied()).any;
        assert_eq!(of(&[b"Nikto", b".env"]).map(|all| all.len()), Some(2));
        assert_eq!(of(&[b"nikto", b"x"]), None);
    }
}

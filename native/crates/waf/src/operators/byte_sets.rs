//! What a regular expression needs of a text, read off its syntax tree: its gate.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::factors::{self, Factors};
use super::gate::{self, ByteSet, Gate};

/// Beyond this many candidates the rarest few are kept while walking the tree.
const CANDIDATES_MAX: usize = 64;
const CANDIDATES_KEPT: usize = 16;

/// What a pattern's syntax tree says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Analysis {
    /// Open when the pattern does not parse.
    pub(super) gate: Gate,
    /// None when the pattern does not parse.
    pub(super) factors: Factors,
    /// An empty match always stands where `^` holds.
    pub(super) empty_only_at_line_start: bool,
}

/// A pattern in the regex crate's syntax, as `@rx` means it; none for one that does not parse.
pub(super) fn parse(pattern: &str) -> Option<Hir> {
    let mut builder = ParserBuilder::new();
    builder
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true)
        .multi_line(true);
    builder.build().parse(pattern).ok()
}

/// Reads a pattern for its gate and literals.
pub(super) fn analyse(pattern: &str) -> Analysis {
    let Some(tree) = parse(pattern) else {
        return Analysis::default();
    };
    let mut sets = Vec::new();
    collect(&tree, &mut sets);
    let min_len = tree.properties().minimum_len().unwrap_or(0);
    Analysis {
        gate: Gate::new(sets, min_len),
        factors: factors::of_pattern(&tree),
        empty_only_at_line_start: min_len == 0 && !empty_anywhere(&tree),
    }
}

/// Whether the tree can match the empty text without passing a `^`.
fn empty_anywhere(tree: &Hir) -> bool {
    match tree.kind() {
        HirKind::Look(look) => *look != Look::StartLF,
        HirKind::Literal(_) | HirKind::Class(_) => false,
        HirKind::Capture(group) => empty_anywhere(&group.sub),
        HirKind::Repetition(repetition) => repetition.min == 0 || empty_anywhere(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().all(empty_anywhere),
        HirKind::Alternation(branches) => branches.iter().any(empty_anywhere),
        HirKind::Empty => true,
    }
}

/// Collects sets such that any match of the tree consumes at least one byte of each.
fn collect(tree: &Hir, sets: &mut Vec<ByteSet>) {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => {
            sets.extend(literal.0.iter().map(|&byte| gate::set_of(&[byte])));
        }
        HirKind::Class(class) => sets.extend(class_set(class)),
        HirKind::Capture(group) => collect(&group.sub, sets),
        HirKind::Repetition(repetition) if repetition.min > 0 => collect(&repetition.sub, sets),
        HirKind::Repetition(_) => {}
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, sets)),
        HirKind::Alternation(branches) => sets.extend(any_of(branches)),
    }
    if sets.len() > CANDIDATES_MAX {
        gate::keep_rarest(sets, CANDIDATES_KEPT);
    }
}

/// Each branch gives its rarest set; a branch without one leaves the alternation without a set.
fn any_of(branches: &[Hir]) -> Option<ByteSet> {
    branches.iter().try_fold([0; 4], |all, branch| {
        let mut sets = Vec::new();
        collect(branch, &mut sets);
        let rarest = sets.into_iter().min_by_key(gate::weight)?;
        Some(gate::union(&all, &rarest))
    })
}

/// The bytes of a class; a class of characters beyond ASCII (`(?u)`) has no set.
fn class_set(class: &Class) -> Option<ByteSet> {
    let mut set = [0; 4];
    match class {
        Class::Bytes(bytes) => {
            for range in bytes.ranges() {
                (range.start()..=range.end()).for_each(|byte| gate::insert(&mut set, byte));
            }
        }
        Class::Unicode(characters) => {
            for range in characters.ranges() {
                for character in range.start()..=range.end() {
                    gate::insert(&mut set, u8::try_from(character).ok().filter(u8::is_ascii)?);
                }
            }
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::gate::Presence;

    fn admits(pattern: &str, text: &str) -> bool {
        analyse(pattern)
            .gate
            .admits(&Presence::of(text.as_bytes()), text.len())
    }

    #[test]
    fn the_gate_wants_a_byte_of_every_mandatory_part() {
        for (pattern, text, admitted) in [
            ("a.c", "abc", true),
            ("a.c", "abd", false),
            ("a.c", "ac", false),
            ("(?i)union", "UNION", true),
            ("(?i)union", "cat", false),
            ("<script|javascript:", "plain", false),
            ("<script|javascript:", "a<b script", true),
            ("x*", "", true),
            ("(?:a|)b", "cb", true),
            ("^$", "", true),
            ("[^a-z]", "abc", false),
            ("[[:punct:]]{2}", "!", false),
            (r"\xff", "plain", false),
        ] {
            assert_eq!(admits(pattern, text), admitted, "{pattern} {text}");
        }
    }

    #[test]
    fn what_does_not_parse_is_open() {
        assert_eq!(analyse("("), Analysis::default());
    }

    #[test]
    fn an_empty_match_may_need_a_line_start() {
        for (pattern, needed) in [
            ("^$", true),
            ("^0?$", true),
            ("a|^$", true),
            ("(^)+", true),
            ("^$|b*", false),
            ("$", false),
            ("^a", false),
            ("(?:^a)*", false),
        ] {
            assert_eq!(
                analyse(pattern).empty_only_at_line_start,
                needed,
                "{pattern}"
            );
        }
    }
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::Cell;
use std::time::Duration;

use super::*;
use crate::budget::Spent;

const PATTERNS: [&str; 8] = [
    r"(?i)(?:;[a-z=]*|\|\|)x\b|ab+c$|^q.*z",
    r"[a-z]+=[^\s]+\s(?:ls|cat|id)\b",
    r"\bfoo\b|\Bbar\b|^\r?baz$",
    r"a[^b]*c|b[^a]*d",
    r"(?:a|ab)(?:c|bcd)",
    r"x{3,400}y",
    r"a+?b|a+",
    r"(?-i:d)(?i:B)$",
];

fn regex(pattern: &str) -> regex::bytes::Regex {
    let mut builder = regex::bytes::RegexBuilder::new(pattern);
    builder.unicode(false).dot_matches_new_line(true);
    builder.multi_line(true).build().unwrap()
}

fn hopped(
    (hops, regex): (&Hops, &regex::bytes::Regex),
    text: &[u8],
) -> (Option<Range<usize>>, bool) {
    let mut budget = Budget::unlimited();
    match hops.find(text, &mut budget).unwrap() {
        None => (None, false),
        Some(Found::At(at)) => (hops.match_at((text, at), &mut budget).unwrap(), false),
        Some(Found::From(at)) => (regex.find_at(text, at).map(|found| found.range()), true),
    }
}

#[test]
fn it_finds_what_the_other_engine_finds() {
    let mut state = 7u64;
    let mut below = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % bound
    };
    let alphabet = b"abcdxyzq;=| \n\rlsfor1B";
    for pattern in PATTERNS {
        let pair = (&Hops::build(pattern, 1 << 22).unwrap(), &regex(pattern));
        let mut found = 0;
        for _ in 0..3_000 {
            let letters = 2 + below(alphabet.len() as u64 - 1);
            let first = below(alphabet.len() as u64 - letters + 1) as usize;
            let letters = &alphabet[first..first + letters as usize];
            let length = below(60);
            let text: Vec<u8> = (0..length)
                .map(|_| letters[below(letters.len() as u64) as usize])
                .collect();
            let expected = pair.1.find(&text).map(|found| found.range());
            found += u32::from(expected.is_some());
            let shown = text.escape_ascii().to_string();
            assert_eq!(hopped(pair, &text).0, expected, "{pattern} on {shown}");
        }
        assert!(found > 0, "{pattern} never matched");
    }
}

#[test]
fn tries_that_run_long_end_early_or_in_a_sweep_that_finds_the_same() {
    let long = ";a=".repeat(20_000);
    let mut swept = 0;
    for end in ["x", " x", " \nabbc", " \nabb", "\nq1z", "", " ;;x\n"] {
        for start in ["", "  ab \n", ";x1"] {
            let text = format!("{start}{long}{end}");
            let pair = (
                &Hops::build(PATTERNS[0], 1 << 22).unwrap(),
                &regex(PATTERNS[0]),
            );
            let expected = pair.1.find(text.as_bytes()).map(|found| found.range());
            let (found, in_sweep) = hopped(pair, text.as_bytes());
            assert_eq!(found, expected, "{start:?} … {end:?}");
            swept += u32::from(in_sweep);
        }
    }
    assert_eq!(swept, 0, "they meet the trail of the first one");
    let pair = (
        &Hops::build(PATTERNS[5], 1 << 22).unwrap(),
        &regex(PATTERNS[5]),
    );
    for end in ["", "z xxxy", "y"] {
        let text = format!("{}{end}", "x".repeat(20_000));
        let expected = pair.1.find(text.as_bytes()).map(|found| found.range());
        let (found, in_sweep) = hopped(pair, text.as_bytes());
        assert_eq!(found, expected);
        // The second match lies behind the end of the sweep.
        assert_eq!(in_sweep, end == "y");
    }
}

#[test]
fn a_cache_that_is_cleared_changes_nothing() {
    let pattern = r"[ab]*a[ab]{12}c";
    let pair = (&Hops::build(pattern, 1 << 22).unwrap(), &regex(pattern));
    let mut bits = 1u32;
    let text: Vec<u8> = (0..60_000)
        .map(|_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if bits >> 31 == 1 { b'a' } else { b'b' }
        })
        .chain(*b"abbbbbbbbbbbbc")
        .collect();
    let expected = pair.1.find(&text).map(|found| found.range());
    assert_eq!(hopped(pair, &text).0, expected);
}

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

#[test]
fn a_search_ends_in_the_middle_of_a_text_when_its_time_is_used_up() {
    let clock = || {
        LOOKS.with(|looks| looks.set(looks.get() + 1));
        Duration::from_millis(LOOKS.with(Cell::get))
    };
    let hops = Hops::build(PATTERNS[0], 1 << 22).unwrap();
    for text in [" ".repeat(4 << 20), ";a=".repeat(1 << 20)] {
        LOOKS.with(|looks| looks.set(0));
        let limit = (Duration::from_millis(3), Spent::default());
        let mut budget = Budget::with_clock(limit, clock);
        assert_eq!(hops.find(text.as_bytes(), &mut budget), Err(OverBudget));
        assert_eq!(LOOKS.with(Cell::get), 4);
    }
}

#[test]
fn patterns_with_dozens_of_parts_are_large_unless_they_match_nothing() {
    let words: Vec<String> = (0..80).map(|n| format!("word{n:03}")).collect();
    let words = words.join("|");
    assert!(is_large(&words));
    assert!(!is_large(&format!("(?:{words})?")));
    assert!(is_large("[a-z]{40}x"));
    assert!(!is_large("[a-z]+x"));
}

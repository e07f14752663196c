//! Every gate against its operator: a text that matches must be admitted.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::letters::Letters;
use crate::operator_set::OperatorSet;
use crate::sieve::Sieve;

/// xorshift: the same texts in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Pieces of attacks, of the given words, and single bytes.
    fn text(&mut self, words: &[&[u8]]) -> Vec<u8> {
        const PIECES: &[&str] = &[
            "1",
            "0x1",
            "1e5",
            " ",
            "'",
            "\"",
            "`",
            "or",
            "union",
            "select",
            "=",
            "<",
            ">",
            "a",
            "onload",
            "script",
            "javascript:",
            "href",
            "/",
            "*",
            "--",
            "#",
            "(",
            ")",
            ",",
            ";",
            "@",
            "\\",
            "\n",
            "\0",
            "x",
            "_",
            ".",
            "&",
            "|",
            "null",
            "sleep",
            "1=1",
            "<!--",
            "%",
            "\u{a0}",
        ];
        let mut text = Vec::new();
        for _ in 0..self.below(7) {
            match self.below(4) {
                0 => text.push(self.below(256) as u8),
                1 if !words.is_empty() => text.extend_from_slice(words[self.below(words.len())]),
                _ => text.extend_from_slice(PIECES[self.below(PIECES.len())].as_bytes()),
            }
        }
        text
    }
}

fn assert_gate(operator: &Operator, text: &[u8], shown: &str) -> bool {
    let matches = operator.matches(text, None);
    let sieve = Sieve::new(std::iter::once(Some(operator.factors())));
    let presence = Presence::of(text);
    let survivors = sieve.survivors(
        (text, &presence),
        &OperatorSet::ALL,
        &mut Letters::default(),
    );
    let sifted = !survivors.has(0);
    let admitted = !sifted && operator.gate().admits(&Presence::of(text), text.len());
    assert!(
        admitted || !matches,
        "the gate of {shown} misses {:?}",
        text.escape_ascii().to_string()
    );
    matches
}

/// The claim behind the gate of `@detectSQLi`: one word, or a number and a word, is no injection.
#[test]
fn no_sql_keyword_is_an_injection_without_another_byte() {
    let operator = compile("detectsqli", "", &[]).unwrap();
    let is_word = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let keywords = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS
        .iter()
        .map(|keyword| keyword.word);
    let words: Vec<&str> = keywords.filter(|word| is_word(word)).collect();
    assert!(words.len() > 500, "{} keywords", words.len());
    for word in words {
        for number in ["", "1", "0x1", "1e1", "0b1", "12f", "1d"] {
            let text = format!("{number}{word}");
            for text in [text.to_ascii_lowercase(), text] {
                assert!(!operator.matches(text.as_bytes(), None), "{text}");
            }
        }
    }
}

#[test]
fn the_gates_of_libinjection_miss_no_word_and_no_random_text() {
    let mut random = Random(7);
    for name in ["detectsqli", "detectxss"] {
        let operator = compile(name, "", &[]).unwrap();
        for byte in 0..=255u8 {
            assert_gate(&operator, &[byte], name);
            (0..=255u8).for_each(|second| {
                assert_gate(&operator, &[byte, second], name);
            });
        }
        let matches = (0..200_000)
            .filter(|_| assert_gate(&operator, &random.text(&[]), name))
            .count();
        assert!(
            matches > 300,
            "{name}: the texts must exercise it: {matches}"
        );
    }
}

/// What libinjection calls an injection must have been let through to it.
#[test]
fn no_injection_is_taken_for_plain_words() {
    let keywords = libinjectionrs::sqli::sqli_data::SQL_KEYWORDS.iter();
    let keywords: Vec<&[u8]> = keywords
        .filter(|keyword| keyword.token_type != b'F')
        .map(|keyword| keyword.word.as_bytes())
        .collect();
    const MARKS: &[&str] = &[
        " ", " ", " ", "1", "1 ", "0x1", "1e", "1.e", "1.", ".", "'", "\"", "`", "(", ")", ",",
        ";", "--", "-", "/*", "*/", "#", "@", "@@", "$", "$$", "=", "<>", "&&", "||", ":", "::",
        "{", "}", "\\", "\\N", "x", "foo ", "bar", "a b c d ", "\n", "\t", "\x01", "\u{a0}", "[",
        "]", "?", "!", "q'(", "n'", "b'1'", "x'1'", "e'", "u&'", "_", "d", "f", "+", "%",
    ];
    let mut random = Random(17);
    let mut injections = 0;
    for _ in 0..600_000 {
        let mut text = Vec::new();
        for _ in 0..1 + random.below(9) {
            match random.below(5) {
                0 | 1 => {
                    text.extend_from_slice(keywords[random.below(keywords.len())]);
                    text.extend_from_slice([&b" "[..], b""][random.below(2)]);
                }
                2 => text.extend_from_slice(
                    [&b"or "[..], b"and ", b"union ", b"select ", b"in "][random.below(5)],
                ),
                _ => text.extend_from_slice(MARKS[random.below(MARKS.len())].as_bytes()),
            }
        }
        if random.below(2) == 0 {
            text.make_ascii_lowercase();
        }
        let found = std::panic::catch_unwind(|| libinjectionrs::detect_sqli(&text).is_injection());
        if found.unwrap_or(true) {
            injections += 1;
            assert!(
                sqli_words::may_be_injection(&text),
                "{}",
                text.escape_ascii()
            );
        }
    }
    assert!(injections > 4_000, "{injections}");
}

/// Every rule file's text; None, loudly, where the rule set is not checked out.
fn crs_rules() -> Option<Vec<String>> {
    let root = std::env::var_os("EDGE_CRS_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/crs"),
        PathBuf::from,
    );
    let Ok(files) = fs::read_dir(root.join("rules")) else {
        eprintln!("SKIPPED: no CRS at {} (set EDGE_CRS_DIR)", root.display());
        return None;
    };
    let paths = files.map(|file| file.unwrap().path());
    let rules = paths.filter(|path| path.extension().is_some_and(|end| end == "conf"));
    Some(
        rules
            .map(|path| fs::read_to_string(path).unwrap())
            .collect(),
    )
}

/// The quoted arguments of `@rx` (`"!@rx …"` too) with `\"` unescaped, macros left out.
fn rx_arguments(rules: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in rules {
        for part in text.split("@rx ").skip(1) {
            let mut end = 0;
            let bytes = part.as_bytes();
            while bytes[end] != b'"' || (end > 0 && bytes[end - 1] == b'\\') {
                end += 1;
            }
            let argument = part[..end].replace("\\\"", "\"");
            if !argument.contains("%{") {
                found.insert(argument.bytes().map(char::from).collect());
            }
        }
    }
    found
}

#[test]
fn every_pattern_of_crs_compiles_in_linear_time_and_its_gate_misses_nothing() {
    let Some(rules) = crs_rules() else {
        return;
    };
    let patterns = rx_arguments(&rules);
    assert!(
        patterns.len() > 280,
        "{} patterns: the extraction must not be empty",
        patterns.len()
    );
    let mut random = Random(11);
    let (mut matches, mut open) = (0, 0);
    for pattern in &patterns {
        let operator = compile("rx", pattern, &[]).unwrap();
        assert!(
            rx::Pattern::compile(&latin1(pattern)).unwrap().is_linear(),
            "{pattern}"
        );
        open += usize::from(operator.gate().sets.is_empty());
        // Words of the pattern itself, so that texts come near to matching it.
        let words: Vec<&[u8]> = pattern
            .as_bytes()
            .split(|byte| !byte.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        matches += (0..800)
            .filter(|_| assert_gate(&operator, &random.text(&words), pattern))
            .count();
    }
    assert!(
        matches > 6000,
        "the texts must exercise the patterns: {matches} matches"
    );
    assert!(
        open < patterns.len() / 5,
        "{open} of {} patterns have no gate",
        patterns.len()
    );
}

#[test]
fn a_gate_of_phrases_or_texts_misses_nothing() {
    let mut random = Random(13);
    for (name, argument) in [
        ("pm", "select union |00| <script a"),
        ("pm", "1=1 or"),
        ("contains", "or"),
        ("containsword", "a"),
        ("streq", "select"),
        ("beginswith", "1"),
        ("endswith", "--"),
        ("within", "select or union"),
        ("validatebyterange", "1-126"),
        ("validateurlencoding", ""),
        ("validateutf8encoding", ""),
        ("eq", "0"),
        ("ipmatch", "::/0"),
        ("verifycc", r"\d+"),
    ] {
        let operator = compile(name, argument, &[]).unwrap();
        (0..20_000).for_each(|_| {
            assert_gate(&operator, &random.text(&[]), name);
        });
    }
}

//! `@pm`, `@pmFromFile`: many phrases at once, ASCII case ignored.

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Captures, Compiled, Factors, Gate, Matcher, factors, gate};

/// `@pm nikto nessus |41 42|`: phrases between blanks; `|…|` holds hexadecimal bytes. TX:0 is the
/// phrase, in the rule's spelling.
pub(super) fn pm(argument: &[u8], entries: &[Vec<u8>]) -> Compiled {
    if !entries.is_empty() {
        return pm_from_file(argument, entries);
    }
    let content = unescape(argument).unwrap_or_else(|| argument.to_vec());
    let phrases = content
        .split(|byte| is_space(*byte))
        .map(<[u8]>::to_vec)
        .collect();
    build(phrases)
}

/// `@pmFromFile scanners.data`: one phrase per entry, blanks inside included.
pub(super) fn pm_from_file(_argument: &[u8], entries: &[Vec<u8>]) -> Compiled {
    build(entries.to_vec())
}

fn build(mut phrases: Vec<Vec<u8>>) -> Compiled {
    phrases.retain(|phrase| !phrase.is_empty());
    if phrases.is_empty() {
        return Err("no phrases: give at least one".to_owned());
    }
    // The match that ends first, as ModSecurity's automaton reports it.
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(&phrases)
        .map_err(|error| format!("too many phrases: {error}"))?;
    Ok(Box::new(Phrases { automaton, phrases }))
}

struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Vec<u8>>,
}

impl Matcher for Phrases {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        let Some(captures) = captures else {
            return self.automaton.is_match(text);
        };
        let Some(found) = self.automaton.find(text) else {
            return false;
        };
        captures.push(self.phrases.get(found.pattern().as_usize()).cloned());
        true
    }

    /// A text with a phrase has the phrase's first byte and its rarest one, in either case.
    fn gate(&self) -> Gate {
        let folded =
            |byte: u8| gate::set_of(&[byte.to_ascii_lowercase(), byte.to_ascii_uppercase()]);
        let any = |pick: fn(&[u8]) -> Option<u8>| {
            self.phrases
                .iter()
                .filter_map(|phrase| pick(phrase))
                .fold([0; 4], |all, byte| gate::union(&all, &folded(byte)))
        };
        let first = any(|phrase| phrase.first().copied());
        let rarest = any(|phrase| {
            phrase
                .iter()
                .copied()
                .min_by_key(|byte| gate::weight(&gate::set_of(&[*byte])))
        });
        let min_len = self.phrases.iter().map(Vec::len).min().unwrap_or(0);
        Gate::new(vec![first, rarest], min_len)
    }

    fn factors(&self) -> Factors {
        factors::of_phrases(self.phrases.iter().map(Vec::as_slice))
    }
}

/// Blanks between phrases: `isspace`, as C++ streams split.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Snort's content syntax: quotes around, `|41 42|` for bytes, `\: \; \\ \"`. None when it is not
/// that; the argument is then taken as written, as ModSecurity does.
fn unescape(argument: &[u8]) -> Option<Vec<u8>> {
    let blanks = argument
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let content = argument.get(blanks..)?;
    let unquoted = content
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let mut out = Vec::with_capacity(content.len());
    let (mut binary, mut escaped, mut high) = (false, false, None);
    for &byte in unquoted.unwrap_or(content) {
        match byte {
            b'|' => binary = !binary,
            b'\\' if !escaped => escaped = true,
            b' ' | b'\t' if binary => {}
            _ if binary => {
                let digit = u8::try_from(char::from(byte).to_digit(16)?).ok()?;
                match high.take() {
                    None => high = Some(digit),
                    Some(high) => out.push(high << 4 | digit),
                }
            }
            b':' | b';' | b'\\' | b'"' if escaped => {
                out.push(byte);
                escaped = false;
            }
            _ if escaped => return None,
            _ => out.push(byte),
        }
    }
    Some(out)
}

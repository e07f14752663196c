//! Whether `@detectSQLi` can find anything: which kinds of tokens a text may have for libinjection,
//! and whether any of its fingerprints is made of those kinds alone. Prose, names, numbers and
//! paths have kinds of which no fingerprint consists; to see that takes far less than tokenising.
//!
//! The kinds are always more than the tokens really have, never fewer: a word counts with the kind
//! of its keyword, and with that of a phrase that needs it, wherever it stands.

use std::collections::HashMap;
use std::sync::LazyLock;

use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;

/// A set of kinds, one bit each, in the order of `KINDS`.
type Kinds = u32;

/// The letters of fingerprints, in upper case as in libinjection's table.
const KINDS: &[u8] = b"N1OSVEK&FUBT;C,A:X()";

/// After so many words in a row that are no keywords libinjection holds five tokens that do not
/// fold, and reads no further.
const PLAIN_WORDS: usize = 8;
/// Longer words are no keywords.
const WORD_BYTES_MAX: usize = 31;

struct Tables {
    /// By upper-case word: the kinds it may bring.
    words: HashMap<Vec<u8>, Kinds>,
    /// A first look at a word: one bit for each hash.
    filter: Vec<u64>,
    /// The kinds of every fingerprint, without those that have all the kinds of another one.
    fingerprints: Vec<Kinds>,
    bytes: [Kinds; 256],
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);

/// False when libinjection is certain to find no SQL injection in the text.
pub(super) fn may_be_injection(text: &[u8]) -> bool {
    let tables = &*TABLES;
    let quoted = memchr::memchr3(b'\'', b'"', b'`', text).is_some();
    // A quote makes libinjection read the text twice more, from the quote on.
    let kinds = if quoted {
        tables.kinds(text, None)
    } else {
        tables.kinds(text, Some(PLAIN_WORDS))
    };
    kinds.is_none_or(|kinds| tables.has_fingerprint(kinds))
}

fn kind(letter: u8) -> Kinds {
    let place = KINDS
        .iter()
        .position(|known| *known == letter.to_ascii_uppercase());
    place.map_or(0, |place| 1 << place)
}

fn kinds(letters: &[u8]) -> Kinds {
    letters.iter().fold(0, |all, letter| all | kind(*letter))
}

/// What libinjection takes for the end of a word, and what may stand inside of one as well.
fn separates(byte: u8) -> bool {
    static SEPARATORS: LazyLock<[bool; 256]> = LazyLock::new(|| {
        let marks = b" []{}<>:\\?=@!#~+-*/&|^%(),';\t\n\x0b\x0c\r\"\xa0\x00.`$";
        std::array::from_fn(|byte| marks.iter().any(|mark| usize::from(*mark) == byte))
    });
    SEPARATORS.get(usize::from(byte)).copied().unwrap_or(false)
}

impl Tables {
    fn new() -> Self {
        let mut tables = Self {
            words: HashMap::new(),
            filter: vec![0; 1024],
            fingerprints: Vec::new(),
            bytes: std::array::from_fn(|byte| byte_kinds(u8::try_from(byte).unwrap_or(0))),
        };
        let mut fingerprints = Vec::new();
        for keyword in SQL_KEYWORDS {
            let word = keyword.word.as_bytes();
            if keyword.token_type == b'F' {
                fingerprints.push(kinds(word.get(1..).unwrap_or_default()));
                continue;
            }
            let brought = match word {
                b"IN" | b"NOT IN" => kinds(b"KNO"),
                _ if keyword.token_type == b'A' => kinds(b"AT"),
                _ => kind(keyword.token_type),
            };
            tables.enter(word, brought);
        }
        fingerprints.sort_by_key(|kinds| kinds.count_ones());
        for one in fingerprints {
            let mut known = tables.fingerprints.iter();
            if !known.any(|less| less & one == *less) {
                tables.fingerprints.push(one);
            }
        }
        tables
    }

    /// A keyword of several parts needs them all: it counts with the longest.
    fn enter(&mut self, keyword: &[u8], brought: Kinds) {
        let parts = keyword.split(|byte| separates(*byte));
        let longest = parts.max_by_key(|part| part.len()).unwrap_or_default();
        if longest.is_empty() {
            // Of two marks: both are operators, whatever they are together.
            for byte in keyword {
                if let Some(kinds) = self.bytes.get_mut(usize::from(*byte)) {
                    *kinds |= brought;
                }
            }
            return;
        }
        *self.words.entry(longest.to_ascii_uppercase()).or_default() |= brought;
        let bit = hash(longest) & 0xffff;
        if let Some(word) = self.filter.get_mut(bit >> 6) {
            *word |= 1 << (bit & 63);
        }
    }

    fn has_fingerprint(&self, kinds: Kinds) -> bool {
        self.fingerprints.iter().any(|one| one & kinds == *one)
    }

    /// The kinds of tokens that a text may have, up to a row of `plain` words that are no keywords;
    /// none for a text of which this cannot be told.
    fn kinds(&self, text: &[u8], plain: Option<usize>) -> Option<Kinds> {
        let mut found = kinds(b"N1");
        let mut row = 0;
        let mut rest = text;
        let mut before = b' ';
        while let [first, tail @ ..] = rest {
            if !separates(*first) {
                let length = rest
                    .iter()
                    .position(|byte| separates(*byte))
                    .unwrap_or(rest.len());
                let (part, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                let brought = self.part(part, before)?;
                found |= brought;
                let is_plain = brought == 0 && before == b' ' && first.is_ascii_alphabetic();
                row = if is_plain { row + 1 } else { 0 };
                if plain == Some(row) {
                    // The last of the row must be a whole word.
                    return after
                        .first()
                        .is_none_or(|next| *next == b' ')
                        .then_some(found);
                }
                before = part.last().copied().unwrap_or(b' ');
                rest = after;
                continue;
            }
            found |= self
                .bytes
                .get(usize::from(*first))
                .copied()
                .unwrap_or_default();
            match rest {
                [b'-', b'-', ..] | [b'#', ..] => found |= kind(b'C'),
                [b'/', b'*', ..] => found |= kinds(b"CX"),
                _ => {}
            }
            if *first != b' ' {
                row = 0;
            }
            before = *first;
            rest = tail;
        }
        Some(found)
    }

    /// The kinds that one word brings, or its end after a number that it begins with.
    fn part(&self, part: &[u8], before: u8) -> Option<Kinds> {
        let mut found = 0;
        // A number may end inside of a part: `1union`, `1.eunion`, `\Nunion`.
        let mut whole = before != b'.' && before != b'\\';
        for byte in part {
            // Blanks at the beginning of a token, parts of a word inside of one.
            if *byte < b' ' || *byte == 0x7f {
                return None;
            }
            whole &= !byte.is_ascii_digit();
        }
        let ends = if whole { 1 } else { part.len() };
        for start in 0..ends {
            found |= self.word(part.get(start..).unwrap_or_default());
        }
        Some(found)
    }

    fn word(&self, word: &[u8]) -> Kinds {
        if word.len() > WORD_BYTES_MAX {
            return 0;
        }
        let bit = hash(word) & 0xffff;
        if self
            .filter
            .get(bit >> 6)
            .is_none_or(|known| known >> (bit & 63) & 1 == 0)
        {
            return 0;
        }
        let upper = word.to_ascii_uppercase();
        self.words.get(&upper).copied().unwrap_or_default()
    }
}

/// The kinds of tokens that a byte may be, or be a part of, beside what it is in a pair.
fn byte_kinds(byte: u8) -> Kinds {
    match byte {
        b'!' | b'#' | b'%' | b'*' | b'+' | b'-' | b'/' | b'<' | b'=' | b'>' | b'?' | b'^'
        | b'~' => kind(b'O'),
        b'&' | b'|' => kinds(b"O&"),
        b':' => kinds(b"O:"),
        b'(' => kinds(b"(FO"),
        b')' => kind(b')'),
        b',' => kind(b','),
        b';' => kinds(b";T"),
        b'@' => kind(b'V'),
        b'\'' | b'"' | b'$' => kind(b'S'),
        b'`' => kinds(b"CFN"),
        b'{' | b'}' => kind(b'X'),
        _ => 0,
    }
}

fn hash(word: &[u8]) -> usize {
    let hash = word.iter().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte & !0x20)).wrapping_mul(0x0100_0193)
    });
    (hash ^ hash >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_names_are_certain_and_attacks_are_not() {
        for (text, suspect) in [
            ("", false),
            ("hello world, it's fine", false),
            ("3.14", false),
            ("2026-11-21", false),
            ("path/to/file.txt", false),
            ("1 or 1", true),
            ("x' or '1'='1", true),
            ("1 union select 2", true),
            ("1union select 2", true),
            ("1.eunion select 2", true),
            ("\\Nunion select 2", true),
            ("sleep(5)", true),
            ("-- ", true),
            ("\x01or 1", true),
            ("one two three four five seven eight nine ten or 1", false),
        ] {
            assert_eq!(may_be_injection(text.as_bytes()), suspect, "{text}");
        }
    }

    #[test]
    fn the_fingerprints_were_read() {
        assert!(
            (20..500).contains(&TABLES.fingerprints.len()),
            "{}",
            TABLES.fingerprints.len()
        );
        assert!(TABLES.words.len() > 500);
    }
}

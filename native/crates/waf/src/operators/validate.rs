//! `@validateByteRange`, `@validateUrlEncoding`, `@validateUtf8Encoding`: match what is invalid.

use super::{ByteSet, Captures, Compiled, Gate, Matcher, Presence, gate};

/// `@validateByteRange 10,13,32-126`: matches when a byte is outside of the ranges.
pub(super) fn byte_range(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let text = String::from_utf8_lossy(argument);
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (start, end) = part.split_once('-').unwrap_or((part, part));
        let range = byte(start)?..=byte(end)?;
        if range.is_empty() {
            return Err(format!("{part:?} begins after its end: swap its numbers"));
        }
        ranges.push(range);
    }
    let outside = gate::set_where(|byte| !ranges.iter().any(|range| range.contains(&byte)));
    Ok(Box::new(ByteRange {
        gate: Gate {
            sets: vec![outside],
            min_len: 1,
        },
    }))
}

fn byte(number: &str) -> Result<u8, String> {
    number
        .trim()
        .parse()
        .map_err(|_| format!("{number:?} is no byte: write 0 to 255"))
}

/// The gate is the whole test.
struct ByteRange {
    gate: Gate,
}

impl Matcher for ByteRange {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        self.gate.admits(&Presence::of(text), text.len())
    }

    fn gate(&self) -> Gate {
        self.gate.clone()
    }
}

/// A test without argument for texts that have one of these bytes.
struct Validation {
    invalid: fn(&[u8]) -> bool,
    suspects: ByteSet,
}

impl Matcher for Validation {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        (self.invalid)(text)
    }

    fn gate(&self) -> Gate {
        Gate::new(vec![self.suspects], 1)
    }
}

/// `@validateUrlEncoding`: matches a `%` without two hexadecimal digits after it.
pub(super) fn url_encoding(_argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let invalid = |text: &[u8]| {
        memchr::memchr_iter(b'%', text).any(|at| match text.get(at + 1..at + 3) {
            Some(digits) => !digits.iter().all(u8::is_ascii_hexdigit),
            None => true,
        })
    };
    Ok(Box::new(Validation {
        invalid,
        suspects: gate::set_of(b"%"),
    }))
}

/// `@validateUtf8Encoding`: matches what RFC 3629 forbids: overlong forms, surrogates too.
pub(super) fn utf8_encoding(_argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let invalid = |text: &[u8]| std::str::from_utf8(text).is_err();
    Ok(Box::new(Validation {
        invalid,
        suspects: gate::set_where(|byte| byte >= 0x80),
    }))
}

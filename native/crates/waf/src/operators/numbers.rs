//! `@eq`, `@ge`, `@gt`, `@le`, `@lt`: both sides read as C reads integers.

use super::{Captures, Compiled, Matcher};

struct Comparison {
    argument: i64,
    read: fn(&[u8]) -> i64,
    holds: fn(&i64, &i64) -> bool,
}

impl Matcher for Comparison {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        (self.holds)(&(self.read)(text), &self.argument)
    }
}

fn compare(argument: &[u8], read: fn(&[u8]) -> i64, holds: fn(&i64, &i64) -> bool) -> Compiled {
    Ok(Box::new(Comparison {
        argument: read(argument),
        read,
        holds,
    }))
}

/// `@eq 0`: 32 bits, what does not fit counts as 0 (`std::stoi` that fails).
pub(super) fn eq(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let read = |text: &[u8]| i32::try_from(integer(text)).map_or(0, i64::from);
    compare(argument, read, i64::eq)
}

/// `@ge 5`: 64 bits, saturating (`atoll`), as the three below.
pub(super) fn ge(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    compare(argument, integer, i64::ge)
}

/// `@gt 5`
pub(super) fn gt(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    compare(argument, integer, i64::gt)
}

/// `@le 5`
pub(super) fn le(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    compare(argument, integer, i64::le)
}

/// `@lt 5`
pub(super) fn lt(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    compare(argument, integer, i64::lt)
}

/// Blanks, a sign, digits; whatever follows is ignored, no digits are 0.
fn integer(text: &[u8]) -> i64 {
    let blanks = text
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
        .count();
    let number = text.get(blanks..).unwrap_or_default();
    let (negative, digits) = match number {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0i64, |value, digit| {
            let digit = i64::from(digit - b'0');
            value
                .saturating_mul(10)
                .saturating_add(if negative { -digit } else { digit })
        })
}

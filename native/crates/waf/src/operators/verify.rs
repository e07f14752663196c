//! `@verifyCC`, `@verifyCPF`, `@verifySSN`, `@verifySVNR`: a pattern finds a number, and the
//! number's own digits say whether it is one. The pattern alone would accept any digits.

use super::{Captures, Compiled, Gate, Matcher, rx::Pattern};

/// `@verifyCC \d{13,16}`: a payment card's number, by Luhn's test.
pub(super) fn verify_cc(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    verified(argument, passes_luhn)
}

/// `@verifyCPF \d{11}`: a Brazilian taxpayer's number, by its two check digits.
pub(super) fn verify_cpf(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    verified(argument, is_cpf)
}

/// `@verifySSN \d{3}-\d{2}-\d{4}`: a US social security number that may have been given out.
pub(super) fn verify_ssn(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    verified(argument, is_ssn)
}

/// `@verifySVNR \d{4} \d{6}`: an Austrian social insurance number, by its check digit.
pub(super) fn verify_svnr(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    verified(argument, is_svnr)
}

type Digits = [u32];

/// A number that its pattern finds and its digits confirm; TX:0 is what the pattern found.
struct Verified {
    pattern: Pattern,
    holds: fn(&Digits) -> bool,
}

fn verified(argument: &[u8], holds: fn(&Digits) -> bool) -> Compiled {
    let pattern = Pattern::compile(argument)?;
    Ok(Box::new(Verified { pattern, holds }))
}

impl Matcher for Verified {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        let mut from = 0;
        // A number may begin inside a match that fails, so the next search is one byte further.
        while from < text.len()
            && let Some(range) = self.pattern.find_from(text, from)
        {
            from = range.start + 1;
            let number = text.get(range).unwrap_or_default();
            if (self.holds)(&digits(number)) {
                if let Some(captures) = captures {
                    captures.push(Some(number.to_vec()));
                }
                return true;
            }
        }
        false
    }

    fn gate(&self) -> Gate {
        self.pattern.gate()
    }
}

/// The decimal digits of a text; separators are skipped.
fn digits(text: &[u8]) -> Vec<u32> {
    text.iter()
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| u32::from(byte - b'0'))
        .collect()
}

/// Luhn's test, counted from the last digit.
fn passes_luhn(digits: &Digits) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| {
            let doubled = digit << (index % 2);
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

fn weighted(digits: &Digits, weights: impl IntoIterator<Item = u32>) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| digit * weight)
        .sum()
}

fn all_equal(digits: &Digits) -> bool {
    digits.iter().all(|digit| digits.first() == Some(digit))
}

/// Digits that only fill a form: all alike, or counted up from 0.
fn is_filler(digits: &Digits) -> bool {
    all_equal(digits)
        || digits
            .iter()
            .zip((0..10).cycle())
            .all(|(digit, next)| *digit == next)
}

/// Eleven digits, further ones ignored; each of the last two is eleven less the weighted sum of
/// those before it, modulo eleven.
fn is_cpf(digits: &Digits) -> bool {
    let Some(&[ref body @ .., first, second]) = digits.get(..11) else {
        return false;
    };
    let check = |sum: u32| match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let sum = weighted(body, (2..=10).rev());
    let next = weighted(body, (3..=11).rev()) + check(sum) * 2;
    !is_filler(digits.get(..11).unwrap_or_default()) && check(sum) == first && check(next) == second
}

/// Nine digits: no area 000, 666 or from 740, no group 00, no serial 0000, not one digit nine times
/// and not nine digits in a row.
fn is_ssn(digits: &Digits) -> bool {
    let [a, b, c, d, e, serial @ ..] = digits else {
        return false;
    };
    let area = a * 100 + b * 10 + c;
    let counted = digits
        .windows(2)
        .all(|pair| matches!(pair, [one, next] if one + 1 == *next));
    serial.len() == 4
        && !matches!(area, 0 | 666 | 740..)
        && d + e > 0
        && serial.iter().any(|digit| *digit > 0)
        && !counted
        && !all_equal(digits)
}

/// Ten digits, further ones ignored; the fourth checks the others.
fn is_svnr(digits: &Digits) -> bool {
    let Some(number) = digits.get(..10) else {
        return false;
    };
    // A sum of ten is never given out; ModSecurity takes it for nought.
    let check = match weighted(number, [3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 {
        10 => 0,
        rest => rest,
    };
    !is_filler(number) && number.get(3) == Some(&check)
}

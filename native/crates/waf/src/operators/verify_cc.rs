//! `@verifyCC`.

use super::{Captures, Compiled, Gate, Matcher, rx::Pattern};

/// `@verifyCC \d{13,16}`: a match of the pattern whose digits pass the Luhn test; TX:0 is it.
pub(super) fn verify_cc(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    Ok(Box::new(CardNumber {
        pattern: Pattern::compile(argument)?,
    }))
}

struct CardNumber {
    pattern: Pattern,
}

impl Matcher for CardNumber {
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        let mut from = 0;
        // A number may begin inside a match that fails, so the next search is one byte further.
        while from < text.len()
            && let Some(range) = self.pattern.find_from(text, from)
        {
            from = range.start + 1;
            let number = text.get(range).unwrap_or_default();
            if passes_luhn(number) {
                if let Some(captures) = captures {
                    captures.push(number.to_vec());
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

/// Luhn's test over the digits of the text, counted from the last one; other bytes are skipped.
fn passes_luhn(text: &[u8]) -> bool {
    let digits = || text.iter().rev().filter(|byte| byte.is_ascii_digit());
    let sum: u32 = digits()
        .enumerate()
        .map(|(index, digit)| {
            let doubled = u32::from(digit - b'0') << (index % 2);
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    digits().next().is_some() && sum.is_multiple_of(10)
}

//! `t:utf8toUnicode` and the 7-bit parities.

use std::io::Write;

/// `t:utf8toUnicode`: `"é"` → `"%u00e9"`. What is no UTF-8 follows ModSecurity: a lead byte
/// without its continuation goes, a continuation alone stays, an overlong form or a surrogate is
/// encoded and its lead byte kept too, and NULs go.
pub(super) fn utf8_to_unicode(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().all(|&byte| byte != 0 && byte < 0x80) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() * 2);
    let mut rest = text;
    while let [lead, tail @ ..] = rest {
        // How many continuation bytes the lead byte wants, and the least code they may spell.
        let (count, least) = match lead {
            0xc0..=0xdf => (1, 0x80),
            0xe0..=0xef => (2, 0x800),
            0xf0..=0xf7 => (3, 0x1_0000),
            _ => {
                out.extend((*lead != 0).then_some(*lead));
                rest = tail;
                continue;
            }
        };
        if *lead >= 0xf5 {
            out.push(*lead);
        }
        let (continuation, after) = tail.split_at_checked(count).unwrap_or_default();
        rest = match code_point(*lead, continuation) {
            Some(code) => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "%u{code:04x}");
                if code < least || (0xd800..=0xdfff).contains(&code) {
                    out.push(*lead);
                }
                after
            }
            None => tail,
        };
    }
    Some(out)
}

/// The number that a lead byte and its continuation bytes spell.
fn code_point(lead: u8, continuation: &[u8]) -> Option<u32> {
    if continuation.is_empty() || continuation.iter().any(|byte| byte & 0xc0 != 0x80) {
        return None;
    }
    let bits = u32::from(lead) & (0x3f >> continuation.len());
    Some(
        continuation
            .iter()
            .fold(bits, |code, byte| code << 6 | u32::from(byte & 0x3f)),
    )
}

/// `t:parityEven7bit`: the top bit makes the number of ones even.
pub(super) fn parity_even(text: &[u8]) -> Option<Vec<u8>> {
    Some(
        text.iter()
            .map(|&byte| with_top_bit(byte, byte.count_ones() % 2 == 1))
            .collect(),
    )
}

/// `t:parityOdd7bit`: the top bit makes the number of ones odd.
pub(super) fn parity_odd(text: &[u8]) -> Option<Vec<u8>> {
    Some(
        text.iter()
            .map(|&byte| with_top_bit(byte, byte.count_ones() % 2 == 0))
            .collect(),
    )
}

/// `t:parityZero7bit`: the top bit is cleared.
pub(super) fn parity_zero(text: &[u8]) -> Option<Vec<u8>> {
    Some(text.iter().map(|&byte| with_top_bit(byte, false)).collect())
}

fn with_top_bit(byte: u8, set: bool) -> u8 {
    if set { byte | 0x80 } else { byte & 0x7f }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn utf8_becomes_percent_u() {
        assert_table(
            "utf8tounicode",
            &[
                (b"caf\xc3\xa9", b"caf%u00e9"),
                (b"\xe2\x82\xac", b"%u20ac"),
                (b"\xf0\x9f\x98\x80", b"%u1f600"),
                (b"\xf4\x8f\xbf\xbf", b"%u10ffff"),
                (b"\xef\xbc\x9c", b"%uff1c"),
                (b"plain", b"plain"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn what_is_no_utf8_follows_modsecurity() {
        assert_table(
            "utf8tounicode",
            &[
                (b"\xc0\xaf", b"%u002f\xc0"),
                (b"\xe0\x80\xaf", b"%u002f\xe0"),
                (b"\xed\xa0\x80", b"%ud800\xed"),
                (b"\xc3a", b"a"),
                (b"\xc3", b""),
                (b"\xa9", b"\xa9"),
                (b"\xff", b"\xff"),
                (b"\xf8\x80", b"\xf8\x80"),
                (b"a\0b", b"ab"),
                (b"\xe2\x82", b"\x82"),
            ],
        );
    }

    #[test]
    fn parity_even_makes_the_number_of_ones_even() {
        assert_table("parityeven7bit", &[(b"ac\x81", b"\xe1c\x01")]);
    }

    #[test]
    fn parity_odd_makes_the_number_of_ones_odd() {
        assert_table("parityodd7bit", &[(b"ab\x80", b"ab\0")]);
    }

    #[test]
    fn parity_zero_clears_the_top_bit() {
        assert_table(
            "parityzero7bit",
            &[(b"a\xe1\xff", b"aa\x7f"), (b"abc", b"abc")],
        );
    }
}

//! `t:hexEncode`, `t:hexDecode`, `t:sqlHexDecode`, and the digits the other decoders share.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends the byte as two lower-case digits.
pub(super) fn push_digits(out: &mut Vec<u8>, byte: u8) {
    for nibble in [byte >> 4, byte & 0x0f] {
        out.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    }
}

/// The value of two hexadecimal digits; what other characters give is ModSecurity's arithmetic,
/// which `t:hexDecode` relies on for input that is not hexadecimal.
pub(super) fn pair(high: u8, low: u8) -> u8 {
    digit(high).wrapping_mul(16).wrapping_add(digit(low))
}

/// The value of one hexadecimal digit, see `pair` for other characters.
pub(super) fn digit(character: u8) -> u8 {
    if character >= b'A' {
        (character & 0xdf).wrapping_sub(b'A').wrapping_add(10)
    } else {
        character.wrapping_sub(b'0')
    }
}

/// The low byte of a four-digit code, full-width forms (ff01–ff5e) folded to their ASCII.
pub(super) fn low_byte(code: [u8; 4]) -> u8 {
    let [first, second, third, fourth] = code;
    let low = pair(third, fourth);
    let full_width = first | 0x20 == b'f' && second | 0x20 == b'f' && (1..0x5f).contains(&low);
    if full_width { low + 0x20 } else { low }
}

/// `t:hexEncode`: `"AB"` → `"4142"`.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 2);
    text.iter().for_each(|&byte| push_digits(&mut out, byte));
    Some(out)
}

/// `t:hexDecode`: `"4142"` → `"AB"`; an odd last digit is dropped.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, _) = text.as_chunks::<2>();
    Some(pairs.iter().map(|&[high, low]| pair(high, low)).collect())
}

/// `t:sqlHexDecode`: `"x = 0x4142"` → `"x = AB"`.
pub(super) fn sql_decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(b'x', b'X', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'0', b'x' | b'X', high, low, ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let mut digits = tail.get(1..).unwrap_or_default();
                while let [high, low, after @ ..] = digits
                    && high.is_ascii_hexdigit()
                    && low.is_ascii_hexdigit()
                {
                    out.push(pair(*high, *low));
                    digits = after;
                }
                digits
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn hex_encode_writes_lower_case_digits() {
        assert_table("hexencode", &[(b"Test\0\xff", b"5465737400ff"), (b"", b"")]);
    }

    #[test]
    fn hex_decode_drops_an_odd_digit() {
        assert_table(
            "hexdecode",
            &[
                (b"54657374", b"Test"),
                (b"4A4b4", b"JK"),
                (b"", b""),
                (b"4", b""),
            ],
        );
    }

    #[test]
    fn hex_decode_of_no_digits_is_the_arithmetic_of_modsecurity() {
        assert_table("hexdecode", &[(b"01234567890a0z01", b"\x01#Eg\x89\n#\x01")]);
    }

    #[test]
    fn sql_hex_decode_wants_0x_and_two_digits() {
        assert_table(
            "sqlhexdecode",
            &[
                (b"0x414243", b"ABC"),
                (b"0X4142", b"AB"),
                (b"x = 0x3c", b"x = <"),
                (b"0x4142G", b"ABG"),
                (b"0x41424", b"AB4"),
                (b"0xz0x414243", b"0xzABC"),
                (b"0x4142430x0x434241", b"ABC0xCBA"),
                (b"0x", b"0x"),
                (b"0x4", b"0x4"),
                (b"0xZZ", b"0xZZ"),
                (b"TestCase", b"TestCase"),
                (b"00x41", b"0A"),
                (b"a0x41", b"aA"),
            ],
        );
    }
}

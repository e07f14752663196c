//! `t:urlDecode`, `t:urlDecodeUni`, `t:urlEncode`.

use super::hex;

/// `t:urlDecode`: `"a%20b+c"` → `"a b c"`; a bad escape stays as it is.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(b'%', b'+', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = decode_one(&mut out, *first, tail);
    }
    Some(out)
}

/// `t:urlDecodeUni`: as `urlDecode`, and `"%uff1c"` → `"<"` by `hex::low_byte`.
pub(super) fn decode_uni(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr2(b'%', b'+', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'%', b'u' | b'U', a, b, c, d, after @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                out.push(hex::low_byte([*a, *b, *c, *d]));
                after
            }
            _ => decode_one(&mut out, *first, tail),
        };
    }
    Some(out)
}

/// Decodes one `%hh`, `+` or plain byte; answers what comes after it.
fn decode_one<'a>(out: &mut Vec<u8>, first: u8, tail: &'a [u8]) -> &'a [u8] {
    match (first, tail) {
        (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            out.push(hex::pair(*high, *low));
            after
        }
        (b'+', _) => {
            out.push(b' ');
            tail
        }
        _ => {
            out.push(first);
            tail
        }
    }
}

/// `t:urlEncode`: `"a b/c"` → `"a+b%2fc"`.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(byte),
            _ => {
                out.push(b'%');
                hex::push_digits(&mut out, byte);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn url_decode_leaves_bad_escapes_alone() {
        assert_table(
            "urldecode",
            &[
                (b"Test+Case%20%41", b"Test Case A"),
                (b"%00a", b"\0a"),
                (b"%", b"%"),
                (b"%1", b"%1"),
                (b"%g0%0g", b"%g0%0g"),
                (b"%%41", b"%A"),
                (b"%u0041", b"%u0041"),
                (b"plain", b"plain"),
                (b"", b""),
                (b"%2B+", b"+ "),
            ],
        );
    }

    #[test]
    fn url_decode_uni_takes_the_low_byte_and_folds_full_width() {
        assert_table(
            "urldecodeuni",
            &[
                (b"%u0041%uff1c%uFF5e", b"A<~"),
                (b"%uff5f", b"_"),
                (b"%uff00", b"\0"),
                (b"%u2039", b"9"),
                (b"%U0061", b"a"),
                (b"%u00", b"%u00"),
                (b"%u004g", b"%u004g"),
                (b"%u", b"%u"),
                (b"%", b"%"),
                (b"%u%41", b"%uA"),
                (b"a%20b+c", b"a b c"),
                (b"%ufe1c", b"\x1c"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn url_encode_keeps_letters_digits_and_stars() {
        assert_table(
            "urlencode",
            &[
                (b"Test Case*", b"Test+Case*"),
                (b"a-b_c.d/", b"a%2db%5fc%2ed%2f"),
                (b"\0\xff", b"%00%ff"),
                (b"abc", b"abc"),
            ],
        );
    }
}

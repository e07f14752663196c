//! `t:cssDecode`.

use super::{hex, spaces};

/// `t:cssDecode`: `"ja\76 ascript"` → `"javascript"`; of longer codes the low byte counts.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'\\', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let count = tail
            .iter()
            .take(6)
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, after) = tail.split_at_checked(count).unwrap_or((tail, &[]));
        rest = match (code(digits), after) {
            // One blank after a code belongs to it.
            (Some(value), [blank, after @ ..]) if spaces::is_space(*blank) => {
                out.push(value);
                after
            }
            (Some(value), after) => {
                out.push(value);
                after
            }
            (None, [b'\n', after @ ..]) => after,
            (None, [escaped, after @ ..]) => {
                out.push(*escaped);
                after
            }
            (None, []) => after,
        };
    }
    Some(out)
}

/// The byte that one to six hexadecimal digits stand for.
fn code(digits: &[u8]) -> Option<u8> {
    match digits {
        [] => None,
        [digit] => Some(hex::digit(*digit)),
        [a, b, c, d] | [b'0', a, b, c, d] | [b'0', b'0', a, b, c, d] => {
            Some(hex::low_byte([*a, *b, *c, *d]))
        }
        [.., high, low] => Some(hex::pair(*high, *low)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn css_decode_reads_one_to_six_digits() {
        assert_table(
            "cssdecode",
            &[
                (
                    b"test\\a\\b\\f\\n\\r\\t\\v\\?\\'\\\"\\0\\12\\123\\x00\\xff",
                    b"test\n\x0b\x0fnrtv?'\"\0\x12#x00xff",
                ),
                (b"ja\\76 ascript", b"javascript"),
                (b"\\00003c\\3c x", b"<<x"),
                (b"\\ff1c\\0ff1c\\00ff1c", b"<<<"),
                (b"\\1ff1c\\01ff1c", b"\x1c\x1c"),
                (b"a\\\nb", b"ab"),
                (b"a\\", b"a"),
                (b"\\\\", b"\\"),
                (b"\\41\n\nb", b"A\nb"),
                (b"\\4\t1", b"\x041"),
                (b"\\1A\\1 A\\1234567\\123456 7", b"\x1a\x01AV7V7"),
                (b"plain", b"plain"),
                (b"", b""),
            ],
        );
    }
}

//! Backslash escapes and shell tricks: `t:jsDecode`, `t:escapeSeqDecode`, `t:cmdLine`.

use super::hex;

/// `t:jsDecode`: `"\u003c\x3e\57a"` → `"<>/a"`; `\ff1c` full-width forms fold to ASCII.
pub(super) fn js_decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'\\', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'\\', b'u', a, b, c, d, after @ ..]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                out.push(hex::low_byte([*a, *b, *c, *d]));
                after
            }
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex::pair(*high, *low));
                after
            }
            [b'\\', digit @ b'0'..=b'7', ..] => {
                // Three digits only up to \377: one byte.
                let (value, after) = octal(tail, if *digit > b'3' { 2 } else { 3 });
                out.push(value);
                after
            }
            [b'\\', escaped, after @ ..] => {
                out.push(control(*escaped).unwrap_or(*escaped));
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Some(out)
}

/// `t:escapeSeqDecode`, ANSI C escapes: `"\x41\102\n"` → `"AB"` and a newline.
pub(super) fn sequence_decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'\\', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'\\', b'x' | b'X', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(hex::pair(*high, *low));
                after
            }
            [b'\\', b'0'..=b'7', ..] => {
                let (value, after) = octal(tail, 3);
                out.push(value);
                after
            }
            // An unknown escape loses its backslash.
            [b'\\', escaped, after @ ..] => {
                out.push(control(*escaped).unwrap_or(*escaped));
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Some(out)
}

/// The control character of `\a \b \f \n \r \t \v`.
fn control(letter: u8) -> Option<u8> {
    match letter {
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0c),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0b),
        _ => None,
    }
}

/// Reads up to `digits_max` octal digits: the low byte of their value, and what follows.
fn octal(text: &[u8], digits_max: usize) -> (u8, &[u8]) {
    let count = text
        .iter()
        .take(digits_max)
        .take_while(|byte| (b'0'..=b'7').contains(byte))
        .count();
    let (digits, after) = text.split_at_checked(count).unwrap_or((text, &[]));
    let value = digits.iter().fold(0u8, |value, digit| {
        value.wrapping_mul(8).wrapping_add(digit.wrapping_sub(b'0'))
    });
    (value, after)
}

/// `t:cmdLine`: `"C^OMMAND  ;/c"` → `"command/c"`: quotes, carets and backslashes go, blanks and
/// separators become one space, none before `/` or `(`, letters become lower case.
pub(super) fn cmd_line(text: &[u8]) -> Option<Vec<u8>> {
    let changes = |byte: &u8| byte.is_ascii_uppercase() || b"\"'\\^,;\t\r\n".contains(byte);
    let closes_up = |pair: &[u8]| matches!(pair, [b' ', b' ' | b'/' | b'(']);
    if !text.iter().any(changes) && !text.windows(2).any(closes_up) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut space = false;
    for &byte in text {
        match byte {
            b'"' | b'\'' | b'\\' | b'^' => {}
            b' ' | b',' | b';' | b'\t' | b'\r' | b'\n' => {
                if !space {
                    out.push(b' ');
                    space = true;
                }
            }
            b'/' | b'(' => {
                if space {
                    out.pop();
                }
                space = false;
                out.push(byte);
            }
            _ => {
                out.push(byte.to_ascii_lowercase());
                space = false;
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn js_decode_reads_unicode_hexadecimal_octal_and_letters() {
        assert_table(
            "jsdecode",
            &[
                (
                    b"\\a\\b\\f\\n\\r\\t\\v\\?\\'\\\"\\0\\12\\123\\x00\\xff",
                    b"\x07\x08\x0c\n\r\t\x0b?'\"\0\nS\0\xff",
                ),
                (b"\\u0000\\u003c\\uff1c\\uFF5E\\uff5f", b"\0<<~_"),
                (b"\\u\\u0\\u01\\u012\\u012g", b"uu0u01u012u012g"),
                (b"\\x\\x0\\xg0", b"xx0xg0"),
                (b"\\8\\9\\400\\377", b"89 0\xff"),
                (b"a\\", b"a\\"),
                (b"plain", b"plain"),
                (b"", b""),
                (b"\\\\n", b"\\n"),
            ],
        );
    }

    #[test]
    fn escape_seq_decode_reads_ansi_c_escapes() {
        assert_table(
            "escapeseqdecode",
            &[
                (
                    b"\\a\\b\\f\\n\\r\\t\\v\\\\\\?\\'\\\"",
                    b"\x07\x08\x0c\n\r\t\x0b\\?'\"",
                ),
                (b"\\0\\12\\123\\400\\x41\\X42", b"\0\nS\0AB"),
                (b"\\x\\xg1\\8\\e\\z", b"xxg18ez"),
                (b"a\\", b"a\\"),
                (b"plain", b"plain"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn cmd_line_undoes_shell_tricks() {
        assert_table(
            "cmdline",
            &[
                (b"C^OMMAND /C DIR", b"command/c dir"),
                (b"\"command\" /c dir", b"command/c dir"),
                (b"c\\o'm\"m^and,;  x", b"command x"),
                (b"command ( dir", b"command( dir"),
                (b" \t/", b"/"),
                (b"", b""),
                (b"plain", b"plain"),
                (b" ", b" "),
                (b"a;b", b"a b"),
                (b"\xc9", b"\xc9"),
            ],
        );
    }
}

//! `t:htmlEntityDecode`.

use super::hex;

/// The named entities that ModSecurity decodes.
const ENTITIES: [(&[u8], u8); 5] = [
    (b"quot", b'"'),
    (b"amp", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"nbsp", 0xa0),
];

/// `t:htmlEntityDecode`: `"&lt;a&#32;b&#x3e"` → `"<a b>"`; the semicolon may be missing.
pub(super) fn entity_decode(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'&', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (*first == b'&').then(|| entity(tail)).flatten() {
            Some((byte, after)) => {
                out.push(byte);
                after.strip_prefix(b";").unwrap_or(after)
            }
            None => {
                out.push(*first);
                tail
            }
        };
    }
    Some(out)
}

/// Decodes the entity after an ampersand: its byte, and what follows it.
fn entity(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => {
            let (name, after) = split(text, u8::is_ascii_alphanumeric);
            let known = ENTITIES
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
            Some((known.1, after))
        }
    }
}

/// The low byte of a number; one too large for 64 bits gives 0xff, as strtol does.
fn number(text: &[u8], radix: u8) -> Option<(u8, &[u8])> {
    let is_digit = if radix == 16 {
        u8::is_ascii_hexdigit
    } else {
        u8::is_ascii_digit
    };
    let (digits, after) = split(text, is_digit);
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, &digit| {
        value
            .saturating_mul(i64::from(radix))
            .saturating_add(i64::from(hex::digit(digit)))
    });
    let [low, ..] = value.to_le_bytes();
    Some((low, after))
}

/// Splits after the leading bytes of a class.
fn split(text: &[u8], class: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| class(byte)).count();
    text.split_at_checked(count).unwrap_or((text, &[]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn html_entities_are_decoded_with_or_without_semicolon() {
        assert_table(
            "htmlentitydecode",
            &[
                (b"&lt;&GT;&amp;&quot;&nbsp;", b"<>&\"\xa0"),
                (b"&lt x&gt", b"< x>"),
                (b"&#60;&#x3c;&#X3E&#060", b"<<><"),
                (b"&#0;&#x0;", b"\0\0"),
                (b"&#256;&#x141;", b"\0A"),
                (
                    b"&#99999999999999999999;&#xffffffffffffffffff;",
                    b"\xff\xff",
                ),
                (b"&foo;&", b"&foo;&"),
                (b"&#;&#x;&#xg;&#", b"&#;&#x;&#xg;&#"),
                (b"&#&lt;", b"&#<"),
                (b"&ltx;", b"&ltx;"),
                (b"&&lt;", b"&<"),
                (b"plain", b"plain"),
                (b"", b""),
            ],
        );
    }
}

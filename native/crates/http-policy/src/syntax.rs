//! Character classes of RFC 9110 §5 and the rules on field values that all protocols share.

use crate::Refusal;

/// Whether `byte` may stand in a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    // One bit test each: the compiler turns the pattern into a mask.
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        )
}

/// Whether `bytes` is a non-empty token: a valid method or field name.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Whether `bytes` may be a field value: no control byte but HTAB; bytes ≥ 0x80 are `obs-text`.
pub fn is_field_value(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
}

/// A field value without whitespace around it: how h2, h3 and trailers must write one.
pub(crate) fn is_clean_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_field_value(value) && !is_blank(value.first()) && !is_blank(value.last())
}

/// A Content-Length value: digits only, no list, sign or space (RFC 9110 §8.6).
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    const REFUSAL: Refusal = Refusal::BadRequest("content-length is not a number");
    // 19 digits always fit in a u64.
    if value.is_empty() || value.len() > 19 {
        return Err(REFUSAL);
    }
    value.iter().try_fold(0u64, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u64::from(byte - b'0'))
            .ok_or(REFUSAL)
    })
}

/// The members of a comma-separated list, without the whitespace around them; empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Methods of RFC 9110, 5789 and WebDAV that a site may offer. TRACE is left out on purpose.
const METHODS: [&[u8]; 16] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
];

/// Whether the method is one the edge knows (case-sensitive, RFC 9110 §9.1).
pub(crate) fn is_known_method(method: &[u8]) -> bool {
    METHODS.contains(&method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_empty_and_has_no_separators() {
        for good in ["GET", "x-y_z", "!#$%&'*+-.^_`|~09"] {
            assert!(is_token(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a:b", "a\t", "a/b", "(a", "a\"", "ä", "a\0"] {
            assert!(!is_token(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_content_length_is_digits_only() {
        let cases: [(&str, Option<u64>); 11] = [
            ("0", Some(0)),
            ("42", Some(42)),
            ("007", Some(7)),
            ("9999999999999999999", Some(9_999_999_999_999_999_999)),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1, 1", None),
            ("1 ", None),
            ("0x1", None),
            ("10000000000000000000", None),
        ];
        for (value, expected) in cases {
            assert_eq!(content_length(value.as_bytes()).ok(), expected, "{value}");
        }
    }

    #[test]
    fn methods_are_case_sensitive() {
        assert!(is_known_method(b"GET"));
        for unknown in ["get", "TRACE", "FOO", ""] {
            assert!(!is_known_method(unknown.as_bytes()), "{unknown}");
        }
    }
}

//! Blanks and NULs: `t:trim`, `t:removeWhitespace`, `t:compressWhitespace`, `t:removeNulls`…

/// `isspace` of the C locale.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// `t:removeNulls`: `"a\0b"` → `"ab"`.
pub(super) fn remove_nulls(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(0, text)?;
    Some(text.iter().copied().filter(|&byte| byte != 0).collect())
}

/// `t:replaceNulls`: `"a\0b"` → `"a b"`.
pub(super) fn replace_nulls(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(0, text)?;
    Some(
        text.iter()
            .map(|&byte| if byte == 0 { b' ' } else { byte })
            .collect(),
    )
}

/// `t:removeWhitespace`: `"a b\tc"` → `"abc"`. The bytes of a UTF-8 no-break space (0xc2, 0xa0)
/// go one by one, as in ModSecurity, wherever they stand.
pub(super) fn remove_whitespace(text: &[u8]) -> Option<Vec<u8>> {
    let goes = |byte: u8| is_space(byte) || byte == 0xa0 || byte == 0xc2;
    text.iter()
        .any(|&byte| goes(byte))
        .then(|| text.iter().copied().filter(|&byte| !goes(byte)).collect())
}

/// `t:compressWhitespace`: `"a \t b"` → `"a b"`.
pub(super) fn compress_whitespace(text: &[u8]) -> Option<Vec<u8>> {
    let becomes_space = |byte: &u8| *byte != b' ' && is_space(*byte);
    if !text.iter().any(becomes_space) && !text.windows(2).any(|pair| pair == b"  ") {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut blank = false;
    for &byte in text {
        if !is_space(byte) {
            out.push(byte);
        } else if !blank {
            out.push(b' ');
        }
        blank = is_space(byte);
    }
    Some(out)
}

/// `t:trim`: both ends.
pub(super) fn trim(text: &[u8]) -> Option<Vec<u8>> {
    changed(text, without_trailing(without_leading(text)))
}

/// `t:trimLeft`: the beginning.
pub(super) fn trim_left(text: &[u8]) -> Option<Vec<u8>> {
    changed(text, without_leading(text))
}

/// `t:trimRight`: the end.
pub(super) fn trim_right(text: &[u8]) -> Option<Vec<u8>> {
    changed(text, without_trailing(text))
}

fn changed(text: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    (part.len() != text.len()).then(|| part.to_vec())
}

fn without_leading(mut text: &[u8]) -> &[u8] {
    while let [first, tail @ ..] = text
        && is_space(*first)
    {
        text = tail;
    }
    text
}

fn without_trailing(mut text: &[u8]) -> &[u8] {
    while let [head @ .., last] = text
        && is_space(*last)
    {
        text = head;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn remove_nulls_removes_nulls_only() {
        assert_table(
            "removenulls",
            &[
                (b"\0a\0b\0", b"ab"),
                (b"a b", b"a b"),
                (b"", b""),
                (b"\0", b""),
            ],
        );
    }

    #[test]
    fn replace_nulls_makes_them_spaces() {
        assert_table("replacenulls", &[(b"\0a\0", b" a "), (b"ab", b"ab")]);
    }

    #[test]
    fn remove_whitespace_removes_no_break_spaces_too() {
        assert_table(
            "removewhitespace",
            &[
                (b" a\tb\r\n\x0b\x0cc ", b"abc"),
                (b"a\xc2\xa0b\xa0", b"ab"),
                (b"abc", b"abc"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn compress_whitespace_leaves_one_space() {
        assert_table(
            "compresswhitespace",
            &[
                (b" a \t\r\n b ", b" a b "),
                (b"a\tb", b"a b"),
                (b"a b", b"a b"),
                (b"a\xa0\xa0b", b"a\xa0\xa0b"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn trim_cuts_both_ends() {
        assert_table(
            "trim",
            &[
                (b" \ta b\n ", b"a b"),
                (b"a", b"a"),
                (b"  ", b""),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn trim_left_cuts_the_beginning() {
        assert_table("trimleft", &[(b" a ", b"a "), (b"a ", b"a ")]);
    }

    #[test]
    fn trim_right_cuts_the_end() {
        assert_table("trimright", &[(b" a \0 ", b" a \0"), (b" a", b" a")]);
    }
}

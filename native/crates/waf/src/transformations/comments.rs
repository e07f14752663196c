//! `t:replaceComments`, `t:removeComments`, `t:removeCommentsChar`.

/// `t:replaceComments`: `"a/* b */c"` → `"a c"`; an open comment runs to the end.
pub(super) fn replace(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(text, b"/*")?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memchr::memmem::find(rest, b"/*") {
        let (before, comment) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        out.push(b' ');
        let body = comment.get(2..).unwrap_or_default();
        rest = match memchr::memmem::find(body, b"*/") {
            Some(end) => body.get(end + 2..).unwrap_or_default(),
            None => &[],
        };
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// `t:removeComments`: `/* */` and `<!-- -->` go, `--` and `#` end the text, an open comment is a
/// space. (Older ModSecurity copied the byte after a comment unread; its own tests now forbid it.)
pub(super) fn remove(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr3(b'*', b'-', b'#', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut inside = false;
    while let [first, tail @ ..] = rest {
        rest = match (inside, rest) {
            (false, [b'/', b'*', after @ ..] | [b'<', b'!', b'-', b'-', after @ ..]) => {
                inside = true;
                after
            }
            (false, [b'-', b'-', ..] | [b'#', ..]) => break,
            (false, _) => {
                out.push(*first);
                tail
            }
            (true, [b'*', b'/', after @ ..] | [b'-', b'-', b'>', after @ ..]) => {
                inside = false;
                after
            }
            (true, _) => tail,
        };
    }
    if inside {
        out.push(b' ');
    }
    Some(out)
}

/// `t:removeCommentsChar`: `"a/*b*/c--d#e"` → `"abcde"`: only the markers go.
pub(super) fn remove_markers(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr3(b'*', b'-', b'#', text)?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'<', b'!', b'-', b'-', after @ ..]
            | [b'-', b'-', b'>', after @ ..]
            | [b'/', b'*', after @ ..]
            | [b'*', b'/', after @ ..]
            | [b'-', b'-', after @ ..]
            | [b'#', after @ ..] => after,
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
    fn replace_comments_leaves_one_space_for_each() {
        assert_table(
            "replacecomments",
            &[
                (b"Before/* Comment */After", b"Before After"),
                (b"/**/", b" "),
                (b"a/*b", b"a "),
                (b"a/*b*/c/*d*/e", b"a c e"),
                (b"/*/*/", b" "),
                (b"a*/b", b"a*/b"),
                (b"/", b"/"),
                (b"/*", b" "),
                (b"", b""),
                (b"a/ *b", b"a/ *b"),
            ],
        );
    }

    #[test]
    fn remove_comments_knows_c_html_sql_and_shell_comments() {
        assert_table(
            "removecomments",
            &[
                (b"Before/* Comment */After", b"BeforeAfter"),
                (b"a<!-- b -->c", b"ac"),
                (b"a--b", b"a"),
                (b"a#b", b"a"),
                (b"a/*b*/", b"a"),
                (b"a/*b", b"a "),
                (b"a-b", b"a-b"),
                (b"a/*b*/#c", b"a"),
                (b"SELECT/**//**/UNION", b"SELECTUNION"),
                (b"foo<!-- 1 --><!-- 2 -->bar", b"foobar"),
                (
                    b"Before/* T*/ /* e */ /* s */\r\nCase ",
                    b"Before  \r\nCase ",
                ),
                (b"/*Before/* Test\r\nCase ", b" "),
                (b"Test\r\nCase */After", b"Test\r\nCase */After"),
                (b"", b""),
            ],
        );
    }

    #[test]
    fn remove_comments_char_removes_the_markers() {
        assert_table(
            "removecommentschar",
            &[
                (b"a/*b*/c", b"abc"),
                (b"a<!--b-->c", b"abc"),
                (b"a--b#c", b"abc"),
                (b"a-b*c/d", b"a-b*c/d"),
                (b"---", b"-"),
                (b"<!-", b"<!-"),
                (b"", b""),
                (b"plain", b"plain"),
            ],
        );
    }
}

//! `t:lowercase`, `t:uppercase`: ASCII letters only, as in the C locale.

/// `t:lowercase`: `"SELECT"` → `"select"`.
pub(super) fn lowercase(text: &[u8]) -> Option<Vec<u8>> {
    text.iter()
        .any(u8::is_ascii_uppercase)
        .then(|| text.to_ascii_lowercase())
}

/// `t:uppercase`: `"select"` → `"SELECT"`.
pub(super) fn uppercase(text: &[u8]) -> Option<Vec<u8>> {
    text.iter()
        .any(u8::is_ascii_lowercase)
        .then(|| text.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn lowercase_folds_ascii_letters_only() {
        assert_table(
            "lowercase",
            &[
                (b"TestCase", b"testcase"),
                (b"abc1", b"abc1"),
                (b"", b""),
                (b"\xc9A", b"\xc9a"),
                (b"A\0B", b"a\0b"),
            ],
        );
    }

    #[test]
    fn uppercase_folds_ascii_letters_only() {
        assert_table(
            "uppercase",
            &[
                (b"TestCase", b"TESTCASE"),
                (b"ABC", b"ABC"),
                (b"\xe9a", b"\xe9A"),
            ],
        );
    }
}

//! `t:length`, `t:md5`, `t:sha1`.

use md5::Md5;
use sha1::{Digest, Sha1};

/// `t:length`: `"abc"` → `"3"`.
pub(super) fn length(text: &[u8]) -> Option<Vec<u8>> {
    Some(text.len().to_string().into_bytes())
}

/// `t:md5`: the 16 raw bytes; usually `t:hexEncode` follows.
pub(super) fn md5(text: &[u8]) -> Option<Vec<u8>> {
    Some(Md5::digest(text).to_vec())
}

/// `t:sha1`: the 20 raw bytes; usually `t:hexEncode` follows.
pub(super) fn sha1(text: &[u8]) -> Option<Vec<u8>> {
    Some(Sha1::digest(text).to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn length_is_decimal() {
        assert_table("length", &[(b"", b"0"), (b"abc", b"3"), (b"\0\0", b"2")]);
    }

    #[test]
    fn md5_is_raw() {
        assert_table(
            "md5",
            &[(
                b"",
                b"\xd4\x1d\x8c\xd9\x8f\0\xb2\x04\xe9\x80\t\x98\xec\xf8B~",
            )],
        );
    }

    #[test]
    fn sha1_is_raw() {
        assert_table(
            "sha1",
            &[(
                b"abc",
                b"\xa9\x99>6G\x06\x81j\xba>%qxP\xc2l\x9c\xd0\xd8\x9d",
            )],
        );
    }
}

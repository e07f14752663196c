//! SecLang transformations (`t:lowercase`…): pure functions from bytes to bytes.
//!
//! Each answers `Borrowed` input unchanged when it has nothing to do, so that the scan can share
//! one text between all chains that leave it alone.

use std::borrow::Cow;

mod base64;
mod case;
mod comments;
mod css;
mod digest;
mod escapes;
mod hex;
mod html;
mod paths;
#[cfg(test)]
mod reference;
mod spaces;
mod triggers;
mod unicode;
mod url;

/// One table: variant, SecLang names in lower case, function (None: nothing to do).
macro_rules! transformations {
    ($($variant:ident [$($name:literal),+] $function:path;)+) => {
        /// A SecLang transformation; `from_name` finds it, `apply` runs it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Transformation {
            $(
                #[doc = concat!("`t:", $($name, " ",)+ "`")]
                $variant,
            )+
        }

        impl Transformation {
            /// The transformation of this lower-case SecLang name: `urldecodeuni`.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($($name)|+ => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Every lower-case name that `from_name` knows, aliases included.
            pub fn names() -> &'static [&'static str] {
                &[$($($name,)+)+]
            }

            /// Transforms the text; unchanged input comes back as it was (borrowed stays borrowed).
            pub fn apply<'a>(self, text: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
                let changed = match self {
                    $(Self::$variant => $function(&text),)+
                };
                match changed {
                    Some(changed) if changed != *text => Cow::Owned(changed),
                    _ => text,
                }
            }
        }
    };
}

transformations! {
    None ["none"] unchanged;
    Lowercase ["lowercase"] case::lowercase;
    Uppercase ["uppercase"] case::uppercase;
    UrlDecode ["urldecode"] url::decode;
    UrlDecodeUni ["urldecodeuni"] url::decode_uni;
    UrlEncode ["urlencode"] url::encode;
    JsDecode ["jsdecode"] escapes::js_decode;
    EscapeSeqDecode ["escapeseqdecode"] escapes::sequence_decode;
    CssDecode ["cssdecode"] css::decode;
    HtmlEntityDecode ["htmlentitydecode"] html::entity_decode;
    Utf8ToUnicode ["utf8tounicode"] unicode::utf8_to_unicode;
    RemoveNulls ["removenulls"] spaces::remove_nulls;
    ReplaceNulls ["replacenulls"] spaces::replace_nulls;
    RemoveWhitespace ["removewhitespace"] spaces::remove_whitespace;
    CompressWhitespace ["compresswhitespace"] spaces::compress_whitespace;
    Trim ["trim"] spaces::trim;
    TrimLeft ["trimleft"] spaces::trim_left;
    TrimRight ["trimright"] spaces::trim_right;
    CmdLine ["cmdline"] escapes::cmd_line;
    ReplaceComments ["replacecomments"] comments::replace;
    RemoveComments ["removecomments"] comments::remove;
    RemoveCommentsChar ["removecommentschar"] comments::remove_markers;
    NormalizePath ["normalizepath", "normalisepath"] paths::normalize;
    NormalizePathWin ["normalizepathwin", "normalisepathwin"] paths::normalize_win;
    Length ["length"] digest::length;
    Md5 ["md5"] digest::md5;
    Sha1 ["sha1"] digest::sha1;
    Base64Decode ["base64decode"] base64::decode;
    Base64DecodeExt ["base64decodeext"] base64::decode_ext;
    Base64Encode ["base64encode"] base64::encode;
    HexDecode ["hexdecode"] hex::decode;
    HexEncode ["hexencode"] hex::encode;
    SqlHexDecode ["sqlhexdecode"] hex::sql_decode;
    ParityEven7Bit ["parityeven7bit"] unicode::parity_even;
    ParityOdd7Bit ["parityodd7bit"] unicode::parity_odd;
    ParityZero7Bit ["parityzero7bit"] unicode::parity_zero;
}

/// `t:none`; the compiler resolves it, here it only keeps the table complete.
fn unchanged(_text: &[u8]) -> Option<Vec<u8>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that each input becomes its output, and that an unchanged one is not copied.
    pub(super) fn assert_table(name: &str, table: &[(&[u8], &[u8])]) {
        let transformation = Transformation::from_name(name).unwrap_or(Transformation::None);
        assert_ne!(transformation, Transformation::None, "{name}");
        for (input, output) in table {
            let actual = transformation.apply(Cow::Borrowed(input));
            let shown = |text: &[u8]| text.escape_ascii().to_string();
            assert_eq!(shown(&actual), shown(output), "{name} of {}", shown(input));
            assert_eq!(
                matches!(actual, Cow::Borrowed(_)),
                input == output,
                "{name} copied"
            );
        }
    }

    #[test]
    fn every_name_finds_its_transformation_and_no_other_word_does() {
        assert!(Transformation::names().len() > 35);
        for name in Transformation::names() {
            assert!(Transformation::from_name(name).is_some(), "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
        for name in ["", "Lowercase", "urlDecode", "t:none", "rot13"] {
            assert_eq!(Transformation::from_name(name), None, "{name}");
        }
        assert_eq!(
            Transformation::from_name("normalisepath"),
            Transformation::from_name("normalizepath")
        );
    }

    #[test]
    fn no_transformation_panics_on_random_bytes() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..4000 {
            let length = round % 23;
            let text: Vec<u8> = (0..length)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    let letters = b"%u0fF3+\\x&#;/*-->.=<! \t\n\0aZ9\xc3\xa9\xf0\xff'\"|^(,";
                    letters
                        .get(seed as usize % letters.len())
                        .copied()
                        .unwrap_or(0)
                })
                .collect();
            for name in Transformation::names() {
                if let Some(transformation) = Transformation::from_name(name) {
                    let _ = transformation.apply(Cow::Borrowed(&text));
                }
            }
        }
    }

    #[test]
    fn an_owned_text_that_stays_as_it_is_stays_owned() {
        let text = Cow::Owned(b"plain".to_vec());
        assert_eq!(
            Transformation::Lowercase.apply(text),
            Cow::<[u8]>::Owned(b"plain".to_vec())
        );
    }
}

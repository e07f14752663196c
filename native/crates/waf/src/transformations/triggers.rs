//! Which bytes a text must have for a transformation to change it: most texts have none of them,
//! and are then left alone unread.

use super::Transformation;
use crate::operators::{ByteSet, set_of, set_where};

const BLANKS: &[u8] = b" \t\n\x0b\x0c\r";

impl Transformation {
    /// A text without any of these bytes stays as it is; none: any text may change.
    pub fn triggers(self) -> Option<ByteSet> {
        let bytes: &[u8] = match self {
            Self::None => b"",
            Self::Lowercase => return Some(set_where(|byte| byte.is_ascii_uppercase())),
            Self::Uppercase => return Some(set_where(|byte| byte.is_ascii_lowercase())),
            Self::Utf8ToUnicode => return Some(set_where(|byte| byte == 0 || byte >= 0x80)),
            Self::CmdLine => {
                let shell = b"\"'\\^,; \t\r\n";
                let changes = |byte: u8| byte.is_ascii_uppercase() || shell.contains(&byte);
                return Some(set_where(changes));
            }
            Self::UrlDecode | Self::UrlDecodeUni => b"%+",
            Self::JsDecode | Self::EscapeSeqDecode | Self::CssDecode => b"\\",
            Self::HtmlEntityDecode => b"&",
            Self::RemoveNulls | Self::ReplaceNulls => b"\0",
            Self::RemoveWhitespace => b" \t\n\x0b\x0c\r\xa0\xc2",
            Self::CompressWhitespace | Self::Trim | Self::TrimLeft | Self::TrimRight => BLANKS,
            Self::ReplaceComments => b"*",
            Self::RemoveComments | Self::RemoveCommentsChar => b"*-#",
            Self::NormalizePath => b"/.",
            Self::NormalizePathWin => b"/.\\",
            Self::SqlHexDecode => b"xX",
            _ => return None,
        };
        Some(set_of(bytes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::borrow::Cow;

    use super::*;
    use crate::operators::{Presence, meet};

    #[test]
    fn a_text_without_a_trigger_is_left_alone() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |bound: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % bound as u64).unwrap()
        };
        let alphabets: [&[u8]; 4] = [
            b"ab01 ",
            b"aA%u0041+\\x&lt;/*-->#.\0\xc2\xa0 \t'^,",
            b"./\\-",
            b"abcdefxyz0123456789_:=@!~",
        ];
        let mut untouched = 0;
        for name in Transformation::names() {
            let transformation = Transformation::from_name(name).unwrap();
            let Some(triggers) = transformation.triggers() else {
                continue;
            };
            for round in 0..6000 {
                let alphabet = alphabets.get(round % 4).unwrap();
                let length = below(14);
                let byte = |_| alphabet.get(below(alphabet.len())).copied().unwrap();
                let mut text: Vec<u8> = (0..length).map(byte).collect();
                if round % 2 == 0 {
                    text.retain(|byte| !meet(&set_of(&[*byte]), &triggers));
                }
                if meet(&Presence::of(&text).0, &triggers) {
                    continue;
                }
                untouched += 1;
                let after = transformation.apply(Cow::Borrowed(&text));
                assert_eq!(*after, *text, "{name}");
            }
        }
        assert!(untouched > 50_000, "{untouched}");
    }
}

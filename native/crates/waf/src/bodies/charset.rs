//! The encodings that an XML document may come in: UTF-8, UTF-16 (XML 1.0 §4.3.3 makes readers know
//! both), ISO-8859-1 and windows-1252. Any other is an error: what a backend reads as UTF-7 or
//! EBCDIC must not be looked at as ASCII.

use std::borrow::Cow;

/// A document as text, up to the first thing in it that is none.
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// Why the text ends before the document does.
    pub broken: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Utf16 { big_endian: bool },
    Latin1,
    Windows1252,
}

/// 80 to 9f in windows-1252; the five that it leaves out are what ISO-8859-1 has there.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];
/// Where an XML declaration must have ended.
const DECLARATION_BYTES_MAX: usize = 256;

/// Decodes an XML document by its byte order mark, its first character or its declaration (XML 1.0
/// appendix F).
pub fn decode_xml(bytes: &[u8]) -> Decoded<'_> {
    let (encoding, mark) = match bytes {
        [0xef, 0xbb, 0xbf, ..] => (Some(Encoding::Utf8), 3),
        [0xff, 0xfe, ..] => (Some(Encoding::Utf16 { big_endian: false }), 2),
        [0xfe, 0xff, ..] => (Some(Encoding::Utf16 { big_endian: true }), 2),
        [b'<', 0, ..] => (Some(Encoding::Utf16 { big_endian: false }), 0),
        [0, b'<', ..] => (Some(Encoding::Utf16 { big_endian: true }), 0),
        _ => (None, 0),
    };
    let bytes = bytes.get(mark..).unwrap_or_default();
    let encoding = match encoding {
        Some(encoding) => encoding,
        None => match declared(bytes).map_or(Some(Encoding::Utf8), of_label) {
            Some(Encoding::Utf16 { .. }) | None => {
                let broken = Some("unknown encoding");
                let text = Cow::Borrowed("");
                return Decoded { text, broken };
            }
            Some(encoding) => encoding,
        },
    };
    decode(bytes, encoding)
}

/// The encoding that the declaration names, read from its bytes.
fn declared(bytes: &[u8]) -> Option<&str> {
    let start = bytes.get(..bytes.len().min(DECLARATION_BYTES_MAX))?;
    let inside = start.strip_prefix(b"<?xml")?;
    let end = memchr::memmem::find(inside, b"?>")?;
    let inside = std::str::from_utf8(inside.get(..end)?).ok()?;
    let (_, after) = inside.split_once("encoding")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    after.strip_prefix(['"', '\''])?.split(['"', '\'']).next()
}

/// Whether a declaration may name this encoding.
pub fn is_known(label: &str) -> bool {
    of_label(label).is_some()
}

fn of_label(label: &str) -> Option<Encoding> {
    const LABELS: [(&str, Encoding); 11] = [
        ("utf-8", Encoding::Utf8),
        ("utf8", Encoding::Utf8),
        ("us-ascii", Encoding::Utf8),
        ("ascii", Encoding::Utf8),
        ("utf-16", Encoding::Utf16 { big_endian: true }),
        ("utf-16be", Encoding::Utf16 { big_endian: true }),
        ("utf-16le", Encoding::Utf16 { big_endian: false }),
        ("iso-8859-1", Encoding::Latin1),
        ("latin1", Encoding::Latin1),
        ("windows-1252", Encoding::Windows1252),
        ("cp1252", Encoding::Windows1252),
    ];
    let mut labels = LABELS.iter();
    let found = labels.find(|(known, _)| known.eq_ignore_ascii_case(label))?;
    Some(found.1)
}

fn decode(bytes: &[u8], encoding: Encoding) -> Decoded<'_> {
    match encoding {
        Encoding::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => whole(Cow::Borrowed(text)),
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                Decoded {
                    text: String::from_utf8_lossy(valid),
                    broken: Some("invalid UTF-8"),
                }
            }
        },
        Encoding::Utf16 { big_endian } => from_utf16(bytes, big_endian),
        Encoding::Latin1 => whole(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Encoding::Windows1252 => whole(bytes.iter().copied().map(from_1252).collect()),
    }
}

fn whole(text: Cow<'_, str>) -> Decoded<'_> {
    Decoded { text, broken: None }
}

fn from_utf16(bytes: &[u8], big_endian: bool) -> Decoded<'static> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let read = if big_endian {
        u16::from_be_bytes
    } else {
        u16::from_le_bytes
    };
    let units = pairs.iter().map(|pair| read(*pair));
    let mut text = String::with_capacity(bytes.len() / 2);
    let mut broken = (!rest.is_empty()).then_some("half a UTF-16 unit");
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => {
                broken = Some("invalid UTF-16");
                break;
            }
        }
    }
    let text = Cow::Owned(text);
    Decoded { text, broken }
}

fn from_1252(byte: u8) -> char {
    let index = usize::from(byte.wrapping_sub(0x80));
    let high = WINDOWS_1252.get(index).copied();
    high.unwrap_or(char::from(byte))
}

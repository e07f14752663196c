//! `t:base64Encode`, `t:base64Decode`, `t:base64DecodeExt`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `t:base64Encode`: `"AB"` → `"QUI="`.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.chunks(3) {
        let mut bits = 0u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            let sextet = (bits >> (18 - 6 * index)) & 0x3f;
            out.push(match ALPHABET.get(sextet as usize) {
                Some(letter) if index <= chunk.len() => *letter,
                _ => b'=',
            });
        }
    }
    Some(out)
}

/// `t:base64Decode`: strict, as mbedTLS; what is no base64 becomes the empty text. The text ends at
/// a NUL, and an incomplete last group without padding is dropped.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    Some(decode_strictly(text).unwrap_or_default())
}

fn decode_strictly(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut group = Group::default();
    let mut pads = 0;
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'\n' => continue,
            b'\r' if tail.first() == Some(&b'\n') => continue,
            b' ' => {
                // Blanks may stand before a line's end or the text's, nowhere else.
                let blanks = tail.iter().take_while(|&&byte| byte == b' ').count();
                rest = tail.get(blanks..).unwrap_or_default();
                match rest {
                    [] | [b'\n', ..] | [b'\r', b'\n', ..] => continue,
                    _ => return None,
                }
            }
            b'=' if pads < 2 => pads += 1,
            _ if pads > 0 => return None,
            _ => {}
        }
        let bits = if *first == b'=' { 0 } else { sextet(*first)? };
        group.push(bits, pads, &mut out);
    }
    Some(out)
}

/// Four letters on their way to three bytes.
#[derive(Default)]
struct Group {
    bits: u32,
    count: usize,
}

impl Group {
    fn push(&mut self, sextet: u8, pads: usize, out: &mut Vec<u8>) {
        self.bits = self.bits << 6 | u32::from(sextet);
        self.count += 1;
        if self.count == 4 {
            let bytes = self.bits.to_be_bytes();
            out.extend(bytes.iter().skip(1).take(3 - pads.min(3)));
            *self = Self::default();
        }
    }
}

/// `t:base64DecodeExt`: forgiving: skips what is no letter, keeps what an incomplete last group
/// gives.
pub(super) fn decode_ext(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut letters) = (0u32, 0usize);
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let value = match first {
            b'=' if letters % 4 == 1 && tail.first() != Some(&b'=') => return Some(Vec::new()),
            other => match sextet(*other) {
                Some(value) => value,
                None => continue,
            },
        };
        bits = bits << 6 | u32::from(value);
        // Letters 2, 3 and 4 of a group each complete one byte.
        let spare = match letters % 4 {
            1 => Some(4),
            2 => Some(2),
            3 => Some(0),
            _ => None,
        };
        if let Some(spare) = spare {
            let [.., low] = (bits >> spare).to_be_bytes();
            out.push(low);
        }
        letters += 1;
    }
    // ModSecurity compares the last value, not the last letter, with '=': '9' (61) looks like it.
    if letters % 4 == 1 && matches!(text.last(), Some(b'=' | b'9')) {
        out.clear();
    }
    Some(out)
}

/// The six bits of a letter of the standard alphabet.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_table;

    #[test]
    fn base64_encode_pads() {
        assert_table(
            "base64encode",
            &[
                (b"", b""),
                (b"A", b"QQ=="),
                (b"AB", b"QUI="),
                (b"ABC", b"QUJD"),
                (b"\xff\xfe\xfd", b"//79"),
                (b"\0", b"AA=="),
            ],
        );
    }

    #[test]
    fn base64_decode_is_strict_and_empties_what_it_cannot_read() {
        assert_table(
            "base64decode",
            &[
                (b"VGVzdENhc2U=", b"TestCase"),
                (b"QQ==", b"A"),
                (b"VGVzdENhc2U", b"TestCa"),
                (b"QUJD\r\nREVG\n", b"ABCDEF"),
                (b"QUJD ", b"ABC"),
                (b"QUJ D", b""),
                (b"QUJD-", b""),
                (b"QQ=A", b""),
                (b"Q===", b""),
                (b"QUJD\0!!", b"ABC"),
                (b"", b""),
                (b"QUJD\rREVG", b""),
            ],
        );
    }

    #[test]
    fn base64_decode_ext_skips_what_is_no_letter() {
        assert_table(
            "base64decodeext",
            &[
                (b"VGVzdENhc2U=", b"TestCase"),
                (b"V.G V!z\0dA", b"Test"),
                (b"VGVzdENhc2U", b"TestCase"),
                (b"-_-_", b""),
                (b"A=", b""),
                (b"dzBzV==YWxlcnQoMSk=", b""),
                (b"P.HNjcmlwdD4=", b"<script>"),
                (b"QUJD9", b""),
                (b"", b""),
                (b"####", b""),
            ],
        );
    }
}

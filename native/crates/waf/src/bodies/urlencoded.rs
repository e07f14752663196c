//! `application/x-www-form-urlencoded`, read as ModSecurity reads it: nothing is an error, a `%`
//! that starts no escape stays as it is.

use super::{Arguments, ParseLimits};
use crate::store::{Store, Text};
use crate::variable::Slot;

/// Adds the arguments of a query string or a form. True when an escape was invalid.
pub fn parse(
    store: &mut Store,
    (text, slot): (Text, Slot),
    arguments: &mut Arguments,
    limits: &ParseLimits,
) -> bool {
    let mut invalid = false;
    let mut start = 0;
    while start < text.len() {
        let rest = text.part(start, text.len());
        let end = memchr::memchr(limits.argument_separator, store.bytes(rest));
        let piece = rest.part(0, end.unwrap_or(rest.len()));
        start += piece.len() + 1;
        let equals = memchr::memchr(b'=', store.bytes(piece));
        let name = piece.part(0, equals.unwrap_or(piece.len()));
        let value = equals.map_or(Text::default(), |at| piece.part(at + 1, piece.len()));
        let name = decode_text(store, name, &mut invalid);
        let value = decode_text(store, value, &mut invalid);
        arguments.add(store, slot, (name, value), limits.arguments_max);
    }
    invalid
}

/// The decoded text: the same one when there is nothing to decode.
fn decode_text(store: &mut Store, text: Text, invalid: &mut bool) -> Text {
    let bytes = store.bytes(text);
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return text;
    }
    let decoded = decode(bytes, true, invalid);
    store.copy(&decoded)
}

/// Decodes `%xx`, and `+` when asked to; invalid escapes stay and are reported.
pub fn decode(bytes: &[u8], plus: bool, invalid: &mut bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'+', _) if plus => decoded.push(b' '),
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high << 4 | low);
                    rest = after;
                }
                _ => {
                    *invalid = true;
                    decoded.push(b'%');
                }
            },
            (byte, _) => {
                *invalid |= byte == b'%';
                decoded.push(byte);
            }
        }
    }
    decoded
}

/// The value of a hexadecimal digit.
pub fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

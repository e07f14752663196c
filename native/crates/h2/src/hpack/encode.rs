//! Field lines as header blocks. Nothing is added to the dynamic table: responses of a proxy
//! differ in what is long (dates, entity tags, cookies), and a table would be held by every idle
//! connection.

use bytes::{BufMut, BytesMut};

/// Longest name that is looked up.
const KNOWN_NAME_MAX: usize = 27;

/// The encoding side of a connection.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The next block begins with a table size of 0.
    announce: bool,
}

impl Encoder {
    /// The peer set SETTINGS_HEADER_TABLE_SIZE: a smaller one must be confirmed (RFC 7541 §4.2).
    pub fn limit_table(&mut self, bytes_max: u32) {
        self.announce |= bytes_max < 4096;
    }

    /// Begins a block.
    pub fn begin(&mut self, block: &mut BytesMut) {
        if std::mem::take(&mut self.announce) {
            block.put_u8(0x20);
        }
    }

    /// Appends `:status`.
    pub fn status(&self, status: u16, block: &mut BytesMut) {
        let indexed = match status {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => {
                block.put_slice(&[0x08, 3]);
                let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
                let digits = [digit(status / 100), digit(status / 10), digit(status)];
                return block.put_slice(&digits);
            }
        };
        block.put_u8(0x80 | indexed);
    }

    /// Appends a field line; its name is written in lower case.
    pub fn field(&self, name: &[u8], value: &[u8], block: &mut BytesMut) {
        // §7.1.3: a value that a guess could confirm is marked as never to be indexed.
        let kind = match name.len() {
            10 if name.eq_ignore_ascii_case(b"set-cookie") => 0x10,
            13 if name.eq_ignore_ascii_case(b"authorization") => 0x10,
            _ => 0,
        };
        match static_index(name) {
            Some(index) => integer(kind, 4, usize::from(index), block),
            None => {
                block.put_u8(kind);
                integer(0, 7, name.len(), block);
                block.extend(name.iter().map(u8::to_ascii_lowercase));
            }
        }
        integer(0, 7, value.len(), block);
        block.put_slice(value);
    }
}

/// §5.1: `value` behind the bits of `kind`.
fn integer(kind: u8, bits: u32, value: usize, block: &mut BytesMut) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        return block.put_u8(kind | low(value));
    }
    block.put_u8(kind | low(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        block.put_u8(low(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    block.put_u8(low(rest));
}

fn low(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or(0)
}

/// The first static entry with this name, for the names that responses have.
fn static_index(name: &[u8]) -> Option<u8> {
    let mut lower = [0u8; KNOWN_NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"accept-ranges" => 18,
        b"access-control-allow-origin" => 20,
        b"age" => 21,
        b"allow" => 22,
        b"cache-control" => 24,
        b"content-disposition" => 25,
        b"content-encoding" => 26,
        b"content-language" => 27,
        b"content-length" => 28,
        b"content-location" => 29,
        b"content-range" => 30,
        b"content-type" => 31,
        b"date" => 33,
        b"etag" => 34,
        b"expires" => 36,
        b"last-modified" => 44,
        b"link" => 45,
        b"location" => 46,
        b"proxy-authenticate" => 48,
        b"refresh" => 52,
        b"retry-after" => 53,
        b"server" => 54,
        b"set-cookie" => 55,
        b"strict-transport-security" => 56,
        b"vary" => 59,
        b"via" => 60,
        b"www-authenticate" => 61,
        _ => return None,
    })
}

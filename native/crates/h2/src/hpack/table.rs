//! The static table (RFC 7541 appendix A) and the dynamic one (§2.3.2).

use crate::Field;
use bytes::Bytes;
use std::collections::VecDeque;

/// What every entry costs beside its bytes (§4.1).
const ENTRY_OVERHEAD: usize = 32;

/// Entries 1 to 61.
#[rustfmt::skip]
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""),
    ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Both tables as one index space.
#[derive(Debug)]
pub struct Table {
    /// Newest first.
    entries: VecDeque<Field>,
    bytes: usize,
    bytes_max: usize,
}

impl Table {
    pub fn new(bytes_max: usize) -> Table {
        Table {
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The entry at `index`, which counts from 1.
    pub fn get(&self, index: usize) -> Option<Field> {
        let index = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(index) {
            let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
            return Some((bytes(name), bytes(value)));
        }
        self.entries.get(index - STATIC.len()).cloned()
    }

    /// §4.4: an entry that is too large for the table empties it.
    pub fn insert(&mut self, field: Field) {
        let size = field.0.len() + field.1.len() + ENTRY_OVERHEAD;
        self.evict(size);
        if size <= self.bytes_max {
            self.bytes += size;
            self.entries.push_front(field);
        }
    }

    /// §4.3.
    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict(0);
    }

    /// Makes room for `size` bytes.
    fn evict(&mut self, size: usize) {
        while self.bytes + size > self.bytes_max {
            let Some((name, value)) = self.entries.pop_back() else {
                return;
            };
            self.bytes -= name.len() + value.len() + ENTRY_OVERHEAD;
        }
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

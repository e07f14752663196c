//! Every text of one exchange that rules can see, in one list of entries over three byte buffers.

use bytes::Bytes;

use crate::variable::{Side, Slot, View};

/// Which buffer a text lies in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    /// Copied or decoded texts.
    #[default]
    Arena,
    RequestBody,
    ResponseBody,
}

/// A stretch of one of the store's buffers; the default is the empty text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    source: Source,
    start: u32,
    len: u32,
}

impl Text {
    /// The part of this text from `start` (clamped to its end), `len` bytes long.
    pub fn part(self, start: usize, len: usize) -> Self {
        let start = narrow(start).min(self.len);
        Self {
            source: self.source,
            start: self.start + start,
            len: narrow(len).min(self.len - start),
        }
    }

    /// Its length in bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }
}

/// One member of a collection, or a variable that is no collection (then `name` is the empty text).
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub slot: Slot,
    pub name: Text,
    pub value: Text,
}

impl Entry {
    /// What a variable that is no collection shows while it has no value.
    pub fn empty(slot: Slot) -> Self {
        Self {
            slot,
            name: Text::default(),
            value: Text::default(),
        }
    }

    /// The text that a variable with this side shows.
    pub fn side(&self, side: Side) -> Text {
        match side {
            Side::Value => self.value,
            Side::Name => self.name,
        }
    }
}

/// The entries in the order in which they came, and their bytes.
#[derive(Debug, Default)]
pub struct Store {
    arena: Vec<u8>,
    request_body: Bytes,
    response_body: Bytes,
    entries: Vec<Entry>,
}

impl Store {
    /// An empty store with room for a usual head.
    pub fn with_capacity(bytes: usize, entries: usize) -> Self {
        Self {
            arena: Vec::with_capacity(bytes),
            entries: Vec::with_capacity(entries),
            ..Self::default()
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes of a text of this store.
    pub fn bytes(&self, text: Text) -> &[u8] {
        let buffer: &[u8] = match text.source {
            Source::Arena => &self.arena,
            Source::RequestBody => &self.request_body,
            Source::ResponseBody => &self.response_body,
        };
        let start = text.start as usize;
        buffer
            .get(start..start + text.len as usize)
            .unwrap_or_default()
    }

    /// Copies bytes in.
    pub fn copy(&mut self, bytes: &[u8]) -> Text {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.arena_from(start)
    }

    /// Copies several pieces in as one text.
    pub fn concat(&mut self, pieces: &[&[u8]]) -> Text {
        let start = self.arena.len();
        for piece in pieces {
            self.arena.extend_from_slice(piece);
        }
        self.arena_from(start)
    }

    /// Adds a member of a collection.
    pub fn push(&mut self, slot: Slot, name: Text, value: Text) {
        self.entries.push(Entry { slot, name, value });
    }

    /// Sets a variable that is no collection, copying its text. An empty text is not kept: every
    /// such variable shows one while it has no other, as in ModSecurity.
    pub fn set(&mut self, slot: Slot, bytes: &[u8]) {
        let text = self.copy(bytes);
        self.set_text(slot, text);
    }

    /// As `set`, for a text that is in the store already.
    pub fn set_text(&mut self, slot: Slot, value: Text) {
        self.entries.retain(|entry| entry.slot != slot);
        if value.len() > 0 {
            self.push(slot, Text::default(), value);
        }
    }

    /// As `set`, without looking for an older value.
    pub fn add(&mut self, slot: Slot, value: Text) {
        if value.len() > 0 {
            self.push(slot, Text::default(), value);
        }
    }

    /// A number as text.
    pub fn number(&mut self, number: u64) -> Text {
        self.copy(number.to_string().as_bytes())
    }

    /// Takes the request body in, without copying; its text as a whole.
    pub fn hold_request_body(&mut self, body: Bytes) -> Text {
        let len = narrow(body.len());
        self.request_body = body;
        Text {
            source: Source::RequestBody,
            start: 0,
            len,
        }
    }

    /// Takes the response body in, without copying; its text as a whole.
    pub fn hold_response_body(&mut self, body: Bytes) -> Text {
        let len = narrow(body.len());
        self.response_body = body;
        Text {
            source: Source::ResponseBody,
            start: 0,
            len,
        }
    }

    /// The request body that is held.
    pub fn request_body(&self) -> Bytes {
        self.request_body.clone()
    }

    /// The values of all headers of this lower-case name, joined by commas (RFC 9110 §5.3).
    pub fn joined_headers(&self, slot: Slot, name: &[u8]) -> Vec<u8> {
        let headers = self.entries.iter().filter(|entry| entry.slot == slot);
        let named = headers.filter(|entry| self.bytes(entry.name).eq_ignore_ascii_case(name));
        let values: Vec<&[u8]> = named.map(|entry| self.bytes(entry.value)).collect();
        values.join(&b',')
    }

    /// The response body that was taken in; empty when there is none.
    pub fn response_body(&self) -> &[u8] {
        &self.response_body
    }

    /// The entries that one view shows.
    pub fn seen(&self, view: View) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.slot == view.0)
    }

    /// The first value in a slot.
    pub fn first(&self, slot: Slot) -> Option<&[u8]> {
        self.entries
            .iter()
            .find(|entry| entry.slot == slot)
            .map(|entry| self.bytes(entry.value))
    }

    fn arena_from(&self, start: usize) -> Text {
        Text {
            source: Source::Arena,
            start: narrow(start),
            len: narrow(self.arena.len() - start),
        }
    }
}

/// Offsets are 32 bits wide: bodies beyond 4 GiB never get here, `bodyBytesMax` cuts them.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

//! A strict JSON reader (RFC 8259) that flattens a document into arguments as ModSecurity does:
//! `{"a":{"b":1},"c":["x"]}` gives `json.a.b` = `1` and `json.c.array_0` = `x`.

use super::{Arguments, Body, ParseLimits};
use crate::store::{Store, Text};
use crate::variable::Slot;

/// A member without a name, as ModSecurity shows it.
const EMPTY_KEY: &[u8] = b"empty-key";
/// All names together may be this much, or this many times the body: every value repeats the names
/// of all the objects it lies in, which a long outer key would multiply.
const NAMES_BYTES_MIN: usize = 1024 * 1024;
const NAMES_PER_BODY: usize = 4;

/// Adds the leaf values of a document. The error says what is wrong, and where in the body; what
/// was read before it stays, because detection-only runs go on.
pub fn parse(
    store: &mut Store,
    body: Body<'_>,
    arguments: &mut Arguments,
    limits: &ParseLimits,
) -> Result<(), String> {
    // RFC 8259 §8.1: UTF-8 and nothing else, so a UTF-16 document is an error as well.
    let valid = match std::str::from_utf8(body.bytes) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    let mut reader = Reader {
        bytes: body.bytes.get(..valid).unwrap_or_default(),
        at: 0,
        body: body.text,
        path: b"json".to_vec(),
        containers: Vec::new(),
        depth_max: limits.json_depth_max,
        names_left: NAMES_BYTES_MIN.max(NAMES_PER_BODY.saturating_mul(valid)),
    };
    let outcome = reader.document(&mut |name, value| {
        if arguments.is_full(limits.arguments_max) {
            arguments.over_limit = true;
            return;
        }
        let name = store.copy(name);
        let value = match value {
            Leaf::InBody(text) => text,
            Leaf::Decoded(bytes) => store.copy(bytes),
        };
        arguments.add(store, Slot::ArgsBody, (name, value), limits.arguments_max);
    });
    if valid < body.bytes.len() {
        return Err(format!("invalid UTF-8 at byte {valid}"));
    }
    outcome.map_err(|reason| format!("{reason} at byte {}", reader.at))
}

/// A leaf value: most stand in the body as they are.
enum Leaf<'a> {
    InBody(Text),
    Decoded(&'a [u8]),
}

/// One open object or array.
enum Container {
    /// `path_len` is the length of the path without the current key.
    Object {
        path_len: usize,
    },
    Array {
        path_len: usize,
        index: usize,
    },
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    body: Text,
    path: Vec<u8>,
    containers: Vec<Container>,
    depth_max: usize,
    names_left: usize,
}

type Emit<'e> = &'e mut dyn FnMut(&[u8], Leaf<'_>);

impl Reader<'_> {
    fn document(&mut self, emit: Emit<'_>) -> Result<(), &'static str> {
        loop {
            let opened = self.value(emit)?;
            if !opened && !self.next_member()? {
                break;
            }
        }
        self.whitespace();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err("text after the document")
        }
    }

    /// Reads one value. True when it opened a container that has a member to read next.
    fn value(&mut self, emit: Emit<'_>) -> Result<bool, &'static str> {
        self.whitespace();
        match self.peek() {
            Some(b'{') => self.open_object(),
            Some(b'[') => self.open_array(),
            Some(b'"') => self.string(emit).map(|()| false),
            Some(b't') => self.word(b"true", emit),
            Some(b'f') => self.word(b"false", emit),
            Some(b'n') => self.word(b"null", emit),
            Some(b'-' | b'0'..=b'9') => self.number(emit).map(|()| false),
            Some(_) => Err("value expected"),
            None => Err("unexpected end"),
        }
    }

    fn open_object(&mut self) -> Result<bool, &'static str> {
        self.enter()?;
        self.whitespace();
        if self.take(b'}') {
            return Ok(false);
        }
        let path_len = self.path.len();
        self.containers.push(Container::Object { path_len });
        self.key().map(|()| true)
    }

    fn open_array(&mut self) -> Result<bool, &'static str> {
        self.enter()?;
        self.whitespace();
        if self.take(b']') {
            return Ok(false);
        }
        let path_len = self.path.len();
        self.containers
            .push(Container::Array { path_len, index: 0 });
        self.path.extend_from_slice(b".array_0");
        Ok(true)
    }

    fn enter(&mut self) -> Result<(), &'static str> {
        self.at += 1;
        if self.containers.len() >= self.depth_max {
            return Err("nesting too deep");
        }
        Ok(())
    }

    /// After a value: goes to the next member of the innermost container, closing those that end.
    /// False at the end of the document.
    fn next_member(&mut self) -> Result<bool, &'static str> {
        loop {
            let Some(container) = self.containers.last_mut() else {
                return Ok(false);
            };
            let (path_len, close) = match container {
                Container::Object { path_len } => (*path_len, b'}'),
                Container::Array { path_len, .. } => (*path_len, b']'),
            };
            self.path.truncate(path_len);
            self.whitespace();
            if self.take(close) {
                self.containers.pop();
                continue;
            }
            if !self.take(b',') {
                return Err(if self.peek().is_some() {
                    "comma expected"
                } else {
                    "unexpected end"
                });
            }
            if let Some(Container::Array { index, .. }) = self.containers.last_mut() {
                *index += 1;
                self.path
                    .extend_from_slice(format!(".array_{index}").as_bytes());
            } else {
                self.key()?;
            }
            return Ok(true);
        }
    }

    /// Reads `"key" :` and appends it to the path.
    fn key(&mut self) -> Result<(), &'static str> {
        self.whitespace();
        let (start, end, escaped) = self.quoted()?;
        let raw = self.bytes.get(start..end).unwrap_or_default();
        self.path.push(b'.');
        if raw.is_empty() {
            self.path.extend_from_slice(EMPTY_KEY);
        } else if escaped {
            self.path.extend_from_slice(&unescape(raw)?);
        } else {
            self.path.extend_from_slice(raw);
        }
        self.whitespace();
        if self.take(b':') {
            Ok(())
        } else {
            Err("colon expected")
        }
    }

    fn string(&mut self, emit: Emit<'_>) -> Result<(), &'static str> {
        let (start, end, escaped) = self.quoted()?;
        self.spend_name()?;
        if escaped {
            let raw = self.bytes.get(start..end).unwrap_or_default();
            emit(&self.path, Leaf::Decoded(&unescape(raw)?));
        } else {
            emit(&self.path, Leaf::InBody(self.body.part(start, end - start)));
        }
        Ok(())
    }

    /// Goes over a string; where its inside starts and ends, and whether it has escapes.
    fn quoted(&mut self) -> Result<(usize, usize, bool), &'static str> {
        if !self.take(b'"') {
            return Err("string expected");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err("unexpected end in a string"),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..0x20) => return Err("control character in a string"),
                Some(_) => self.at += 1,
            }
        }
        let end = self.at;
        self.at += 1;
        Ok((start, end, escaped))
    }

    fn word(&mut self, word: &'static [u8], emit: Emit<'_>) -> Result<bool, &'static str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err("value expected");
        }
        self.at += word.len();
        self.spend_name()?;
        emit(
            &self.path,
            Leaf::Decoded(if word == b"null" { b"" } else { word }),
        );
        Ok(false)
    }

    fn number(&mut self, emit: Emit<'_>) -> Result<(), &'static str> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.spend_name()?;
        emit(
            &self.path,
            Leaf::InBody(self.body.part(start, self.at - start)),
        );
        Ok(())
    }

    /// Counts the name of the value that is about to be added.
    fn spend_name(&mut self) -> Result<(), &'static str> {
        let left = self.names_left.checked_sub(self.path.len());
        self.names_left = left.ok_or("names too long in all")?;
        Ok(())
    }

    fn digits(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err("digit expected")
        }
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }
}

/// The text of a string's inside.
fn unescape(raw: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            text.push(*first);
            continue;
        }
        let [escape, tail @ ..] = rest else {
            return Err("invalid escape");
        };
        rest = tail;
        match escape {
            b'"' | b'\\' | b'/' => text.push(*escape),
            b'b' => text.push(0x08),
            b'f' => text.push(0x0c),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'u' => unicode_escape(&mut rest, &mut text)?,
            _ => return Err("invalid escape"),
        }
    }
    Ok(text)
}

/// What follows `\u`: four digits, and for a high surrogate its low half. The grammar allows half
/// a pair (RFC 8259 §8.2), and clients cut texts inside one: as in ModSecurity a high half alone is
/// `?` and a low half its three bytes. ModSecurity joins a high half with whatever escape follows,
/// which would hide that character.
fn unicode_escape(rest: &mut &[u8], text: &mut Vec<u8>) -> Result<(), &'static str> {
    let code = four_digits(rest)?;
    let low = || four_digits(&mut rest.strip_prefix(b"\\u")?).ok();
    let code = match code {
        0xd800..0xdc00 => match low().filter(|low| (0xdc00..0xe000).contains(low)) {
            Some(low) => {
                *rest = rest.get(6..).unwrap_or_default();
                0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
            }
            None => u32::from(b'?'),
        },
        code => code,
    };
    if let Some(character) = char::from_u32(code) {
        let mut buffer = [0; 4];
        text.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        return Ok(());
    }
    for (lead, shift) in [(0xe0, 12), (0x80, 6), (0x80, 0)] {
        let bits = code >> shift & if shift == 12 { 0x0f } else { 0x3f };
        text.push(u8::try_from(lead | bits).unwrap_or(b'?'));
    }
    Ok(())
}

fn four_digits(rest: &mut &[u8]) -> Result<u32, &'static str> {
    let Some((digits, tail)) = rest.split_at_checked(4) else {
        return Err("invalid escape");
    };
    *rest = tail;
    digits.iter().try_fold(0, |value, digit| {
        let nibble = char::from(*digit).to_digit(16).ok_or("invalid escape")?;
        Ok(value << 4 | nibble)
    })
}

//! The HTTP/1.x body: content length or chunked coding (RFC 9112 §6, §7), incremental.

use crate::head::field_line;
use crate::trailers::{TrailerLimits, Trailers};
use crate::{Framing, Refusal};
use bytes::{Buf, Bytes, BytesMut};

/// 16 hex digits, `;` and at most this many bytes of extension, which are dropped.
const EXTENSION_BYTES_MAX: usize = 256;
const SIZE_DIGITS_MAX: usize = 16;
const SIZE_LINE_BYTES_MAX: usize = SIZE_DIGITS_MAX + 1 + EXTENSION_BYTES_MAX;
const LONG_SIZE_LINE: Refusal = Refusal::BadRequest("chunk size line is too long");
/// The colon of a trailer and the whitespace around its value.
const LINE_PADDING_MAX: usize = 32;
/// Chunk framing allowed beyond eight bytes for each byte of content (CVE-2024-22019): honest
/// one-byte chunks cost five.
const OVERHEAD_BYTES_FREE: u64 = 16 * 1024;

/// What [`BodyReader::push`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyEvent {
    /// Content bytes, without chunk framing; call `push` again.
    Data(Bytes),
    /// The body is complete; what is left in the input belongs to the next request.
    End,
    /// Everything usable was taken; read more and call again.
    NeedMore,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// That many content bytes, then the end.
    Length(u64),
    /// Content without an end of its own.
    UntilEnd,
    ChunkSize,
    ChunkContent(u64),
    ChunkEnd,
    Trailers,
    Done,
}

/// Takes body bytes off an input buffer until the body ends.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    content_bytes: u64,
    overhead_bytes: u64,
    trailers: Trailers,
    trailer_limits: TrailerLimits,
}

impl BodyReader {
    /// A reader for the framing of one head, with the default limits on trailers.
    pub fn new(framing: Framing) -> BodyReader {
        BodyReader::with_trailer_limits(framing, TrailerLimits::default())
    }

    /// A reader for the framing of one head (`UntilEnd` belongs to h2 and h3: it never ends here).
    pub fn with_trailer_limits(framing: Framing, trailer_limits: TrailerLimits) -> BodyReader {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::UntilEnd,
        };
        BodyReader {
            state,
            content_bytes: 0,
            overhead_bytes: 0,
            trailers: Trailers::default(),
            trailer_limits,
        }
    }

    /// Whether the whole body was read.
    pub fn is_end(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The trailers behind the last chunk, names in lower case; once, after `End`.
    pub fn trailers(&mut self) -> Vec<(Bytes, Bytes)> {
        std::mem::take(&mut self.trailers.fields)
    }

    /// The next event. After `End` it stays `End`.
    pub fn push(&mut self, input: &mut BytesMut) -> Result<BodyEvent, Refusal> {
        loop {
            let step = match self.state {
                State::Done => return Ok(BodyEvent::End),
                State::UntilEnd if input.is_empty() => return Ok(BodyEvent::NeedMore),
                State::UntilEnd => return Ok(BodyEvent::Data(input.split().freeze())),
                State::Length(0) => {
                    self.state = State::Done;
                    true
                }
                State::Length(left) => return Ok(self.content(input, left, State::Length)),
                State::ChunkContent(0) => {
                    self.state = State::ChunkEnd;
                    true
                }
                State::ChunkContent(left) => {
                    return Ok(self.content(input, left, State::ChunkContent));
                }
                State::ChunkSize => self.chunk_size(input)?,
                State::ChunkEnd => self.chunk_end(input)?,
                State::Trailers => self.trailer(input)?,
            };
            if !step {
                return Ok(BodyEvent::NeedMore);
            }
        }
    }

    fn content(&mut self, input: &mut BytesMut, left: u64, next: fn(u64) -> State) -> BodyEvent {
        if input.is_empty() {
            return BodyEvent::NeedMore;
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let bytes = input.split_to(take).freeze();
        self.content_bytes += take as u64;
        self.state = next(left - take as u64);
        BodyEvent::Data(bytes)
    }

    /// `1*HEXDIG [";" extension] CRLF`. No space anywhere before the `;`.
    fn chunk_size(&mut self, input: &mut BytesMut) -> Result<bool, Refusal> {
        let Some(line) = take_line(input, SIZE_LINE_BYTES_MAX, LONG_SIZE_LINE)? else {
            let digits = input
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            let odd = input
                .get(digits)
                .is_some_and(|byte| !matches!(byte, b';' | b'\r'));
            return if odd { Err(BAD_SIZE) } else { Ok(false) };
        };
        let digits = memchr::memchr(b';', &line).unwrap_or(line.len());
        let (size, extension) = line.split_at_checked(digits).ok_or(BAD_SIZE)?;
        if extension
            .iter()
            .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
        {
            return Err(Refusal::BadRequest("control byte in a chunk extension"));
        }
        let size = hex(size)?;
        self.overhead_bytes += line.len() as u64 + 4;
        if self.overhead_bytes > OVERHEAD_BYTES_FREE + self.content_bytes.saturating_mul(8) {
            return Err(Refusal::BadRequest("more chunk framing than content"));
        }
        self.state = if size == 0 {
            State::Trailers
        } else {
            State::ChunkContent(size)
        };
        Ok(true)
    }

    fn chunk_end(&mut self, input: &mut BytesMut) -> Result<bool, Refusal> {
        match (input.first(), input.get(1)) {
            (Some(b'\r'), Some(b'\n')) => {
                input.advance(2);
                self.state = State::ChunkSize;
                Ok(true)
            }
            (None, _) | (Some(b'\r'), None) => Ok(false),
            _ => Err(Refusal::BadRequest("chunk does not end in CR LF")),
        }
    }

    fn trailer(&mut self, input: &mut BytesMut) -> Result<bool, Refusal> {
        // A line has two bytes (`:` and a space, often) that do not count, and may pad its value.
        let bytes_max = self.trailers.bytes_left(&self.trailer_limits) + LINE_PADDING_MAX;
        let Some(line) = take_line(input, bytes_max, Refusal::TrailersTooLarge)? else {
            return Ok(false);
        };
        if line.is_empty() {
            self.state = State::Done;
            return Ok(true);
        }
        let (name, value) = field_line(&line)?;
        let name = Bytes::from(name.to_ascii_lowercase());
        let value = Bytes::copy_from_slice(value);
        self.trailers.add(name, value, &self.trailer_limits)?;
        Ok(true)
    }
}

const BAD_SIZE: Refusal = Refusal::BadRequest("chunk size is not 1 to 16 hex digits");

fn hex(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return Err(BAD_SIZE);
    }
    digits.iter().try_fold(0u64, |sum, byte| {
        let digit = char::from(*byte).to_digit(16).ok_or(BAD_SIZE)?;
        Ok(sum << 4 | u64::from(digit))
    })
}

/// Takes one line without its CR LF; `None` when it is not complete and not yet too long.
fn take_line(
    input: &mut BytesMut,
    bytes_max: usize,
    too_long: Refusal,
) -> Result<Option<Bytes>, Refusal> {
    let window = input
        .get(..input.len().min(bytes_max + 2))
        .unwrap_or_default();
    let Some(at) = memchr::memchr(b'\n', window) else {
        return match window.len() > bytes_max + 1 {
            true => Err(too_long),
            false => Ok(None),
        };
    };
    let line = input.split_to(at + 1).freeze();
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(Some(line.slice_ref(text))),
        None => Err(Refusal::BadRequest("a line does not end in CR LF")),
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;

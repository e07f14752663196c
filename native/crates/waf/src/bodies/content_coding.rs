//! Content codings (RFC 9110 §8.4): bodies are decoded for inspection, within bounds; what goes to
//! the backend stays as it came.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::StreamingDecoder;

/// RFC 9659 §3: a Zstandard coding whose window is larger need not be read.
const ZSTD_WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Decoded bytes to which the ratio does not apply: a short text of spaces is no bomb.
const RATIO_FROM_BYTES: usize = 1024 * 1024;
/// Room for decoded bytes grows by this much.
const STEP_BYTES: usize = 16 * 1024;

/// Bounds on what is decoded, and what happens beyond them.
#[derive(Clone, Debug)]
pub struct DecodeLimits {
    /// Decoded bytes of one body, after each coding.
    pub body_bytes_max: usize,
    /// Decoded bytes for one byte as it came.
    pub ratio_max: usize,
    /// Codings of one body.
    pub codings_max: usize,
    /// Decoded bytes of all bodies under inspection.
    pub bodies_bytes_max: usize,
    /// What can not be decoded is inspected as it came, and is no error.
    pub inspect_raw: bool,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 10 * 1024 * 1024,
            ratio_max: 100,
            codings_max: 3,
            bodies_bytes_max: 64 * 1024 * 1024,
            inspect_raw: false,
        }
    }
}

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    UnknownCoding,
    TooManyCodings,
    /// The stream breaks its format, or ends early.
    Broken,
    /// Bytes behind the end of the stream.
    Trailing,
    /// More than one body may decode to.
    TooLarge,
    /// More than all bodies may decode to.
    BudgetExhausted,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UnknownCoding => "unknown coding",
            Self::TooManyCodings => "too many codings",
            Self::Broken => "broken stream",
            Self::Trailing => "bytes behind the end of the stream",
            Self::TooLarge => "decoded body too large",
            Self::BudgetExhausted => "no memory left for decoded bodies",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// What a `Content-Encoding` field says, in the order of the field.
fn codings(field: &[u8]) -> Result<Vec<Coding>, DecodeError> {
    let mut codings = Vec::new();
    for name in field.split(|byte| *byte == b',') {
        // RFC 9110 §8.4.1: names have no case, and x-gzip is gzip.
        codings.push(match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Coding::Gzip,
            b"deflate" => Coding::Deflate,
            b"br" => Coding::Brotli,
            b"zstd" => Coding::Zstd,
            _ => return Err(DecodeError::UnknownCoding),
        });
    }
    Ok(codings)
}

/// The bytes of all decoded bodies together. A reservation ends with the value that holds it.
static DECODED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A decoded body's share of the memory for decoded bodies.
#[derive(Debug)]
struct Reservation(usize);

impl Reservation {
    fn grow(&mut self, bytes: usize, max: usize) -> Result<(), DecodeError> {
        let before = DECODED_BYTES.fetch_add(bytes, Ordering::Relaxed);
        self.0 += bytes;
        match before.saturating_add(bytes) > max {
            true => Err(DecodeError::BudgetExhausted),
            false => Ok(()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        DECODED_BYTES.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Decoded bytes that count in the budget as long as they are held.
struct Held {
    bytes: Vec<u8>,
    _share: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body to be decoded.
pub struct Encoded<'a> {
    /// The value of `Content-Encoding`, several fields joined by commas.
    pub field: &'a [u8],
    pub bytes: &'a Bytes,
    pub extent: Extent,
}

/// How much of a body must be decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// All of it, to the end of the stream.
    Whole,
    /// What its beginning gives: the rest has not come.
    Received,
    /// What its beginning gives, as far as the bounds allow.
    Prefix,
}

/// The body without its codings; itself when it has none.
pub fn decode(body: &Encoded<'_>, limits: &DecodeLimits) -> Result<Bytes, DecodeError> {
    if body.bytes.is_empty() {
        return Ok(Bytes::new());
    }
    let codings = codings(body.field)?;
    if codings.len() > limits.codings_max {
        return Err(DecodeError::TooManyCodings);
    }
    if codings.is_empty() {
        return Ok(body.bytes.clone());
    }
    let by_ratio = body.bytes.len().saturating_mul(limits.ratio_max);
    let mut output = Output {
        bytes: Vec::new(),
        max: limits.body_bytes_max.min(by_ratio.max(RATIO_FROM_BYTES)),
        reservation: Reservation(0),
        budget: limits.bodies_bytes_max,
    };
    // The last coding was applied last. Each output has its own share until the next one is done.
    let mut held: Option<(Vec<u8>, Reservation)> = None;
    for coding in codings.into_iter().rev() {
        let input = held.as_ref().map_or(body.bytes.as_ref(), |held| &held.0);
        let outcome = output.decode(coding, input);
        match (body.extent, outcome) {
            (Extent::Received | Extent::Prefix, Err(DecodeError::Broken))
            | (Extent::Prefix, Err(DecodeError::TooLarge)) => {}
            (_, outcome) => outcome?,
        }
        held = Some(output.take());
    }
    Ok(held.map_or_else(Bytes::new, |(bytes, _share)| {
        Bytes::from_owner(Held { bytes, _share })
    }))
}

/// Where decoded bytes go, with the bounds on them.
struct Output {
    bytes: Vec<u8>,
    max: usize,
    reservation: Reservation,
    budget: usize,
}

impl Output {
    fn take(&mut self) -> (Vec<u8>, Reservation) {
        let bytes = std::mem::take(&mut self.bytes);
        let reservation = std::mem::replace(&mut self.reservation, Reservation(0));
        (bytes, reservation)
    }

    fn decode(&mut self, coding: Coding, input: &[u8]) -> Result<(), DecodeError> {
        match coding {
            Coding::Gzip => self.gzip(input),
            Coding::Deflate => self.deflate(input),
            Coding::Brotli => self.brotli(input),
            Coding::Zstd => self.zstd(input),
        }
    }

    /// RFC 1952 §2.2: a file is one member or several.
    fn gzip(&mut self, mut input: &[u8]) -> Result<(), DecodeError> {
        let mut members = 0;
        while !input.is_empty() {
            if members > 0 && !input.starts_with(&[0x1f, 0x8b]) {
                return Err(DecodeError::Trailing);
            }
            let mut decoder = GzDecoder::new(input);
            self.read(&mut decoder)?;
            input = decoder.into_inner();
            members += 1;
        }
        Ok(())
    }

    /// RFC 9110 §8.4.1.2: the zlib format; clients that send bare deflate are known to exist.
    fn deflate(&mut self, input: &[u8]) -> Result<(), DecodeError> {
        let mut stream = Decompress::new(is_zlib(input));
        let mut piece = [0; STEP_BYTES];
        let mut rest = input;
        loop {
            let (read, written) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(rest, &mut piece, FlushDecompress::None);
            let status = status.map_err(|_| DecodeError::Broken)?;
            let read = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(stream.total_out() - written).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            self.push(piece.get(..written).unwrap_or_default())?;
            match status {
                Status::StreamEnd => return end(rest),
                _ if read == 0 && written == 0 => return Err(DecodeError::Broken),
                _ => {}
            }
        }
    }

    fn brotli(&mut self, input: &[u8]) -> Result<(), DecodeError> {
        let alloc = StandardAlloc::default;
        let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
        let (mut left, mut at, mut total) = (input.len(), 0, 0);
        loop {
            let mut piece = [0; STEP_BYTES];
            let (mut room, mut filled) = (piece.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                input,
                &mut room,
                &mut filled,
                &mut piece,
                &mut total,
                &mut state,
            );
            self.push(piece.get(..filled).unwrap_or_default())?;
            match result {
                BrotliResult::ResultSuccess => break,
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput | BrotliResult::ResultFailure => {
                    return Err(DecodeError::Broken);
                }
            }
        }
        end(input.get(at..).unwrap_or_default())
    }

    /// RFC 8878 §3: one frame or several.
    fn zstd(&mut self, mut input: &[u8]) -> Result<(), DecodeError> {
        let mut frames = 0;
        while !input.is_empty() {
            if frames > 0 && !input.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                return Err(DecodeError::Trailing);
            }
            let decoder = StreamingDecoder::new_with_max_window_size(input, ZSTD_WINDOW_BYTES_MAX);
            let mut decoder = decoder.map_err(|_| DecodeError::Broken)?;
            self.read(&mut decoder)?;
            let state = &decoder.decoder;
            let sum = state.get_checksum_from_data();
            if sum.is_some() && sum != state.get_calculated_checksum() {
                return Err(DecodeError::Broken);
            }
            input = decoder.into_inner();
            frames += 1;
        }
        Ok(())
    }

    fn read(&mut self, reader: &mut impl Read) -> Result<(), DecodeError> {
        let mut piece = [0; STEP_BYTES];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => self.push(piece.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(DecodeError::Broken),
            }
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        let room = self.max.saturating_sub(self.bytes.len());
        let fits = piece.get(..room).unwrap_or(piece);
        self.reservation.grow(fits.len(), self.budget)?;
        self.bytes.extend_from_slice(fits);
        if piece.len() > room {
            Err(DecodeError::TooLarge)
        } else {
            Ok(())
        }
    }
}

fn end(rest: &[u8]) -> Result<(), DecodeError> {
    match rest {
        [] => Ok(()),
        _ => Err(DecodeError::Trailing),
    }
}

/// RFC 1950 §2.2: method 8, a window of at most 32 KiB, and a check.
fn is_zlib(input: &[u8]) -> bool {
    match input {
        [method, flags, ..] => {
            let check = u16::from_be_bytes([*method, *flags]) % 31;
            method & 0x0f == 8 && method >> 4 <= 7 && check == 0
        }
        _ => false,
    }
}

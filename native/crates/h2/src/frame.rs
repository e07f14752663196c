//! Frames (RFC 9113 §4, §6) and error codes (§7).

use bytes::{BufMut, BytesMut};

/// Bytes before the payload of every frame.
pub const HEADER_BYTES: usize = 9;
/// SETTINGS_MAX_FRAME_SIZE as it is at first, which we never raise.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;

/// An error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // RFC 9113 §7
pub enum Reason {
    NoError = 0x0,
    Protocol = 0x1,
    Internal = 0x2,
    FlowControl = 0x3,
    StreamClosed = 0x5,
    FrameSize = 0x6,
    RefusedStream = 0x7,
    Cancel = 0x8,
    Compression = 0x9,
    EnhanceYourCalm = 0xb,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// RFC 9218 §7.1.
    PriorityUpdate,
    Unknown,
}

impl Kind {
    fn of(number: u8) -> Kind {
        match number {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            0x10 => Kind::PriorityUpdate,
            _ => Kind::Unknown,
        }
    }

    fn number(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::RstStream => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::PriorityUpdate => 0x10,
            Kind::Unknown => 0xff,
        }
    }
}

/// END_STREAM of DATA and HEADERS; ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 0x1;
/// See [`END_STREAM`].
pub const ACK: u8 = 0x1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 0x4;
/// PADDED.
pub const PADDED: u8 = 0x8;
/// PRIORITY of HEADERS.
pub const PRIORITY: u8 = 0x20;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub kind: Kind,
    pub flags: u8,
    pub stream: u32,
}

impl Header {
    /// The frame that `input` begins with; `None` while its header is not there.
    pub fn read(input: &[u8]) -> Option<Header> {
        let &[a, b, c, kind, flags, s0, s1, s2, s3] = input.first_chunk::<HEADER_BYTES>()?;
        Some(Header {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::of(kind),
            flags,
            // §4.1: the reserved bit is ignored.
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The header as it is sent.
    pub fn bytes(&self) -> [u8; HEADER_BYTES] {
        let [_, a, b, c] = u32::try_from(self.length).unwrap_or(0).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind.number(), self.flags, s0, s1, s2, s3]
    }

    /// Appends the header.
    pub fn write(&self, output: &mut BytesMut) {
        output.put_slice(&self.bytes());
    }
}

/// Appends a frame with a payload that is at hand.
pub fn put(output: &mut BytesMut, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    output.reserve(HEADER_BYTES + payload.len());
    let length = payload.len();
    let header = Header {
        length,
        kind,
        flags,
        stream,
    };
    header.write(output);
    output.put_slice(payload);
}

/// The first four bytes of `payload` as a number.
pub fn number(payload: &[u8]) -> Option<u32> {
    payload
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        for kind in 0..=0x10u8 {
            let header = Header {
                length: 0x01_0203,
                kind: Kind::of(kind),
                flags: 0x2d,
                stream: 0x7fff_fffe,
            };
            let mut output = BytesMut::new();
            header.write(&mut output);
            assert_eq!(Header::read(&output), Some(header));
            assert_eq!(Header::read(&output[..8]), None);
        }
    }
}

//! SETTINGS (RFC 9113 §6.5): ours, and what the peer said.

use crate::Limits;
use crate::frame::{self, Kind, Reason};
use bytes::{BufMut, BytesMut};

/// Largest window (§6.9.1).
pub const WINDOW_MAX: i64 = 0x7fff_ffff;
/// A window before anybody said otherwise.
pub const WINDOW_DEFAULT: i64 = 65_535;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 §3.
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Appends our SETTINGS.
pub fn announce(limits: &Limits, output: &mut BytesMut) {
    let list = u32::try_from(limits.head.bytes_max).unwrap_or(u32::MAX);
    let mut payload = BytesMut::with_capacity(24);
    for (name, value) in [
        (MAX_CONCURRENT_STREAMS, limits.streams_max),
        (INITIAL_WINDOW_SIZE, limits.stream_window),
        (MAX_HEADER_LIST_SIZE, list),
        (ENABLE_CONNECT_PROTOCOL, 1),
    ] {
        payload.put_u16(name);
        payload.put_u32(value);
    }
    frame::put(output, Kind::Settings, 0, 0, &payload);
}

/// What a peer asked for in one frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub header_table_bytes: Option<u32>,
    pub initial_window: Option<i64>,
    pub frame_bytes_max: Option<usize>,
}

/// Reads a SETTINGS payload; what we do not know is ignored (§6.5.2).
pub fn read(payload: &[u8]) -> Result<Asked, (Reason, &'static str)> {
    let (entries, []) = payload.as_chunks::<6>() else {
        return Err((Reason::FrameSize, "SETTINGS of odd length"));
    };
    let mut asked = Asked::default();
    for &[n0, n1, v0, v1, v2, v3] in entries {
        let value = u32::from_be_bytes([v0, v1, v2, v3]);
        match u16::from_be_bytes([n0, n1]) {
            HEADER_TABLE_SIZE => asked.header_table_bytes = Some(value),
            ENABLE_PUSH | ENABLE_CONNECT_PROTOCOL if value > 1 => {
                return Err((Reason::Protocol, "a SETTINGS flag that is neither 0 nor 1"));
            }
            INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                return Err((Reason::FlowControl, "SETTINGS_INITIAL_WINDOW_SIZE"));
            }
            INITIAL_WINDOW_SIZE => asked.initial_window = Some(i64::from(value)),
            MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                return Err((Reason::Protocol, "SETTINGS_MAX_FRAME_SIZE"));
            }
            MAX_FRAME_SIZE => asked.frame_bytes_max = Some(value as usize),
            _ => {}
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_ranges() {
        let entry = |name: u8, value: u32| {
            let mut payload = vec![0, name];
            payload.extend(value.to_be_bytes());
            payload
        };
        let cases = [
            (entry(2, 1), None),
            (entry(2, 2), Some(Reason::Protocol)),
            (entry(8, 3), Some(Reason::Protocol)),
            (entry(4, 0x7fff_ffff), None),
            (entry(4, 0x8000_0000), Some(Reason::FlowControl)),
            (entry(5, 16_383), Some(Reason::Protocol)),
            (entry(5, 16_777_216), Some(Reason::Protocol)),
            (entry(0x99, 7), None),
            (vec![0; 5], Some(Reason::FrameSize)),
        ];
        for (payload, expected) in cases {
            assert_eq!(
                read(&payload).err().map(|error| error.0),
                expected,
                "{payload:?}"
            );
        }
        assert_eq!(read(&entry(4, 3)).unwrap().initial_window, Some(3));
    }
}

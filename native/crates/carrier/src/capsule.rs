//! Capsules (RFC 9297 §3.2) and what is in those of type DATAGRAM (§3.5): one UDP packet after its
//! context id (RFC 9298 §4).

use bytes::{Buf, BufMut, BytesMut};

/// RFC 9297 §3.5.
const DATAGRAM: u64 = 0;
/// UDP packets as they are (RFC 9298 §4); all other contexts belong to extensions.
pub const UDP_CONTEXT: u64 = 0;

/// Why a stream of capsules cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A DATAGRAM that no packet of a device is as long as.
    TooLong,
    /// A DATAGRAM without a context id.
    NoContext,
}

/// Reads a variable-length integer (RFC 9000 §16): its value and its length. `None`: there is more
/// to come.
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1 << (first >> 6);
    let rest = bytes.get(1..length)?;
    let begin = u64::from(first & 0x3f);
    let value = rest
        .iter()
        .fold(begin, |value, byte| (value << 8) | u64::from(*byte));
    Some((value, length))
}

/// Writes one, as short as it can be.
pub fn put_varint(out: &mut impl BufMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Writes a UDP packet in a capsule of its own.
pub fn put_datagram(out: &mut BytesMut, packet: &[u8]) {
    put_varint(out, DATAGRAM);
    put_varint(out, packet.len() as u64 + 1);
    put_varint(out, UDP_CONTEXT);
    out.put_slice(packet);
}

/// Capsules out of a stream's bytes.
pub struct Capsules {
    packet_bytes_max: usize,
    /// A capsule that is not whole yet.
    rest: BytesMut,
    /// So much is left of one that is not for us.
    skipped: u64,
}

/// What is at the beginning of some bytes.
enum Found<'a> {
    More,
    /// Of another type, and so long.
    Other(usize, u64),
    Datagram(usize, &'a [u8]),
}

impl Capsules {
    pub fn new(packet_bytes_max: usize) -> Capsules {
        Capsules {
            packet_bytes_max,
            rest: BytesMut::new(),
            skipped: 0,
        }
    }

    /// Whether the stream may end here.
    pub fn is_between(&self) -> bool {
        self.rest.is_empty() && self.skipped == 0
    }

    /// Gives each packet that is whole by now. Those of contexts that nobody made known are dropped
    /// (RFC 9298 §4), and so are capsules of other types (RFC 9297 §3.2).
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Fault> {
        if self.rest.is_empty() {
            let used = self.read(bytes, &mut each)?;
            self.rest
                .extend_from_slice(bytes.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.rest);
        held.extend_from_slice(bytes);
        let used = self.read(&held, &mut each)?;
        held.advance(used);
        self.rest = held;
        Ok(())
    }

    fn read(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, Fault> {
        let mut left = bytes;
        loop {
            let skipped = self.skipped.min(left.len() as u64);
            self.skipped -= skipped;
            left = left.get(skipped as usize..).unwrap_or_default();
            let used = match self.first(left)? {
                Found::More => return Ok(bytes.len() - left.len()),
                Found::Other(used, length) => {
                    self.skipped = length;
                    used
                }
                Found::Datagram(used, value) => {
                    let (context, length) = varint(value).ok_or(Fault::NoContext)?;
                    if context == UDP_CONTEXT {
                        each(value.get(length..).unwrap_or_default());
                    }
                    used
                }
            };
            left = left.get(used..).unwrap_or_default();
        }
    }

    fn first<'a>(&self, bytes: &'a [u8]) -> Result<Found<'a>, Fault> {
        let Some((kind, at)) = varint(bytes) else {
            return Ok(Found::More);
        };
        let Some((length, more)) = varint(bytes.get(at..).unwrap_or_default()) else {
            return Ok(Found::More);
        };
        let at = at + more;
        if kind != DATAGRAM {
            return Ok(Found::Other(at, length));
        }
        // A context id is eight bytes at most.
        if length > (self.packet_bytes_max + size_of::<u64>()) as u64 {
            return Err(Fault::TooLong);
        }
        let end = at + length as usize;
        Ok(bytes
            .get(at..end)
            .map_or(Found::More, |value| Found::Datagram(end, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(capsules: &mut Capsules, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        let mut all = Vec::new();
        capsules.take(bytes, |packet| all.push(packet.to_vec()))?;
        Ok(all)
    }

    #[test]
    fn integers_are_read_as_the_standard_writes_them() {
        // RFC 9000 §A.1
        let cases: [(&[u8], u64); 5] = [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, value) in cases {
            assert_eq!(varint(bytes), Some((value, bytes.len())));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
        }
        for value in [0, 63, 64, 16_383, 16_384, 1 << 29, 1 << 30, (1 << 62) - 1] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(varint(&out), Some((value, out.len())));
        }
    }

    #[test]
    fn packets_come_out_as_they_went_in_however_the_stream_is_cut() {
        let mut stream = BytesMut::new();
        let packets: Vec<Vec<u8>> = [0, 1, 62, 63, 64, 1452].map(|n| vec![n as u8; n]).to_vec();
        for packet in &packets {
            put_datagram(&mut stream, packet);
            // One of another type, and one of another context.
            stream.put_slice(&[0x19, 3, 1, 2, 3]);
            stream.put_slice(&[0, 2, 2, 9]);
        }
        for step in 1..stream.len() {
            let mut capsules = Capsules::new(1500);
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                got.extend(taken(&mut capsules, piece).unwrap());
                // Type, length and context id, each at its longest.
                assert!(capsules.rest.len() <= 1500 + 3 * size_of::<u64>());
            }
            assert_eq!(got, packets);
            assert!(capsules.is_between());
        }
    }

    #[test]
    fn what_is_not_whole_is_known_to_be() {
        for bytes in [&[0u8][..], &[0, 5], &[0, 3, 0, 1], &[0x19, 4, 1]] {
            let mut capsules = Capsules::new(1500);
            assert_eq!(taken(&mut capsules, bytes), Ok(vec![]));
            assert!(!capsules.is_between(), "{bytes:?}");
        }
    }

    #[test]
    fn capsules_that_no_device_sends_end_the_stream() {
        let long = [0, 0x80, 0, 0x10, 0];
        assert_eq!(taken(&mut Capsules::new(1500), &long), Err(Fault::TooLong));
        assert_eq!(
            taken(&mut Capsules::new(1500), &[0, 0]),
            Err(Fault::NoContext)
        );
        assert_eq!(
            taken(&mut Capsules::new(1500), &[0, 1, 0x40]),
            Err(Fault::NoContext)
        );
        // A long one of another type is passed over without keeping it.
        let mut capsules = Capsules::new(1500);
        assert_eq!(taken(&mut capsules, &[0x19, 0x80, 1, 0, 0]), Ok(vec![]));
        for _ in 0..64 {
            assert_eq!(taken(&mut capsules, &[7; 1024]), Ok(vec![]));
            assert!(capsules.rest.is_empty());
        }
        assert_eq!(taken(&mut capsules, &[0, 2, 0, 9]), Ok(vec![vec![9]]));
    }

    #[test]
    fn whatever_comes_is_read_or_refused_and_little_is_kept() {
        let mut random = edge_trials::Random::default();
        for _ in 0..20_000 {
            let mut capsules = Capsules::new(64);
            for _ in 0..4 {
                // Small numbers are the ones that mean something.
                let length = random.below(96);
                let bytes = std::iter::repeat_with(|| match random.below(3) {
                    0 => random.byte(),
                    1 => 0,
                    _ => random.byte() & 0x47,
                });
                let bytes: Vec<u8> = bytes.take(length).collect();
                let Ok(packets) = taken(&mut capsules, &bytes) else {
                    break;
                };
                assert!(packets.iter().all(|packet| packet.len() < 64 + 8));
                assert!(capsules.rest.len() <= 64 + 3 * size_of::<u64>());
            }
        }
    }
}

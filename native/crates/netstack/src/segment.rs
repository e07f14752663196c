//! TCP segments (RFC 9293 §3.1) with the options that are used here: the segment size, the window's
//! scale (RFC 7323 §2) and selective acknowledgements (RFC 2018). No timestamps: WireGuard refuses
//! packets that are as old as those that they protect against.

use crate::packet::{self, Packet, TCP, u16_at, u32_at};
use bytes::{BufMut, BytesMut};
use std::net::SocketAddr;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// A head without options.
pub const HEAD_BYTES: usize = 20;
/// Blocks of selective acknowledgements that fit beside nothing else.
pub const SACKS_MAX: usize = 4;
/// RFC 7323 §2.3.
const SCALE_MAX: u8 = 14;

/// What both sides say once, with their SYN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    pub segment_bytes: Option<u16>,
    pub scale: Option<u8>,
    pub sack: bool,
}

/// Blocks that arrived, each with the sequence numbers of its start and its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sacks {
    blocks: [(u32, u32); SACKS_MAX],
    count: usize,
}

impl Sacks {
    /// Beyond `SACKS_MAX`, further ones are not told.
    pub fn push(&mut self, block: (u32, u32)) {
        if let Some(place) = self.blocks.get_mut(self.count) {
            *place = block;
            self.count += 1;
        }
    }

    pub fn all(&self) -> &[(u32, u32)] {
        self.blocks.get(..self.count).unwrap_or_default()
    }
}

/// A segment that came, or the head of one that goes.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    pub source: SocketAddr,
    pub target: SocketAddr,
    pub flags: u8,
    pub sequence: u32,
    pub acknowledged: u32,
    pub window: u16,
    pub terms: Terms,
    pub sacks: Sacks,
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// None for what is no segment, or has a wrong checksum.
    pub fn parse(packet: &Packet<'a>) -> Option<Segment<'a>> {
        let bytes = packet.payload;
        let length = usize::from(bytes.get(12)? >> 4) * 4;
        let options = bytes.get(HEAD_BYTES..length)?;
        let sum = packet::pseudo_sum(packet.source, packet.target, TCP, bytes.len());
        if packet.protocol != TCP || sum.add(bytes).finish() != [0, 0] {
            return None;
        }
        let mut segment = Segment {
            source: SocketAddr::new(packet.source, u16_at(bytes, 0)?),
            target: SocketAddr::new(packet.target, u16_at(bytes, 2)?),
            flags: *bytes.get(13)?,
            sequence: u32_at(bytes, 4)?,
            acknowledged: u32_at(bytes, 8)?,
            window: u16_at(bytes, 14)?,
            terms: Terms::default(),
            sacks: Sacks::default(),
            payload: bytes.get(length..)?,
        };
        segment.read_options(options);
        Some(segment)
    }

    /// Reads what is well-formed; the rest of a malformed list is not looked at.
    fn read_options(&mut self, mut options: &[u8]) {
        while let [kind, rest @ ..] = options {
            match (kind, rest) {
                (0, _) => return,
                (1, _) => options = rest,
                (_, [length, ..]) => {
                    let length = usize::from(*length);
                    let Some(value) = options.get(2..length) else {
                        return;
                    };
                    self.read_option(*kind, value);
                    options = options.get(length..).unwrap_or_default();
                }
                _ => return,
            }
        }
    }

    fn read_option(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (2, [high, low]) => {
                self.terms.segment_bytes = Some(u16::from_be_bytes([*high, *low]));
            }
            (3, [scale]) => self.terms.scale = Some((*scale).min(SCALE_MAX)),
            (4, []) => self.terms.sack = true,
            (5, blocks) => {
                for block in blocks.chunks_exact(8) {
                    if let (Some(start), Some(end)) = (u32_at(block, 0), u32_at(block, 4)) {
                        self.sacks.push((start, end));
                    }
                }
            }
            _ => {}
        }
    }

    /// The packet; its payload is two pieces one after the other, `self.payload` is not looked at.
    pub fn build(&self, (first, second): (&[u8], &[u8])) -> BytesMut {
        let options = self.options();
        let (source, target) = (self.source.ip(), self.target.ip());
        let head = HEAD_BYTES + options.len();
        let length = head + first.len() + second.len();
        let mut packet = packet::begin(source, target, TCP, length);
        packet.put_u16(self.source.port());
        packet.put_u16(self.target.port());
        packet.put_u32(self.sequence);
        packet.put_u32(self.acknowledged);
        // A head is at most 60 bytes.
        packet.put_u8(u8::try_from(head / 4).unwrap_or_default() << 4);
        packet.put_u8(self.flags);
        packet.put_u16(self.window);
        packet.put_u32(0);
        packet.put_slice(&options);
        packet.put_slice(first);
        packet.put_slice(second);
        let sum = packet::pseudo_sum(source, target, TCP, length);
        packet::seal(&mut packet, (sum, packet::head_bytes(source)), 16);
        packet
    }

    fn options(&self) -> Vec<u8> {
        let mut options = Vec::new(); // allocates nothing while there are none
        if let Some(bytes) = self.terms.segment_bytes {
            options.put_slice(&[2, 4]);
            options.put_u16(bytes);
        }
        if let Some(scale) = self.terms.scale {
            options.put_slice(&[1, 3, 3, scale]);
        }
        if self.terms.sack {
            options.put_slice(&[1, 1, 4, 2]);
        }
        let blocks = self.sacks.all();
        if !blocks.is_empty() {
            let length = 2 + 8 * blocks.len();
            options.put_slice(&[1, 1, 5, u8::try_from(length).unwrap_or_default()]);
            for (start, end) in blocks {
                options.put_u32(*start);
                options.put_u32(*end);
            }
        }
        options
    }

    /// The refusal of this segment (RFC 9293 §3.10.7.1); None for a refusal.
    pub fn reset(&self) -> Option<BytesMut> {
        if self.has(RST) {
            return None;
        }
        let length = self.payload.len() + usize::from(self.has(SYN)) + usize::from(self.has(FIN));
        let length = u32::try_from(length).unwrap_or_default();
        let (flags, sequence, acknowledged) = if self.has(ACK) {
            (RST, self.acknowledged, 0)
        } else {
            (RST | ACK, 0, self.sequence.wrapping_add(length))
        };
        let refusal = Segment {
            source: self.target,
            target: self.source,
            flags,
            sequence,
            acknowledged,
            window: 0,
            terms: Terms::default(),
            sacks: Sacks::default(),
            payload: &[],
        };
        Some(refusal.build((&[], &[])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Segment<'static> {
        let mut sacks = Sacks::default();
        for start in [10, 30, 50, 70, 90] {
            sacks.push((start, start + 5));
        }
        Segment {
            source: "10.0.0.1:1000".parse().unwrap(),
            target: "10.0.0.2:2000".parse().unwrap(),
            flags: ACK | PSH,
            sequence: 7,
            acknowledged: 8,
            window: 9,
            terms: Terms::default(),
            sacks,
            payload: &[],
        }
    }

    #[test]
    fn what_is_built_is_read_again() {
        let terms = Terms {
            segment_bytes: Some(1380),
            scale: Some(5),
            sack: true,
        };
        let syn = Segment {
            flags: SYN,
            terms,
            sacks: Sacks::default(),
            ..segment()
        };
        for (given, first, second) in [(segment(), "ab", "c"), (syn, "", "")] {
            let bytes = given.build((first.as_bytes(), second.as_bytes()));
            let packet = packet::parse(&bytes).unwrap();
            let read = Segment::parse(&packet).unwrap();
            assert_eq!((read.source, read.target), (given.source, given.target));
            assert_eq!((read.sequence, read.acknowledged, read.window), (7, 8, 9));
            assert_eq!(
                (read.flags, read.terms, read.sacks),
                (given.flags, given.terms, given.sacks)
            );
            assert_eq!(read.payload, [first, second].concat().as_bytes());
            assert!(read.sacks.all().len() <= SACKS_MAX);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_it_no_segment() {
        let good = segment().build((b"abc", b""));
        for at in 20..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            let packet = packet::parse(&bad).unwrap();
            assert!(Segment::parse(&packet).is_none(), "{at}");
        }
    }

    #[test]
    fn options_that_lie_about_their_length_end_the_list() {
        let lists: [&[u8]; 5] = [
            &[2, 0],
            &[2, 1, 0],
            &[2, 40, 1],
            &[3],
            &[5, 9, 1, 1, 1, 1, 1, 1, 1],
        ];
        for list in lists {
            let mut read = Segment {
                sacks: Sacks::default(),
                ..segment()
            };
            read.read_options(list);
            assert_eq!(
                (read.terms, read.sacks),
                (Terms::default(), Sacks::default()),
                "{list:?}"
            );
        }
        let mut read = segment();
        read.read_options(&[1, 3, 3, 200]);
        assert_eq!(read.terms.scale, Some(SCALE_MAX));
    }

    #[test]
    fn a_refusal_fits_what_it_refuses() {
        let syn = Segment {
            flags: SYN,
            ..segment()
        };
        let bytes = syn.reset().unwrap();
        let packet = packet::parse(&bytes).unwrap();
        let read = Segment::parse(&packet).unwrap();
        assert_eq!(
            (read.flags, read.sequence, read.acknowledged),
            (RST | ACK, 0, 8)
        );
        let bytes = segment().reset().unwrap();
        let packet = packet::parse(&bytes).unwrap();
        let read = Segment::parse(&packet).unwrap();
        assert_eq!((read.flags, read.sequence), (RST, 8));
        assert!(
            Segment {
                flags: RST,
                ..segment()
            }
            .reset()
            .is_none()
        );
    }
}

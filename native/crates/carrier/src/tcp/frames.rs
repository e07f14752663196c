//! Packets in a stream of bytes: each after its length, in two bytes (RFC 4571 §2).

use bytes::{Buf, BufMut, BytesMut};

const LENGTH_BYTES: usize = 2;

/// A frame that no packet of a device is as long as.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Writes a packet, which is known to be short enough.
pub fn put_frame(out: &mut BytesMut, packet: &[u8]) {
    out.put_u16(packet.len() as u16);
    out.put_slice(packet);
}

/// Packets out of a stream's bytes.
pub struct Frames {
    packet_bytes_max: usize,
    /// A frame that is not whole yet.
    rest: BytesMut,
}

impl Frames {
    pub fn new(packet_bytes_max: usize) -> Frames {
        Frames {
            packet_bytes_max,
            rest: BytesMut::new(),
        }
    }

    /// Gives each packet that is whole by now; empty ones say nothing.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), TooLong> {
        let mut left = bytes;
        if !self.rest.is_empty() {
            left = self.finish(left, &mut each)?;
        }
        while let Some(end) = self.first_end(left)? {
            give(left.get(..end), &mut each);
            left = left.get(end..).unwrap_or_default();
        }
        self.rest.extend_from_slice(left);
        Ok(())
    }

    /// Completes the frame that began before; what is left after it.
    fn finish<'a>(
        &mut self,
        mut left: &'a [u8],
        each: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], TooLong> {
        loop {
            let wanted = match self.first_end(&self.rest)? {
                Some(end) => {
                    give(self.rest.get(..end), each);
                    self.rest.advance(end);
                    return Ok(left);
                }
                None => self.wanted(),
            };
            let (now, later) = left.split_at(wanted.min(left.len()));
            if now.is_empty() {
                return Ok(left);
            }
            self.rest.extend_from_slice(now);
            left = later;
        }
    }

    /// How much of the frame is missing, as far as is known.
    fn wanted(&self) -> usize {
        let whole = length_of(&self.rest).map_or(0, usize::from) + LENGTH_BYTES;
        whole - self.rest.len().min(whole)
    }

    /// Where the first frame ends; `None`: it is not whole.
    fn first_end(&self, bytes: &[u8]) -> Result<Option<usize>, TooLong> {
        let Some(length) = length_of(bytes).map(usize::from) else {
            return Ok(None);
        };
        if length > self.packet_bytes_max {
            return Err(TooLong);
        }
        let end = LENGTH_BYTES + length;
        Ok((bytes.len() >= end).then_some(end))
    }
}

fn length_of(bytes: &[u8]) -> Option<u16> {
    let first = bytes.get(..LENGTH_BYTES)?;
    Some(u16::from_be_bytes(first.try_into().ok()?))
}

fn give(frame: Option<&[u8]>, each: &mut impl FnMut(&[u8])) {
    match frame.and_then(|frame| frame.get(LENGTH_BYTES..)) {
        None | Some([]) => {}
        Some(packet) => each(packet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(frames: &mut Frames, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut all = Vec::new();
        frames.take(bytes, |packet| all.push(packet.to_vec()))?;
        Ok(all)
    }

    #[test]
    fn packets_come_out_as_they_went_in_however_the_stream_is_cut() {
        let packets: Vec<Vec<u8>> = [1, 2, 255, 256, 257, 1452, 4200]
            .map(|length| vec![(length % 251) as u8; length])
            .to_vec();
        let mut stream = BytesMut::new();
        for packet in &packets {
            put_frame(&mut stream, packet);
            put_frame(&mut stream, &[]);
        }
        assert_eq!(stream.get(..3), Some(&[0, 1, 1][..]));
        for step in 1..stream.len() {
            let mut frames = Frames::new(4200);
            let mut got = Vec::new();
            for piece in stream.chunks(step) {
                got.extend(taken(&mut frames, piece).unwrap());
                assert!(frames.rest.len() < 4200 + LENGTH_BYTES);
            }
            assert_eq!(got, packets);
            assert!(frames.rest.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_longer_than_any_packet_ends_the_stream() {
        assert_eq!(taken(&mut Frames::new(300), &[1, 45]), Err(TooLong));
        assert_eq!(taken(&mut Frames::new(300), &[1, 44]), Ok(vec![]));
        let mut frames = Frames::new(300);
        assert_eq!(taken(&mut frames, &[0, 1, 7, 1]), Ok(vec![vec![7]]));
        assert_eq!(taken(&mut frames, &[45]), Err(TooLong));
    }

    #[test]
    fn whatever_comes_is_read_or_refused_and_little_is_kept() {
        let mut random = edge_trials::Random::default();
        for _ in 0..20_000 {
            let mut frames = Frames::new(64);
            for _ in 0..4 {
                let length = random.below(96);
                let bytes = std::iter::repeat_with(|| match random.below(3) {
                    0 => random.byte() & 0x3f,
                    _ => 0,
                });
                let bytes: Vec<u8> = bytes.take(length).collect();
                let Ok(packets) = taken(&mut frames, &bytes) else {
                    break;
                };
                assert!(packets.iter().all(|packet| packet.len() <= 64));
                assert!(frames.rest.len() < 64 + LENGTH_BYTES);
            }
        }
    }
}

//! Packets that leave in one system call: as many of one length as there are (the last may be
//! shorter), which the kernel or the card cuts apart (GSO).

/// Largest payload of such a train over IPv4 and IPv6, with room to spare.
const BYTES_MAX: usize = 65_000;
/// More than any packet that is put in.
const ROOM: usize = 4_352;

/// A train that is being put together.
pub struct Train {
    bytes: Vec<u8>,
    length: usize,
    segment: usize,
    count: usize,
    segments_max: usize,
}

/// What leaves.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    pub bytes: &'a [u8],
    /// The length of each packet; `None`: it is one.
    pub segment: Option<usize>,
}

impl Train {
    pub fn new(segments_max: usize) -> Train {
        Train {
            bytes: vec![0; BYTES_MAX + ROOM],
            length: 0,
            segment: 0,
            count: 0,
            segments_max: segments_max.max(1),
        }
    }

    /// Where the next packet is to be written.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.length..self.length + ROOM)
            .unwrap_or_default()
    }

    /// A packet of `length` bytes was written there. What has to leave before it can ride goes to
    /// `leave`.
    pub fn add(&mut self, length: usize, mut leave: impl FnMut(Load<'_>)) {
        if self.count > 0 && !self.takes(length) {
            let begin = self.length;
            self.leave(&mut leave);
            self.bytes.copy_within(begin..begin + length, 0);
        }
        if self.count == 0 {
            self.segment = length;
        }
        self.length += length;
        self.count += 1;
    }

    /// Everything leaves.
    pub fn leave(&mut self, mut leave: impl FnMut(Load<'_>)) {
        let (length, count) = (self.length, self.count);
        (self.length, self.count) = (0, 0);
        if count > 0 {
            leave(Load {
                bytes: self.bytes.get(..length).unwrap_or_default(),
                segment: (count > 1).then_some(self.segment),
            });
        }
    }

    fn takes(&self, length: usize) -> bool {
        let is_even = self.length == self.segment * self.count;
        let has_room = self.length + length <= BYTES_MAX && self.count < self.segments_max;
        is_even && has_room && length <= self.segment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trains(lengths: &[usize]) -> Vec<(usize, Option<usize>)> {
        let mut train = Train::new(4);
        let mut left = Vec::new();
        let mut leave = |load: Load<'_>| left.push((load.bytes.len(), load.segment));
        for &length in lengths {
            train.room()[..length].fill(u8::try_from(length % 251).unwrap());
            train.add(length, &mut leave);
        }
        train.leave(&mut leave);
        left
    }

    #[test]
    fn equal_packets_ride_together_and_a_shorter_one_is_the_last() {
        assert_eq!(trains(&[]), []);
        assert_eq!(trains(&[7]), [(7, None)]);
        assert_eq!(trains(&[7, 7, 3]), [(17, Some(7))]);
        assert_eq!(trains(&[7, 3, 7]), [(10, Some(7)), (7, None)]);
        assert_eq!(trains(&[3, 7]), [(3, None), (7, None)]);
        assert_eq!(trains(&[5; 6]), [(20, Some(5)), (10, Some(5))]);
    }

    #[test]
    fn a_packet_that_waits_for_the_next_train_is_whole() {
        let mut train = Train::new(64);
        let mut left: Vec<Vec<u8>> = Vec::new();
        let mut leave = |load: Load<'_>| left.push(load.bytes.to_vec());
        for (length, fill) in [(3, 1), (9, 2), (9, 3), (10, 4)] {
            train.room()[..length].fill(fill);
            train.add(length, &mut leave);
        }
        train.leave(&mut leave);
        assert_eq!(left, [vec![1; 3], [[2; 9], [3; 9]].concat(), vec![4; 10]]);
    }
}

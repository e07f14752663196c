//! The bytes of both directions, by their positions in the stream.

use crate::limits::{EARLY_PIECES_MAX, SEND_BYTES_MAX};
use crate::ranges::{Range, Ranges};
use std::collections::VecDeque;

/// An empty buffer that is larger gives its memory back.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What was written and is not acknowledged.
#[derive(Debug, Default)]
pub struct SendBuffer {
    bytes: VecDeque<u8>,
    start: u64,
}

impl SendBuffer {
    pub fn begin(&mut self, position: u64) {
        self.start = position;
    }

    /// After the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub fn room(&self) -> usize {
        SEND_BYTES_MAX.saturating_sub(self.bytes.len())
    }

    /// Takes as much as there is room for; how much.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.get(..self.room()).unwrap_or(bytes);
        self.bytes.extend(taken);
        taken.len()
    }

    /// Everything below arrived.
    pub fn forget_below(&mut self, position: u64) {
        let count = position
            .saturating_sub(self.start)
            .min(self.bytes.len() as u64);
        self.bytes.drain(..count as usize);
        self.start += count;
        give_back(&mut self.bytes);
    }

    /// At most `length` bytes from `position` on, in two pieces.
    pub fn piece(&self, position: u64, length: usize) -> (&[u8], &[u8]) {
        let from = (position.saturating_sub(self.start) as usize).min(self.bytes.len());
        let to = (from + length).min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        let first = front.get(from.min(split)..to.min(split));
        let second = back.get(from.saturating_sub(split)..to.saturating_sub(split));
        (first.unwrap_or_default(), second.unwrap_or_default())
    }
}

/// What came and was not read, also what came too early.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    /// From `start` on; holes have zeros.
    bytes: VecDeque<u8>,
    start: u64,
    /// Up to here there is no hole.
    filled: u64,
    early: Ranges,
}

impl ReceiveBuffer {
    pub fn begin(&mut self, position: u64) {
        self.start = position;
        self.filled = position;
    }

    /// The position of the first byte that is missing.
    pub fn next(&self) -> u64 {
        self.filled
    }

    /// Bytes that can be read.
    pub fn readable(&self) -> usize {
        (self.filled - self.start) as usize
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// What came too early, the piece at `position` first.
    pub fn early(&self, position: u64) -> impl Iterator<Item = Range> {
        self.early.newest_first(position)
    }

    /// Takes bytes at a position that is in the window; parts that are here already are skipped.
    pub fn insert(&mut self, position: u64, bytes: &[u8]) {
        let known = self.filled.saturating_sub(position) as usize;
        let Some(bytes) = bytes.get(known..).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        let position = position.max(self.filled);
        let offset = (position - self.start) as usize;
        if position > self.filled {
            let range = (position, position + bytes.len() as u64);
            if self.early.insert(range, EARLY_PIECES_MAX) {
                self.put(offset, bytes);
            }
            return;
        }
        if self.early.is_empty() {
            self.bytes.extend(bytes);
        } else {
            self.put(offset, bytes);
        }
        self.filled += bytes.len() as u64;
        self.early.forget_below(self.filled);
        if let Some(end) = self.early.take_at(self.filled) {
            self.filled = end;
        }
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let (front, back) = self.bytes.as_mut_slices();
        let split = front.len();
        let in_front = bytes.len().min(split.saturating_sub(offset));
        let (first, second) = bytes.split_at(in_front);
        let after = offset.saturating_sub(split);
        if let Some(place) = front
            .get_mut(offset.min(split)..)
            .and_then(|place| place.get_mut(..first.len()))
        {
            place.copy_from_slice(first);
        }
        if let Some(place) = back
            .get_mut(after..)
            .and_then(|place| place.get_mut(..second.len()))
        {
            place.copy_from_slice(second);
        }
    }

    /// Takes out what fits into `length`, by pieces.
    pub fn read(&mut self, length: usize, mut take: impl FnMut(&[u8])) -> usize {
        let count = length.min(self.readable());
        let (front, back) = self.bytes.as_slices();
        let first = front.get(..count.min(front.len())).unwrap_or_default();
        let second = back.get(..count - first.len()).unwrap_or_default();
        take(first);
        take(second);
        self.bytes.drain(..count);
        self.start += count as u64;
        give_back(&mut self.bytes);
        count
    }

    /// Nobody will read it.
    pub fn clear(&mut self) {
        self.bytes = VecDeque::new();
        self.start = self.filled;
        self.early.clear();
    }
}

fn give_back(bytes: &mut VecDeque<u8>) {
    if bytes.is_empty() && bytes.capacity() > KEPT_BYTES_MAX {
        *bytes = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_become_the_stream() {
        let text: Vec<u8> = (0..200).collect();
        // Forwards, backwards, overlapping, twice.
        let orders: [&[(usize, usize)]; 3] = [
            &[(0, 100), (100, 200)],
            &[(150, 200), (100, 160), (50, 100), (0, 60)],
            &[
                (120, 130),
                (120, 130),
                (140, 200),
                (0, 10),
                (5, 125),
                (110, 150),
            ],
        ];
        for order in orders {
            let mut buffer = ReceiveBuffer::default();
            buffer.begin(1000);
            // The ring's seam is somewhere within.
            buffer.bytes = VecDeque::with_capacity(256);
            buffer.bytes.extend([0; 200]);
            buffer.bytes.drain(..200);
            for &(from, to) in order {
                buffer.insert(1000 + from as u64, &text[from..to]);
            }
            assert_eq!((buffer.next(), buffer.readable()), (1200, 200), "{order:?}");
            let mut read = Vec::new();
            while buffer.read(7, |piece| read.extend_from_slice(piece)) > 0 {}
            assert_eq!(read, text, "{order:?}");
        }
    }

    #[test]
    fn too_many_pieces_are_dropped_and_the_stream_stays_right() {
        let mut buffer = ReceiveBuffer::default();
        for piece in 1..1000 {
            buffer.insert(piece * 10, b"x");
        }
        assert!(buffer.held() <= EARLY_PIECES_MAX * 10 + 1);
        buffer.insert(0, &[b'y'; 10]);
        assert_eq!(buffer.readable(), 11);
    }

    #[test]
    fn what_is_written_is_had_again_until_it_arrived() {
        let mut buffer = SendBuffer::default();
        buffer.begin(5);
        assert_eq!(buffer.write(&vec![1; SEND_BYTES_MAX]), SEND_BYTES_MAX);
        assert_eq!(buffer.write(b"more"), 0);
        buffer.forget_below(5 + 100);
        assert_eq!(buffer.write(&[2; 200]), 100);
        assert_eq!(buffer.end(), 105 + SEND_BYTES_MAX as u64);
        let (first, second) = buffer.piece(buffer.end() - 101, 1000);
        assert_eq!([first, second].concat(), [&[1; 1][..], &[2; 100]].concat());
        buffer.forget_below(buffer.end());
        assert_eq!((buffer.bytes.len(), buffer.bytes.capacity()), (0, 0));
    }
}

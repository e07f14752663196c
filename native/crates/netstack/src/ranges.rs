//! Ranges of a stream's positions, apart and in order. Positions are the 32-bit sequence numbers of
//! the wire carried on to 64 bits, so that they compare like numbers.

/// The position that a sequence number of the wire means: the one nearest to `near`.
pub fn position(wire: u32, near: u64) -> u64 {
    // Truncation is meant: the lower half is what the wire has.
    let distance = wire.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(distance))
}

/// From, and up to but without.
pub type Range = (u64, u64);

/// Ranges, none of which touch each other.
#[derive(Debug, Default)]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// Adds a range; false when that would be one too many.
    pub fn insert(&mut self, (start, end): Range, most: usize) -> bool {
        if start >= end {
            return true;
        }
        let from = self.0.partition_point(|range| range.1 < start);
        let to = self.0.partition_point(|range| range.0 <= end);
        if from == to && self.0.len() >= most {
            return false;
        }
        let touched = self.0.get(from..to).unwrap_or_default();
        let first = touched.first().map_or(start, |range| range.0.min(start));
        let last = touched.last().map_or(end, |range| range.1.max(end));
        self.0.splice(from..to, [(first, last)]);
        true
    }

    /// Forgets what lies below.
    pub fn forget_below(&mut self, position: u64) {
        self.0.retain(|range| range.1 > position);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(position);
        }
    }

    /// Takes the range that begins at or below `position` out; its end.
    pub fn take_at(&mut self, position: u64) -> Option<u64> {
        let first = *self.0.first()?;
        if first.0 > position {
            return None;
        }
        self.0.remove(0);
        Some(first.1)
    }

    /// The first hole in `from..to`.
    pub fn hole(&self, from: u64, to: u64) -> Option<Range> {
        let mut start = from;
        for range in &self.0 {
            if range.1 <= start {
                continue;
            }
            if range.0 > start {
                break;
            }
            start = range.1;
        }
        if start >= to {
            return None;
        }
        let next = self.0.iter().map(|range| range.0).find(|&at| at > start);
        Some((start, next.map_or(to, |next| next.min(to))))
    }

    /// How much of `from..to` is in holes.
    pub fn missing(&self, from: u64, to: u64) -> u64 {
        let covered: u64 = self
            .0
            .iter()
            .map(|range| range.1.min(to).saturating_sub(range.0.max(from)))
            .sum();
        to.saturating_sub(from).saturating_sub(covered)
    }

    /// The end of the last one.
    pub fn end(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    /// The start of the first one.
    pub fn start(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The one that holds `position`, then the others from the last to the first.
    pub fn newest_first(&self, position: u64) -> impl Iterator<Item = Range> {
        let holds = move |range: &&Range| range.0 <= position && position < range.1;
        let newest = self.0.iter().find(holds);
        let others = self.0.iter().rev().filter(move |range| !holds(range));
        newest.into_iter().chain(others).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_means_the_position_nearest_by() {
        assert_eq!(position(5, 1 << 32), (1 << 32) + 5);
        assert_eq!(position(u32::MAX, 1 << 32), (1 << 32) - 1);
        assert_eq!(position(0, (1 << 33) - 3), 1 << 33);
    }

    #[test]
    fn ranges_grow_together_and_are_bounded() {
        let mut ranges = Ranges::default();
        assert!(ranges.insert((10, 20), 2));
        assert!(ranges.insert((30, 40), 2));
        assert!(!ranges.insert((50, 60), 2));
        assert!(ranges.insert((40, 45), 2));
        assert_eq!(ranges.missing(10, 45), 10);
        assert_eq!(ranges.hole(10, 45), Some((20, 30)));
        assert_eq!(ranges.hole(30, 45), None);
        assert_eq!(ranges.hole(5, 45), Some((5, 10)));
        assert_eq!(ranges.missing(0, 50), 25);
        assert!(ranges.insert((15, 35), 2));
        assert_eq!((ranges.start(), ranges.end()), (Some(10), Some(45)));
        ranges.forget_below(12);
        assert_eq!(ranges.take_at(11), None);
        assert_eq!(ranges.take_at(12), Some(45));
        assert!(ranges.is_empty());
    }

    #[test]
    fn the_newest_range_comes_first() {
        let mut ranges = Ranges::default();
        for start in [10, 30, 50] {
            ranges.insert((start, start + 5), 8);
        }
        let told: Vec<Range> = ranges.newest_first(31).collect();
        assert_eq!(told, [(30, 35), (50, 55), (10, 15)]);
    }
}

//! The cheap test before an operator: which bytes and how many a matching text must have.

/// A set of byte values, one bit each.
pub type ByteSet = [u64; 4];

/// How many byte sets a gate keeps: each costs four ANDs per text, later ones seldom decide.
const SETS_MAX: usize = 3;

/// Which byte values a text has, as a 256-bit map. Computed once per distinct text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence(pub ByteSet);

impl Presence {
    /// The byte values of this text.
    pub fn of(text: &[u8]) -> Self {
        Self(set_of(text))
    }
}

/// Any matching text has at least one byte of each set, and at least `min_len` bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// At most three byte sets.
    pub sets: Vec<ByteSet>,
    /// Shortest length that can match.
    pub min_len: usize,
}

impl Gate {
    /// The gate that admits everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// Keeps the sets that text seldom has.
    pub(super) fn new(mut sets: Vec<ByteSet>, min_len: usize) -> Self {
        keep_rarest(&mut sets, SETS_MAX);
        Self { sets, min_len }
    }

    /// The gate of an operator that looks for this text.
    pub(super) fn literal(text: &[u8]) -> Self {
        Self::new(
            text.iter().map(|&byte| set_of(&[byte])).collect(),
            text.len(),
        )
    }

    /// Whether a text of this length with these bytes may match; false is certain.
    pub fn admits(&self, presence: &Presence, len: usize) -> bool {
        len >= self.min_len && self.sets.iter().all(|set| meet(set, &presence.0))
    }
}

/// The set of these bytes.
pub fn set_of(bytes: &[u8]) -> ByteSet {
    let mut set = [0u64; 4];
    for &byte in bytes {
        // A row of the table, as setting one bit would wait for the bit before it.
        if let Some(row) = ROWS.get(usize::from(byte)) {
            set = union(&set, row);
        }
    }
    set
}

/// The set of each byte value alone.
static ROWS: [ByteSet; 256] = rows();

const fn rows() -> [ByteSet; 256] {
    let mut all = [[0; 4]; 256];
    let mut rest: &mut [ByteSet] = &mut all;
    let mut byte = 0u32;
    while let Some(([a, b, c, d], tail)) = rest.split_first_mut() {
        let word = match byte / 64 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        *word = 1 << (byte % 64);
        byte += 1;
        rest = tail;
    }
    all
}

/// The set of the bytes that satisfy a condition.
pub fn set_where(holds: impl Fn(u8) -> bool) -> ByteSet {
    let mut set = [0u64; 4];
    (0..=u8::MAX)
        .filter(|&byte| holds(byte))
        .for_each(|byte| insert(&mut set, byte));
    set
}

/// Adds one byte.
pub(super) fn insert(set: &mut ByteSet, byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte >> 6)) {
        *word |= 1 << (byte & 63);
    }
}

/// The bytes of either set.
pub fn union(left: &ByteSet, right: &ByteSet) -> ByteSet {
    let [a, b, c, d] = left;
    let [e, f, g, h] = right;
    [a | e, b | f, c | g, d | h]
}

/// Whether a set has this byte.
pub(super) fn contains(set: &ByteSet, byte: u8) -> bool {
    set.get(usize::from(byte >> 6))
        .is_some_and(|word| word >> (byte & 63) & 1 == 1)
}

/// Whether two sets have a byte in common.
pub fn meet(left: &ByteSet, right: &ByteSet) -> bool {
    let [a, b, c, d] = left;
    let [e, f, g, h] = right;
    (a & e) | (b & f) | (c & g) | (d & h) != 0
}

/// Leaves the `count` sets that are rarest in benign text, without repeats and full sets.
pub(super) fn keep_rarest(sets: &mut Vec<ByteSet>, count: usize) {
    sets.retain(|set| *set != [u64::MAX; 4]);
    sets.sort_unstable_by_key(|set| (weight(set), *set));
    sets.dedup();
    sets.truncate(count);
}

/// How likely benign text has a byte of the set: letters and digits weigh most.
pub(super) fn weight(set: &ByteSet) -> u32 {
    (0..=u8::MAX)
        .filter(|&byte| contains(set, byte))
        .map(|byte| match byte {
            b'a'..=b'z' => 12,
            b'0'..=b'9' => 10,
            b'A'..=b'Z' => 8,
            b' ' | b'.' | b'-' | b'_' | b'/' => 6,
            b',' | b'=' | b':' | b';' | b'&' | b'?' | b'(' | b')' => 3,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_admits_only_texts_with_a_byte_of_each_set_and_the_length() {
        let gate = Gate::new(vec![set_of(b"<>"), set_of(b"=")], 3);
        for (text, admitted) in [
            (&b"a<b=c"[..], true),
            (b"a>=", true),
            (b">=", false),
            (b"abc=", false),
            (b"", false),
        ] {
            assert_eq!(
                gate.admits(&Presence::of(text), text.len()),
                admitted,
                "{text:?}"
            );
        }
        assert!(Gate::open().admits(&Presence::of(b""), 0));
    }

    #[test]
    fn the_presence_map_has_exactly_the_bytes_of_the_text() {
        let presence = Presence::of(&[0, 63, 64, 200, 255]);
        let present: Vec<u8> = (0..=255)
            .filter(|&byte| contains(&presence.0, byte))
            .collect();
        assert_eq!(present, [0, 63, 64, 200, 255]);
    }

    #[test]
    fn a_full_set_is_no_gate_and_an_empty_one_admits_nothing() {
        assert_eq!(Gate::new(vec![[u64::MAX; 4]], 0), Gate::open());
        assert!(!Gate::new(vec![[0; 4]], 0).admits(&Presence::of(b"abc"), 3));
    }
}

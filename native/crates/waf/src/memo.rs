//! Values that were clean before: clients repeat their headers, cookies and names, so a worker
//! remembers which of them no test of a program hit. Bounded; never holds the values of arguments,
//! bodies, or whole requests.

use crate::variable::{Side, Slot};

/// Values that a worker remembers: with the longest ones 2 MiB.
const PLACES: usize = 4096;
/// Longest value that is remembered.
const VALUE_BYTES_MAX: usize = 512;

/// A table with one place for each hash: a newcomer takes the place of the older value.
pub struct Memo {
    places: Vec<Option<Clean>>,
}

struct Clean {
    program: u64,
    value: Box<[u8]>,
}

/// Where a value belongs, once it was looked up and not found.
#[derive(Clone, Copy)]
pub struct Place {
    index: usize,
    program: u64,
}

impl Default for Memo {
    fn default() -> Self {
        Self::new(PLACES)
    }
}

impl Memo {
    /// A memo of so many values; 0 remembers nothing.
    pub fn new(places: usize) -> Self {
        Self {
            places: (0..places).map(|_| None).collect(),
        }
    }

    /// Whether texts of this kind may be remembered.
    pub fn may_hold((slot, side): (Slot, Side)) -> bool {
        match slot {
            Slot::RequestHeaders | Slot::RequestCookies => true,
            Slot::ArgsGet | Slot::ArgsPost => side == Side::Name,
            _ => false,
        }
    }

    /// `Ok` when the value is known to be clean for the program; else where to remember it.
    pub fn find(&self, program: u64, value: &[u8]) -> Result<(), Option<Place>> {
        if self.places.is_empty() || value.len() > VALUE_BYTES_MAX {
            return Err(None);
        }
        let hash = usize::try_from(hash(program, value) >> 32).unwrap_or_default();
        let index = hash % self.places.len();
        match self.places.get(index) {
            Some(Some(known)) if known.program == program && *known.value == *value => Ok(()),
            _ => Err(Some(Place { index, program })),
        }
    }

    /// Remembers a value as clean.
    pub fn remember(&mut self, place: Place, value: &[u8]) {
        if let Some(old) = self.places.get_mut(place.index) {
            *old = Some(Clean {
                program: place.program,
                value: value.into(),
            });
        }
    }
}

/// Multiply and rotate, eight bytes at a time; who makes values collide only makes them forgotten.
fn hash(program: u64, value: &[u8]) -> u64 {
    let (chunks, rest) = value.as_chunks::<8>();
    let mut last = [0; 8];
    for (byte, from) in last.iter_mut().zip(rest) {
        *byte = *from;
    }
    let words = chunks.iter().chain(std::iter::once(&last));
    words.fold(program ^ (value.len() as u64) << 48, |hash, word| {
        (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(memo: &mut Memo, program: u64, value: &[u8]) {
        if let Err(Some(place)) = memo.find(program, value) {
            memo.remember(place, value);
        }
    }

    #[test]
    fn a_value_is_known_for_its_program_only() {
        let mut memo = Memo::new(64);
        remember(&mut memo, 1, b"gzip, deflate");
        assert!(memo.find(1, b"gzip, deflate").is_ok());
        assert!(memo.find(2, b"gzip, deflate").is_err());
        assert!(memo.find(1, b"gzip, deflat").is_err());
        assert!(memo.find(1, b"gzip, deflate\0").is_err());
    }

    #[test]
    fn a_memo_of_one_place_holds_the_newest_and_none_holds_nothing() {
        let mut memo = Memo::new(1);
        remember(&mut memo, 1, b"a");
        remember(&mut memo, 1, b"b");
        assert!(memo.find(1, b"a").is_err());
        assert!(memo.find(1, b"b").is_ok());
        assert!(matches!(Memo::new(0).find(1, b"a"), Err(None)));
    }

    #[test]
    fn long_values_and_values_of_arguments_are_not_held() {
        let memo = Memo::new(8);
        assert!(matches!(memo.find(1, &[b'a'; 513]), Err(None)));
        assert!(!Memo::may_hold((Slot::ArgsGet, Side::Value)));
        assert!(!Memo::may_hold((Slot::RequestBody, Side::Value)));
        assert!(Memo::may_hold((Slot::ArgsPost, Side::Name)));
        assert!(Memo::may_hold((Slot::RequestCookies, Side::Value)));
    }
}

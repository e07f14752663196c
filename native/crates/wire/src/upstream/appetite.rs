//! How much is read from an endpoint at once: little at first, more while it comes faster than it
//! is read. Large reads halve the cost of bulk, and each may be held for as long as a slow client
//! likes: so few responses of a thread have them at a time.

use crate::small_read::SMALL_READ;
use std::cell::Cell;

const BULK: usize = 64 * 1024;
const LARGE: usize = 256 * 1024;
/// Responses of one wire thread that read so much at once: 16 MiB in all.
const LARGE_MAX: usize = 64;

thread_local! {
    static LARGE_NOW: Cell<usize> = const { Cell::new(0) };
}

/// The next read's size, of one response.
pub struct Appetite {
    size: usize,
}

impl Appetite {
    /// A response that has not begun.
    pub fn new() -> Appetite {
        Appetite { size: SMALL_READ }
    }

    /// Bytes to make room for.
    pub fn size(&self) -> usize {
        self.size
    }

    /// So much came. A full read means that there is more.
    pub fn fed(&mut self, read: usize) {
        if read < self.size {
            return;
        }
        let places = LARGE_NOW.get();
        match self.size {
            SMALL_READ => self.size = BULK,
            BULK if places < LARGE_MAX => {
                LARGE_NOW.set(places + 1);
                self.size = LARGE;
            }
            _ => {}
        }
    }
}

impl Drop for Appetite {
    fn drop(&mut self) {
        if self.size == LARGE {
            LARGE_NOW.set(LARGE_NOW.get().saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_full_reads_and_few_have_the_largest() {
        let full = || {
            let mut appetite = Appetite::new();
            for _ in 0..3 {
                appetite.fed(appetite.size());
            }
            appetite
        };
        let mut idle = Appetite::new();
        idle.fed(SMALL_READ - 1);
        assert_eq!(idle.size(), SMALL_READ);
        let mut large: Vec<_> = (0..LARGE_MAX).map(|_| full()).collect();
        assert!(large.iter().all(|appetite| appetite.size() == LARGE));
        assert_eq!(full().size(), BULK);
        large.pop();
        assert_eq!(full().size(), LARGE);
    }
}

//! Operators of a phase, as bits.

/// Operators with a bit of their own; those beyond are never sifted out. PL4 has some 400.
pub const OPERATORS_MAX: usize = 640;

/// A set of operators by index, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorSet {
    words: [u64; OPERATORS_MAX / 64],
    beyond: bool,
}

impl OperatorSet {
    /// No operator.
    pub const NONE: Self = Self {
        words: [0; OPERATORS_MAX / 64],
        beyond: false,
    };

    /// Every operator.
    #[cfg(test)]
    pub const ALL: Self = Self {
        words: [u64::MAX; OPERATORS_MAX / 64],
        beyond: true,
    };

    /// Adds an operator.
    pub fn insert(&mut self, operator: u32) {
        match self.words.get_mut(operator as usize / 64) {
            Some(word) => *word |= 1 << (operator % 64),
            None => self.beyond = true,
        }
    }

    /// Whether an operator is in the set.
    pub fn has(&self, operator: u32) -> bool {
        let word = self.words.get(operator as usize / 64);
        word.map_or(self.beyond, |word| word >> (operator % 64) & 1 == 1)
    }

    /// The operators that have a bit, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        let words = (0..).step_by(64).zip(self.words);
        words.flat_map(|(first, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| first + bit)
        })
    }

    /// Whether there are operators without a bit in it.
    pub fn goes_beyond(&self) -> bool {
        self.beyond
    }

    /// Adds all operators of another set.
    pub fn join(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(other.words) {
            *word |= more;
        }
        self.beyond |= other.beyond;
    }

    /// What is in both sets, of that what `keeps` keeps.
    pub fn both(&self, other: &Self, keeps: impl Fn(u32) -> bool) -> Self {
        let mut both = Self {
            beyond: self.beyond && other.beyond,
            ..Self::NONE
        };
        let words = both.words.iter_mut().zip(self.words).zip(other.words);
        for (first, ((into, one), other)) in (0..).step_by(64).zip(words) {
            let mut rest = one & other;
            while rest != 0 {
                let lowest = rest & rest.wrapping_neg();
                *into |= if keeps(first + rest.trailing_zeros()) {
                    lowest
                } else {
                    0
                };
                rest ^= lowest;
            }
        }
        both
    }

    /// Whether the sets have an operator in common.
    pub fn meets(&self, other: &Self) -> bool {
        let shared = self.words.iter().zip(&other.words);
        shared.fold(0, |all, (one, other)| all | (one & other)) != 0 || self.beyond && other.beyond
    }
}

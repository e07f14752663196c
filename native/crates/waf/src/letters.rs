//! A text without what stands between its letters and digits, for the sieve.

use crate::operator_set::OperatorSet;
use crate::operators::{ByteSet, Presence, meet};

/// The letters and digits of the text that was sieved last, and what was found in them: most
/// transformations change only what stands between them.
#[derive(Default)]
pub struct Letters {
    view: Vec<u8>,
    before: Vec<u8>,
    /// For texts without code, and with it.
    found: [Option<OperatorSet>; 2],
}

impl Letters {
    /// Forgets what was found: the next text is for other operators.
    pub fn clear(&mut self) {
        self.found = [None; 2];
    }

    /// Takes the next text in.
    pub fn read(&mut self, text: &[u8], presence: &Presence) {
        std::mem::swap(&mut self.view, &mut self.before);
        if meet(&presence.0, &NO_LETTERS) {
            keep_letters(text, &mut self.view);
        } else {
            self.view.clear();
            self.view.extend_from_slice(text);
        }
        if !self.view.eq_ignore_ascii_case(&self.before) {
            self.clear();
        }
    }

    /// The letters and digits of the last text.
    pub fn view(&self) -> &[u8] {
        &self.view
    }

    /// What was found in these letters, when that was looked for.
    pub fn known(&self, has_code: bool) -> Option<OperatorSet> {
        *self.found.get(usize::from(has_code))?
    }

    /// Remembers what was found in them.
    pub fn remember(&mut self, has_code: bool, found: OperatorSet) {
        if let Some(place) = self.found.get_mut(usize::from(has_code)) {
            *place = Some(found);
        }
    }
}

/// All bytes but ASCII letters and digits.
const NO_LETTERS: ByteSet = [
    !(0x3ff << b'0'),
    !(0x3ff_ffff << (b'A' - 64) | 0x3ff_ffff << (b'a' - 64)),
    u64::MAX,
    u64::MAX,
];

/// Copies the letters and digits of a text.
fn keep_letters(text: &[u8], view: &mut Vec<u8>) {
    view.resize(text.len(), 0);
    let mut length = 0;
    for byte in text {
        if let Some(place) = view.get_mut(length) {
            *place = *byte;
        }
        length += usize::from(byte.is_ascii_alphanumeric());
    }
    view.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::{View, seen, set_where};

    #[test]
    fn a_view_is_what_the_literals_were_made_with() {
        let text: Vec<u8> = (0..=255).collect();
        let mut shown = vec![7; 300];
        keep_letters(&text, &mut shown);
        shown.make_ascii_lowercase();
        assert_eq!(shown, seen(&text, View::Letters));
        assert_eq!(NO_LETTERS, set_where(|byte| !byte.is_ascii_alphanumeric()));
    }
}

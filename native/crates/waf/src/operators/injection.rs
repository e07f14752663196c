//! `@detectSQLi`, `@detectXSS`: libinjection.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{ByteSet, Captures, Compiled, Gate, Matcher, gate, sqli_words};

/// What libinjection answers for a text: nothing, or what TX:0 becomes.
type Detector = fn(&[u8]) -> Option<Vec<u8>>;

struct Detection {
    detect: Detector,
    suspects: ByteSet,
    min_len: usize,
}

impl Matcher for Detection {
    /// The port indexes slices, so a text may make it panic. That counts as a match: who finds
    /// such a text is no ordinary visitor, and the request must not pass unseen.
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool {
        match catch_unwind(AssertUnwindSafe(|| (self.detect)(text))) {
            Ok(None) => false,
            Ok(Some(evidence)) => {
                if let Some(captures) = captures {
                    captures.push(Some(evidence));
                }
                true
            }
            Err(_) => true,
        }
    }

    fn gate(&self) -> Gate {
        Gate::new(vec![self.suspects], self.min_len)
    }
}

/// `@detectSQLi`: TX:0 is the fingerprint.
///
/// Its gate: of letters, digits, `_` and bytes from 0x80 libinjection makes one word, or a number
/// and a word; no such pair is a fingerprint (the test tries every keyword). So it takes another
/// byte to match.
pub(super) fn detect_sqli(_argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let suspects = gate::set_where(|byte| {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        !word || byte == 0xa0
    });
    let detect = |text: &[u8]| {
        if !sqli_words::may_be_injection(text) {
            return None;
        }
        let found = libinjectionrs::detect_sqli(text);
        let fingerprint = found
            .fingerprint
            .as_ref()
            .map_or("", |print| print.as_str());
        found
            .is_injection()
            .then(|| fingerprint.as_bytes().to_vec())
    };
    Ok(Box::new(Detection {
        detect,
        suspects,
        min_len: 2,
    }))
}

/// `@detectXSS`: TX:0 is the text.
///
/// Its gate: a tag, comment or declaration begins with `<`; outside of one only an attribute with
/// a value is dangerous, which takes `=`.
pub(super) fn detect_xss(_argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let detect = |text: &[u8]| {
        libinjectionrs::detect_xss(text)
            .is_injection()
            .then(|| text.to_vec())
    };
    Ok(Box::new(Detection {
        detect,
        suspects: gate::set_of(b"<="),
        min_len: 3,
    }))
}

//! Comparisons with one text: `@streq`, `@contains`, `@beginsWith`, `@within`…

use memchr::memmem;

use super::{Captures, Compiled, Gate, Matcher};

/// A test of the text against the argument.
struct Comparison {
    argument: Vec<u8>,
    test: fn(text: &[u8], argument: &[u8]) -> bool,
    gate: Gate,
}

impl Matcher for Comparison {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        (self.test)(text, &self.argument)
    }

    fn gate(&self) -> Gate {
        self.gate.clone()
    }
}

/// A comparison whose every match contains the argument.
fn containing(argument: &[u8], test: fn(&[u8], &[u8]) -> bool) -> Compiled {
    comparison(argument, test, Gate::literal(argument))
}

fn comparison(argument: &[u8], test: fn(&[u8], &[u8]) -> bool, gate: Gate) -> Compiled {
    Ok(Box::new(Comparison {
        argument: argument.to_vec(),
        test,
        gate,
    }))
}

/// `@streq POST`: the same bytes.
pub(super) fn streq(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    containing(argument, |text, argument| text == argument)
}

/// `@contains <script`, `@strmatch <script`: somewhere inside; an empty argument always is.
pub(super) fn contains(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    containing(argument, |text, argument| {
        memmem::find(text, argument).is_some()
    })
}

/// `@beginsWith /admin`
pub(super) fn begins_with(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    containing(argument, |text, argument| text.starts_with(argument))
}

/// `@endsWith .php`
pub(super) fn ends_with(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    containing(argument, |text, argument| text.ends_with(argument))
}

/// `@containsWord select`: inside, with no ASCII letter before or after it.
pub(super) fn contains_word(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    containing(argument, |text, argument| {
        argument.is_empty()
            || (0..text.len()).any(|at| {
                let (before, rest) = text.split_at_checked(at).unwrap_or_default();
                let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
                rest.strip_prefix(argument)
                    .is_some_and(|after| !is_letter(before.last()) && !is_letter(after.first()))
            })
    })
}

/// `@within GET,POST`: the text is somewhere inside the argument; the empty text always is.
pub(super) fn within(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    let test = |text: &[u8], argument: &[u8]| memmem::find(argument, text).is_some();
    comparison(argument, test, Gate::open())
}

/// `@unconditionalMatch`: always.
pub(super) fn unconditional_match(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    comparison(argument, |_, _| true, Gate::open())
}

/// `@noMatch`: never.
pub(super) fn no_match(argument: &[u8], _entries: &[Vec<u8>]) -> Compiled {
    comparison(argument, |_, _| false, Gate::new(vec![[0; 4]], 0))
}

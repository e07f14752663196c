//! The distinct texts that a value becomes under the transformations of one program. Most
//! transformations leave most values alone: those share one text, and its presence map.

use std::borrow::Cow;

use crate::letters::Letters;
use crate::operator_set::OperatorSet;
use crate::operators::{ByteSet, Presence, meet};
use crate::plan::{Asked, PackedGate, Plan};
use crate::sieve::Sieve;
use crate::transformations::Transformation;

/// At least the number of transformations there are.
const TRANSFORMATIONS_MAX: usize = 64;
/// Verdicts that are looked through: asking again costs less than looking through hundreds.
const VERDICTS_SOUGHT: usize = 48;
const UNKNOWN: u16 = u16::MAX;
/// From this length on, texts are let go when the branch of the program that made them ends:
/// making one twice is better than holding a large body in dozens of forms.
const LARGE_BYTES: usize = 128 * 1024;

/// What decides which operators may match a text.
#[derive(Clone, Copy)]
pub struct Sifter<'a> {
    pub plan: &'a Plan,
    pub sieve: &'a Sieve,
    /// Those that matter.
    pub operators: &'a OperatorSet,
}

static NONE: OperatorSet = OperatorSet::NONE;

struct Form<'a> {
    bytes: Cow<'a, [u8]>,
    presence: Option<Presence>,
    /// By their literals, and of those by their gates.
    sifted: Option<OperatorSet>,
    survivors: Option<OperatorSet>,
    /// What each transformation makes of this text, as an index.
    becomes: [u16; TRANSFORMATIONS_MAX],
}

impl<'a> Form<'a> {
    fn new(bytes: Cow<'a, [u8]>) -> Self {
        Self {
            bytes,
            presence: None,
            sifted: None,
            survivors: None,
            becomes: [UNKNOWN; TRANSFORMATIONS_MAX],
        }
    }
}

/// What an operator said of a text.
struct Verdict {
    text: usize,
    operator: u32,
    matched: bool,
}

/// Texts by index; the first is the value as it came.
#[derive(Default)]
pub struct Texts<'a> {
    forms: Vec<Form<'a>>,
    /// In the order in which they were given.
    verdicts: Vec<Verdict>,
    /// Of the text that was sieved last.
    letters: Letters,
}

impl<'a> Texts<'a> {
    /// Starts over with another value.
    pub fn begin(&mut self, value: &'a [u8]) {
        self.forms.clear();
        self.verdicts.clear();
        self.letters.clear();
        self.forms.push(Form::new(Cow::Borrowed(value)));
    }

    /// How many texts there are now, for `keep`.
    pub fn len(&self) -> usize {
        self.forms.len()
    }

    /// Lets all but the first `len` texts go, when they are large.
    pub fn keep(&mut self, len: usize) {
        let large = self.bytes(0).len() >= LARGE_BYTES;
        if !large || len >= self.forms.len() {
            return;
        }
        self.forms.truncate(len);
        self.verdicts.retain(|verdict| verdict.text < len);
        for becomes in self.forms.iter_mut().flat_map(|form| &mut form.becomes) {
            if usize::from(*becomes) >= len {
                *becomes = UNKNOWN;
            }
        }
    }

    /// The text of this index.
    pub fn bytes(&self, index: usize) -> &[u8] {
        self.forms
            .get(index)
            .map(|form| form.bytes.as_ref())
            .unwrap_or_default()
    }

    /// The bytes that occur in the text, computed on first use.
    pub fn presence(&mut self, index: usize) -> Presence {
        let Some(form) = self.forms.get_mut(index) else {
            return Presence::default();
        };
        *form
            .presence
            .get_or_insert_with(|| Presence::of(&form.bytes))
    }

    /// The operators that may match the text, computed on first use.
    pub fn survivors(&mut self, index: usize, sifter: &Sifter<'_>) -> &OperatorSet {
        let presence = self.presence(index);
        let Some(form) = self.forms.get_mut(index) else {
            return &NONE;
        };
        let sieve = || {
            sifter.sieve.survivors(
                (&form.bytes, &presence),
                sifter.operators,
                &mut self.letters,
            )
        };
        let sifted = form.sifted.get_or_insert_with(sieve);
        form.survivors.get_or_insert_with(|| {
            sifted.both(sifter.operators, |operator| {
                let gate = sifter.plan.gate(operator);
                gate.is_none_or(|gate| gate.admits(&presence, form.bytes.len()))
            })
        })
    }

    /// Whether some of these operators may match the text. A text that few operators see is sieved
    /// only when the gate of one of them lets it in.
    pub fn concerns(&mut self, index: usize, asked: &Asked, sifter: &Sifter<'_>) -> bool {
        let known = self
            .forms
            .get(index)
            .is_some_and(|form| form.survivors.is_some());
        if !known && let Some(few) = asked.few() {
            let presence = self.presence(index);
            let length = self.bytes(index).len();
            let admits = |gate: &PackedGate| gate.admits(&presence, length);
            if !few
                .iter()
                .any(|operator| sifter.plan.gate(*operator).is_none_or(admits))
            {
                return false;
            }
        }
        asked.set.meets(self.survivors(index, sifter))
    }

    /// What an operator said of a text, when that was lately.
    pub fn verdict(&self, text: usize, operator: u32) -> Option<bool> {
        let mut latest = self.verdicts.iter().rev().take(VERDICTS_SOUGHT);
        let found = latest.find(|one| one.operator == operator && one.text == text);
        found.map(|one| one.matched)
    }

    /// Remembers what an operator said of a text.
    pub fn judge(&mut self, text: usize, operator: u32, matched: bool) {
        self.verdicts.push(Verdict {
            text,
            operator,
            matched,
        });
    }

    /// The index of what the transformation makes of the text: its own when nothing changes.
    /// A text without a byte of `triggers` does not change.
    pub fn transform(
        &mut self,
        index: usize,
        (transformation, triggers): (Transformation, &ByteSet),
    ) -> usize {
        let Some(form) = self.forms.get(index) else {
            return index;
        };
        let known = form
            .becomes
            .get(transformation as usize)
            .copied()
            .unwrap_or(UNKNOWN);
        if known != UNKNOWN {
            return usize::from(known);
        }
        let before: &[u8] = &form.bytes;
        let presence = form.presence;
        // The sieve does not tell letters by their case.
        let sifted = match transformation {
            Transformation::Lowercase | Transformation::Uppercase => form.sifted,
            _ => None,
        };
        let inert = presence.is_some_and(|presence| !meet(&presence.0, triggers));
        let changed = if inert {
            None
        } else {
            match transformation.apply(Cow::Borrowed(before)) {
                Cow::Borrowed(after) if after.len() == before.len() => None,
                after => Some(after.into_owned()),
            }
        };
        let becomes = changed.map_or(index, |text| self.find_or_add(text, sifted));
        let place = self.forms.get_mut(index);
        if let Some(place) = place.and_then(|form| form.becomes.get_mut(transformation as usize)) {
            *place = u16::try_from(becomes).unwrap_or(UNKNOWN);
        }
        becomes
    }

    fn find_or_add(&mut self, text: Vec<u8>, sifted: Option<OperatorSet>) -> usize {
        if let Some(index) = self.forms.iter().position(|form| *form.bytes == *text) {
            return index;
        }
        self.forms.push(Form {
            sifted,
            ..Form::new(Cow::Owned(text))
        });
        self.forms.len() - 1
    }
}

//! Finds, in one pass over a text, which operators have one of their literals in it.

use std::ops::Range;

use crate::letters::Letters;
use crate::operator_set::{OPERATORS_MAX, OperatorSet};
use crate::operators::{
    ByteSet, FACTOR_BYTES_MIN, Factor, Factors, Presence, View, frequency, is_code, meet, set_of,
    set_where, union,
};

/// Bits of the first look at a window, as a power of two: 8 KiB for each length of window.
const FILTER_BITS: u32 = 16;
const FILTER_WORDS: usize = 1 << (FILTER_BITS - 6);
/// The longest window that is looked up; what is longer is compared when its window was found.
const WINDOW_BYTES_MAX: usize = 4;
/// After so many bytes, and after each four times as many, windows are looked for no more of whose
/// operators all were found: a hostile text has windows at every other byte.
const STRETCH_BYTES: usize = 4096;
/// Fewer comparisons in a stretch than one in so many bytes cost less than leaving windows out.
const BYTES_PER_COMPARISON: usize = 16;
/// Windows are looked up with this bit set in each byte, so that letters need no folding; a mark
/// may meet another one by it, which the comparison tells apart.
const CASE: u32 = 0x2020_2020;

/// The literals of all operators of a phase.
#[derive(Default)]
pub struct Sieve {
    any: Literals,
    /// For texts without bytes of code.
    prose: Literals,
    code: ByteSet,
}

/// What is sought in one kind of texts.
#[derive(Default)]
struct Literals {
    /// Operators of whose matches nothing is known: never sifted out.
    unknown: OperatorSet,
    folded: Windows,
    letters: Windows,
}

/// The literals that are looked for in one view.
#[derive(Default)]
struct Windows {
    filters: Filters,
    /// Open addressing by window; a power of two.
    table: Vec<Option<Place>>,
    literals: Vec<Literal>,
}

/// One bit for each hash of a window.
type Bits = [u64; FILTER_WORDS];
static NO_BITS: Bits = [0; FILTER_WORDS];

/// By length of the window, from `FACTOR_BYTES_MIN`.
type Filters = [Option<Filter>; 3];

/// The first look at windows of one length.
struct Filter {
    bits: Box<Bits>,
    /// By place in the window, the bytes that some window has there, in either case.
    places: [ByteSet; WINDOW_BYTES_MAX],
}

impl Filter {
    fn new() -> Self {
        Self {
            bits: Box::new([0; FILTER_WORDS]),
            places: [[0; 4]; WINDOW_BYTES_MAX],
        }
    }

    fn enter(&mut self, window: u32, length: u32) {
        let bit = filter_bit(window);
        if let Some(word) = self.bits.get_mut((bit >> 6) & (FILTER_WORDS - 1)) {
            *word |= 1 << (bit & 63);
        }
        let bytes = window.to_le_bytes();
        let places = self.places.iter_mut().zip(bytes).take(length as usize);
        for (place, byte) in places {
            *place = union(place, &set_of(&[byte, byte & !0x20]));
        }
    }

    /// Its bits, when a text of these bytes may have a window of its length.
    fn bits<'f>(filter: &'f Option<Self>, presence: &Presence, length: usize) -> Option<&'f Bits> {
        let filter = filter.as_ref()?;
        let mut places = filter.places.iter().take(length);
        let may_meet = places.all(|place| meet(place, &presence.0));
        may_meet.then_some(&filter.bits)
    }
}

#[derive(Clone, Copy)]
struct Place {
    window: u32,
    length: u32,
    /// First of the literals with this window, and the one after the last.
    first: u32,
    end: u32,
}

impl Place {
    fn enter(&self, filters: &mut Filters) {
        let filter = self.length as usize - FACTOR_BYTES_MIN;
        if let Some(filter) = filters.get_mut(filter) {
            let filter = filter.get_or_insert_with(Filter::new);
            filter.enter(self.window, self.length);
        }
    }
}

struct Literal {
    text: Box<[u8]>,
    /// Where its window stands in it.
    offset: usize,
    operator: u32,
}

impl Sieve {
    /// The sieve for operators that are numbered in this order; of those left out none is sought.
    pub fn new<'a>(operators: impl Iterator<Item = Option<&'a Factors>> + Clone) -> Self {
        let factors = |one: fn(&Factors) -> &Option<Vec<Factor>>| {
            let all = operators.clone();
            all.map(move |factors| factors.map_or(Some([].as_slice()), |all| one(all).as_deref()))
        };
        Self {
            any: Literals::new(factors(|all| &all.any)),
            prose: Literals::new(factors(|all| &all.prose)),
            code: set_where(is_code),
        }
    }

    /// Those of the wanted operators that may match the text, and perhaps others.
    pub fn survivors(
        &self,
        text: (&[u8], &Presence),
        wanted: &OperatorSet,
        letters: &mut Letters,
    ) -> OperatorSet {
        let has_code = meet(&text.1.0, &self.code);
        let literals = if has_code { &self.any } else { &self.prose };
        literals.survivors(text, (wanted, has_code), letters)
    }
}

impl Literals {
    fn new<'a>(operators: impl Iterator<Item = Option<&'a [Factor]>>) -> Self {
        let mut sieve = Self::default();
        let mut folded = Vec::new();
        let mut letters = Vec::new();
        for (operator, factors) in (0..).zip(operators) {
            let known = (operator as usize) < OPERATORS_MAX;
            let Some(factors) = factors.filter(|_| known) else {
                sieve.unknown.insert(operator);
                continue;
            };
            for factor in factors {
                let list = match factor.view {
                    View::Folded => &mut folded,
                    View::Letters => &mut letters,
                };
                list.push((factor.text.as_slice(), operator));
            }
        }
        sieve.folded = Windows::new(&folded);
        sieve.letters = Windows::new(&letters);
        sieve
    }

    fn survivors(
        &self,
        (text, presence): (&[u8], &Presence),
        (wanted, has_code): (&OperatorSet, bool),
        letters: &mut Letters,
    ) -> OperatorSet {
        let mut search = Search {
            wanted,
            presence,
            found: OperatorSet::NONE,
            comparisons: 0,
        };
        if text.len() >= FACTOR_BYTES_MIN {
            letters.read(text, presence);
            // Not after the literals of the text itself: what those found would be left out.
            if let Some(known) = letters.known(has_code) {
                search.found = known;
            } else {
                search.look(&self.letters, letters.view());
                letters.remember(has_code, search.found);
            }
            search.found.join(&self.unknown);
            search.look(&self.folded, text);
        }
        search.found.join(&self.unknown);
        search.found
    }
}

/// One text's search.
struct Search<'a> {
    wanted: &'a OperatorSet,
    presence: &'a Presence,
    found: OperatorSet,
    comparisons: usize,
}

impl Search<'_> {
    fn look(&mut self, windows: &Windows, text: &[u8]) {
        let mut left = None;
        let mut from = 0;
        let mut stretch = STRETCH_BYTES;
        while from < text.len() {
            let to = from.saturating_add(stretch).min(text.len());
            self.comparisons = 0;
            let filters = left.as_ref().unwrap_or(&windows.filters);
            self.look_within(windows, filters, (text, from..to));
            if self.comparisons > (to - from) / BYTES_PER_COMPARISON && to < text.len() {
                left = Some(windows.filters_of(|operator| self.seeks(operator)));
            }
            from = to;
            stretch *= 4;
        }
    }

    fn seeks(&self, operator: u32) -> bool {
        self.wanted.has(operator) && !self.found.has(operator)
    }

    /// Looks for windows of those lengths that a text of these bytes may have, which begin there.
    fn look_within(
        &mut self,
        windows: &Windows,
        [two, three, four]: &Filters,
        text: (&[u8], Range<usize>),
    ) {
        let bits = |filter, length| Filter::bits(filter, self.presence, length);
        let filters = [bits(two, 2), bits(three, 3), bits(four, 4)];
        let sought = filters.map(|bits| bits.is_some());
        let bits = filters.map(|bits| bits.unwrap_or(&NO_BITS));
        match sought {
            [false, false, false] => {}
            [false, false, true] => self.every_place::<false, false>(windows, bits, text),
            [false, true, _] => self.every_place::<false, true>(windows, bits, text),
            [true, _, _] => self.every_place::<true, true>(windows, bits, text),
        }
    }

    fn every_place<const TWO: bool, const THREE: bool>(
        &mut self,
        windows: &Windows,
        [two, three, four]: [&Bits; 3],
        (text, places): (&[u8], Range<usize>),
    ) {
        let whole = places.end.saturating_add(WINDOW_BYTES_MAX - 1);
        let stretch = text.get(places.start..whole.min(text.len()));
        let stretch = stretch.unwrap_or_default();
        for (start, window) in (places.start..).zip(stretch.windows(WINDOW_BYTES_MAX)) {
            let &[a, b, c, d] = window else { continue };
            let window = u32::from_le_bytes([a, b, c, d]) | CASE;
            // One branch for all lengths: in hostile texts each of them is a coin toss.
            let mut passed = pass(four, window);
            if THREE {
                passed |= pass(three, window & 0xff_ffff);
            }
            if TWO {
                passed |= pass(two, window & 0xffff);
            }
            if passed & 1 == 1 {
                self.place(windows, [two, three, four], (text, start, window));
            }
        }
        let last = text.len().saturating_sub(WINDOW_BYTES_MAX - 1);
        for start in last.max(places.start)..places.end {
            let rest = text.get(start..).unwrap_or_default();
            let window = fold(rest);
            if THREE && rest.len() == 3 && passes(three, window) {
                self.compare(windows, text, (start, window, 3));
            }
            if TWO && rest.len() >= 2 && passes(two, window & 0xffff) {
                self.compare(windows, text, (start, window & 0xffff, 2));
            }
        }
    }

    /// Compares the literals of every length whose window, perhaps, begins at this byte.
    #[inline(never)]
    fn place(
        &mut self,
        windows: &Windows,
        [two, three, four]: [&Bits; 3],
        (text, start, window): (&[u8], usize, u32),
    ) {
        if passes(four, window) {
            self.compare(windows, text, (start, window, 4));
        }
        if passes(three, window & 0xff_ffff) {
            self.compare(windows, text, (start, window & 0xff_ffff, 3));
        }
        if passes(two, window & 0xffff) {
            self.compare(windows, text, (start, window & 0xffff, 2));
        }
    }

    /// Compares the literals whose window, perhaps, begins at this byte.
    fn compare(
        &mut self,
        windows: &Windows,
        text: &[u8],
        (start, window, length): (usize, u32, u32),
    ) {
        self.comparisons += 1;
        for literal in windows.literals_of(window, length) {
            if !self.seeks(literal.operator) {
                continue;
            }
            let start = start.checked_sub(literal.offset);
            let here = start.and_then(|start| text.get(start..start + literal.text.len()));
            if here.is_some_and(|here| here.eq_ignore_ascii_case(&literal.text)) {
                self.found.insert(literal.operator);
            }
        }
    }
}

impl Windows {
    fn new(texts: &[(&[u8], u32)]) -> Self {
        let mut sorted: Vec<(u32, u32, Literal)> = texts
            .iter()
            .map(|(text, operator)| {
                let (offset, length) = rarest_window(text);
                let window = text.iter().skip(offset).take(length);
                let window = fold(&window.copied().collect::<Vec<u8>>());
                let literal = Literal {
                    text: (*text).into(),
                    offset,
                    operator: *operator,
                };
                (u32::try_from(length).unwrap_or(0), window, literal)
            })
            .collect();
        sorted.sort_by(|a, b| (a.0, a.1, &a.2.text).cmp(&(b.0, b.1, &b.2.text)));
        let mut windows = Self {
            table: vec![None; (sorted.len() * 2).next_power_of_two()],
            ..Self::default()
        };
        let mut last: Option<Place> = None;
        for (length, window, literal) in sorted {
            let index = u32::try_from(windows.literals.len()).unwrap_or(u32::MAX);
            windows.literals.push(literal);
            match &mut last {
                Some(place) if (place.length, place.window) == (length, window) => {
                    place.end = index + 1;
                }
                _ => {
                    windows.close(last);
                    last = Some(Place {
                        window,
                        length,
                        first: index,
                        end: index + 1,
                    });
                }
            }
        }
        windows.close(last);
        windows
    }

    /// The first look at the windows of some operators.
    fn filters_of(&self, seeks: impl Fn(u32) -> bool) -> Filters {
        let mut filters = Filters::default();
        for place in self.table.iter().flatten() {
            let literals = self.literals_at(place);
            if literals.iter().any(|literal| seeks(literal.operator)) {
                place.enter(&mut filters);
            }
        }
        filters
    }

    /// Enters a window with all its literals.
    fn close(&mut self, place: Option<Place>) {
        let Some(place) = place else { return };
        place.enter(&mut self.filters);
        let mask = self.table.len() - 1;
        let mut slot = table_slot(place.window, place.length) & mask;
        while let Some(Some(_)) = self.table.get(slot) {
            slot = (slot + 1) & mask;
        }
        if let Some(free) = self.table.get_mut(slot) {
            *free = Some(place);
        }
    }

    fn literals_of(&self, window: u32, length: u32) -> &[Literal] {
        let mask = self.table.len() - 1;
        let mut slot = table_slot(window, length) & mask;
        while let Some(Some(place)) = self.table.get(slot) {
            if (place.window, place.length) == (window, length) {
                return self.literals_at(place);
            }
            slot = (slot + 1) & mask;
        }
        &[]
    }

    fn literals_at(&self, place: &Place) -> &[Literal] {
        let literals = self.literals.get(place.first as usize..place.end as usize);
        literals.unwrap_or_default()
    }
}

/// Where the window of a literal that benign text has least often stands, and its length.
fn rarest_window(text: &[u8]) -> (usize, usize) {
    let length = text.len().min(WINDOW_BYTES_MAX);
    let windows = text.windows(length).enumerate();
    let chance = |window: &[u8]| window.iter().map(|byte| frequency(*byte)).product::<f64>();
    let rarest = windows.min_by(|(_, one), (_, other)| chance(one).total_cmp(&chance(other)));
    (rarest.map_or(0, |(offset, _)| offset), length)
}

fn filter_bit(window: u32) -> usize {
    (window.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS)) as usize
}

fn passes(bits: &Bits, window: u32) -> bool {
    pass(bits, window) & 1 == 1
}

/// Whether a window passes, in the lowest bit.
fn pass(bits: &Bits, window: u32) -> u64 {
    let bit = filter_bit(window);
    let word = bits.get((bit >> 6) & (FILTER_WORDS - 1));
    word.map_or(0, |word| word >> (bit & 63))
}

/// The window at the beginning of these bytes, of four of them at most.
fn fold(bytes: &[u8]) -> u32 {
    let bytes = bytes.iter().take(WINDOW_BYTES_MAX);
    (0..).zip(bytes).fold(0, |window, (place, byte)| {
        window | u32::from(byte | 0x20) << (8 * place)
    })
}

fn table_slot(window: u32, length: u32) -> usize {
    ((window ^ length << 30).wrapping_mul(0x85eb_ca6b) >> 7) as usize
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;

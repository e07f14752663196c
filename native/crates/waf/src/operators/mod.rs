//! SecLang operators that work on bytes (`@rx`, `@pm`, `@detectSQLi`…).
//!
//! `compile` runs once per leaf when the rules load; `gate` and `matches` run per text.

use std::sync::LazyLock;

use crate::budget::{Budget, OverBudget};
use crate::latin1::latin1;

mod byte_sets;
mod factors;
mod gate;
mod geo_lookup;
mod hop;
mod injection;
mod ip_match;
mod numbers;
mod pcre;
mod pm;
mod rbl;
mod rx;
mod sqli_words;
mod strings;
mod unsupported;
mod validate;
mod verify;

#[cfg(test)]
pub use factors::seen;
pub use factors::{FACTOR_BYTES_MIN, Factor, Factors, View, frequency, is_code};
pub use gate::{ByteSet, Gate, Presence, meet, set_of, set_where, union};

/// What was matched: group 0 first, at most ten groups; none for a group that took no part.
pub type Captures = Vec<Option<Vec<u8>>>;

/// A compiled operator; the leaf's negation is the caller's.
pub struct Operator {
    matcher: Box<dyn Matcher>,
    gate: Gate,
    factors: Factors,
}

/// One operator's test. Its gate must admit every text that `matches` accepts.
trait Matcher: Send + Sync {
    /// Fills `captures` (empty before) when the operator captures.
    fn matches(&self, text: &[u8], captures: Option<&mut Captures>) -> bool;

    /// The same, for operators that can be stopped in the middle of a text.
    fn matches_within(
        &self,
        text: &[u8],
        captures: Option<&mut Captures>,
        _budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        Ok(self.matches(text, captures))
    }

    fn gate(&self) -> Gate {
        Gate::open()
    }

    /// Builds what is only built when it is needed; says what is wrong with it.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    /// Texts of which any match contains one.
    fn factors(&self) -> Factors {
        Factors::default()
    }
}

impl Operator {
    /// Whether the text matches, before negation. Captures are cleared first.
    pub fn matches(&self, text: &[u8], mut captures: Option<&mut Captures>) -> bool {
        if let Some(captures) = captures.as_deref_mut() {
            captures.clear();
        }
        self.matcher.matches(text, captures)
    }

    /// The same within a budget, which the longest operators look at in the middle of a text.
    pub fn matches_within(
        &self,
        text: &[u8],
        mut captures: Option<&mut Captures>,
        budget: &mut Budget,
    ) -> Result<bool, OverBudget> {
        if let Some(captures) = captures.as_deref_mut() {
            captures.clear();
        }
        self.matcher.matches_within(text, captures, budget)
    }

    /// Builds what is only built when it is needed; says what is wrong with it.
    pub fn ready(&self) -> Result<(), String> {
        self.matcher.ready()
    }

    /// What any matching text has. A text that is not admitted does not match, so that a negated
    /// leaf hits on it without running the operator.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What any matching text contains one of; for the sieve.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }
}

type Compiled = Result<Box<dyn Matcher>, String>;
type Factory = fn(argument: &[u8], entries: &[Vec<u8>]) -> Compiled;

/// The lower-case SecLang names.
const OPERATORS: &[(&str, Factory)] = &[
    ("beginswith", strings::begins_with),
    ("contains", strings::contains),
    ("containsword", strings::contains_word),
    ("detectsqli", injection::detect_sqli),
    ("detectxss", injection::detect_xss),
    ("endswith", strings::ends_with),
    ("eq", numbers::eq),
    ("ge", numbers::ge),
    ("geolookup", geo_lookup::geo_lookup),
    ("gt", numbers::gt),
    ("ipmatch", ip_match::ip_match),
    ("ipmatchf", ip_match::ip_match),
    ("ipmatchfromfile", ip_match::ip_match),
    ("le", numbers::le),
    ("lt", numbers::lt),
    ("nomatch", strings::no_match),
    ("pm", pm::pm),
    ("pmf", pm::pm_from_file),
    ("pmfromfile", pm::pm_from_file),
    ("rbl", rbl::rbl),
    ("rx", rx::rx),
    ("rxglobal", rx::rx_global),
    ("streq", strings::streq),
    ("strmatch", strings::contains),
    ("unconditionalmatch", strings::unconditional_match),
    ("validatebyterange", validate::byte_range),
    ("validateurlencoding", validate::url_encoding),
    ("validateutf8encoding", validate::utf8_encoding),
    ("verifycc", verify::verify_cc),
    ("verifycpf", verify::verify_cpf),
    ("verifyssn", verify::verify_ssn),
    ("verifysvnr", verify::verify_svnr),
    ("within", strings::within),
];

/// Compiles an operator: its lower-case SecLang name, its argument and its file's entries, texts
/// as Latin-1 (one character per byte). The error says what is wrong and how to mend it.
pub fn compile(name: &str, argument: &str, entries: &[String]) -> Result<Operator, String> {
    let operator = compile_lazily(name, argument, entries)?;
    operator
        .ready()
        .map_err(|reason| format!("@{name} {argument:?}: {reason}"))?;
    Ok(operator)
}

/// The same for what is known to compile: the costly part is done by the first text that needs it,
/// or by `ready`.
pub fn compile_lazily(name: &str, argument: &str, entries: &[String]) -> Result<Operator, String> {
    let Some((_, factory)) = OPERATORS.iter().find(|(known, _)| *known == name) else {
        return Err(unsupported::reason(name));
    };
    let entries: Vec<Vec<u8>> = entries.iter().map(|entry| latin1(entry)).collect();
    let matcher = factory(&latin1(argument), &entries)
        .map_err(|reason| format!("@{name} {argument:?}: {reason}"))?;
    let (gate, factors) = (matcher.gate(), matcher.factors());
    Ok(Operator {
        matcher,
        gate,
        factors,
    })
}

/// Every lower-case operator name that `compile` accepts.
pub fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| OPERATORS.iter().map(|(name, _)| *name).collect());
    &NAMES
}

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod tests;

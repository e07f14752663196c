//! How a value of the exchange became the text that an operator saw. Nothing of it is kept while
//! scanning: it is computed again, for the few matches that are told to people.

use std::borrow::Cow;

use crate::inspection::EvaluateError;
use crate::operators::{Captures, Operator};
use crate::plan::{Leaf, Plan};
use crate::store::Store;
use crate::variable::Variable;

/// Bytes that one trace may transform: a search for one of many equal names ends there.
const WORK_BYTES_MAX: usize = 256 * 1024;
/// Share of an excerpt that stands before the match.
const LEAD_SHARE: usize = 4;

/// Which match is to be traced.
#[derive(Clone, Copy, Debug)]
pub struct TraceQuery<'a> {
    pub leaf: u32,
    /// The operator's expanded argument, in Latin-1; '' is the leaf's own.
    pub argument: &'a str,
    /// The text that the operator saw, as its hit told.
    pub value: &'a [u8],
    /// Longest excerpt of each text.
    pub excerpt_bytes_max: usize,
}

/// Where the value of a match stood in the exchange.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub variable: &'a str,
    /// None for a variable that is no collection.
    pub name: Option<&'a [u8]>,
    /// Which of the matches that tell the same, from 0.
    pub nth: usize,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    pub bytes: Vec<u8>,
    /// Where it begins in the text.
    pub offset: usize,
    /// Length of the whole text.
    pub len: usize,
}

/// One match, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The value as it came.
    pub before: Excerpt,
    /// What each transformation made of it, in the leaf's order; none where it changed nothing.
    pub steps: Vec<Option<Excerpt>>,
    /// Start and length of what the operator found in the last text, where it can tell.
    pub span: Option<(usize, usize)>,
    /// What the operator captured: group 0 first.
    pub captures: Vec<Excerpt>,
    /// Bytes that were transformed for it.
    pub work: usize,
}

/// Traces a value of the store; none when there is no such value or it is too large.
pub fn trace(
    (plan, store): (&Plan, &Store),
    query: &TraceQuery<'_>,
    place: &Place<'_>,
) -> Result<Option<Trace>, EvaluateError> {
    let leaf = leaf_of(plan, query)?;
    let Some(variable) = Variable::from_name(place.variable) else {
        return Ok(None);
    };
    let mut work = WORK_BYTES_MAX;
    let mut skip = place.nth;
    for (entry, side) in store.visible(variable) {
        let name = entry.slot.is_collection().then(|| store.bytes(entry.name));
        if name != place.name {
            continue;
        }
        let value = store.bytes(entry.side(side));
        let Some(steps) = steps(leaf, value, query.value, &mut work) else {
            continue;
        };
        if skip == 0 {
            return told(plan, query, (leaf, &steps, work)).map(Some);
        }
        skip -= 1;
    }
    Ok(None)
}

/// Traces a text that was known only while reasoning.
pub fn trace_text(
    plan: &Plan,
    query: &TraceQuery<'_>,
    text: &[u8],
) -> Result<Option<Trace>, EvaluateError> {
    let leaf = leaf_of(plan, query)?;
    let mut work = WORK_BYTES_MAX;
    match steps(leaf, text, query.value, &mut work) {
        Some(steps) => told(plan, query, (leaf, &steps, work)).map(Some),
        None => Ok(None),
    }
}

fn leaf_of<'p>(plan: &'p Plan, query: &TraceQuery<'_>) -> Result<&'p Leaf, EvaluateError> {
    let leaf = plan.leaf(query.leaf);
    leaf.ok_or_else(|| EvaluateError::Invalid(format!("no leaf {}", query.leaf)))
}

/// The texts from the value to the one that the operator saw; none when it never becomes that.
fn steps<'v>(
    leaf: &Leaf,
    value: &'v [u8],
    seen: &[u8],
    work: &mut usize,
) -> Option<Vec<Cow<'v, [u8]>>> {
    // For the operator, which will run over it.
    *work = work.checked_sub(value.len())?;
    let mut texts = vec![Cow::Borrowed(value)];
    let mut fits = leaf.multi_match && is(value, seen);
    for transformation in &leaf.transformations {
        if fits {
            break;
        }
        let last = texts.last()?;
        *work = work.checked_sub(last.len())?;
        let next = transformation.apply(Cow::Borrowed(last.as_ref()));
        let next = Cow::Owned(next.into_owned());
        fits = leaf.multi_match && is(&next, seen);
        texts.push(next);
    }
    let last = texts.last()?;
    (fits || is(last, seen)).then_some(texts)
}

/// A hit's text is cut when a scan has found very many.
fn is(text: &[u8], seen: &[u8]) -> bool {
    text == seen || (seen.len() >= crate::hits::CUT_TEXT_BYTES && text.starts_with(seen))
}

fn told(
    plan: &Plan,
    query: &TraceQuery<'_>,
    (leaf, texts, work_left): (&Leaf, &[Cow<'_, [u8]>], usize),
) -> Result<Trace, EvaluateError> {
    let mut captures = Captures::new();
    let mut span = None;
    let last = texts.last().map(Cow::as_ref).unwrap_or_default();
    if !leaf.negated {
        with_operator(plan, query, leaf, |operator| {
            operator.matches(last, Some(&mut captures));
        })?;
        span = span_of(leaf, query, last, &captures);
    }
    let from = span.map_or(0, |(start, _)| start);
    let max = query.excerpt_bytes_max;
    let show = |text: &[u8]| excerpt(text, from, max);
    let changed = texts.windows(2).map(|pair| match pair {
        [before, after] if before != after => Some(show(after)),
        _ => None,
    });
    Ok(Trace {
        before: show(texts.first().map(Cow::as_ref).unwrap_or_default()),
        steps: changed.collect(),
        span,
        captures: captures
            .iter()
            .map(|group| excerpt(group.as_deref().unwrap_or_default(), 0, max))
            .collect(),
        work: WORK_BYTES_MAX - work_left,
    })
}

fn with_operator(
    plan: &Plan,
    query: &TraceQuery<'_>,
    leaf: &Leaf,
    run: impl FnOnce(&Operator),
) -> Result<(), EvaluateError> {
    let own = leaf.operator.and_then(|index| u32::try_from(index).ok());
    let own = own.and_then(|index| plan.operator(index));
    if let Some(operator) = own.filter(|_| query.argument.is_empty()) {
        run(operator);
        return Ok(());
    }
    let operator = plan.dynamic_operator(query.leaf as usize, query.argument);
    run(&*operator.map_err(EvaluateError::Invalid)?);
    Ok(())
}

/// Where the operator's find stands. Operators tell what they found and not where, so it is the
/// first place where that text stands; a fingerprint of libinjection stands nowhere.
fn span_of(
    leaf: &Leaf,
    query: &TraceQuery<'_>,
    text: &[u8],
    captures: &Captures,
) -> Option<(usize, usize)> {
    let argument = if query.argument.is_empty() {
        &leaf.definition.argument
    } else {
        query.argument
    };
    let wanted: Cow<'_, [u8]> = match leaf.definition.name.as_str() {
        "detectsqli" => return None,
        "contains" | "strmatch" | "beginswith" | "endswith" | "containsword" | "streq" => {
            Cow::Owned(crate::latin1(argument))
        }
        _ => Cow::Borrowed(captures.first()?.as_deref()?),
    };
    if wanted.is_empty() || wanted.len() > text.len() {
        return None;
    }
    let exact = memchr::memmem::find(text, &wanted);
    let found = exact.or_else(|| {
        let mut windows = text.windows(wanted.len());
        windows.position(|window| window.eq_ignore_ascii_case(&wanted))
    });
    Some((found?, wanted.len()))
}

/// At most `max` bytes, with the place `from` among them.
fn excerpt(text: &[u8], from: usize, max: usize) -> Excerpt {
    let lead = from.saturating_sub(max / LEAD_SHARE);
    let offset = lead.min(text.len().saturating_sub(max));
    let end = text.len().min(offset.saturating_add(max));
    Excerpt {
        bytes: text.get(offset..end).unwrap_or_default().to_vec(),
        offset,
        len: text.len(),
    }
}

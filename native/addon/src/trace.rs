//! Evidence: how matches came about, and the bodies that the audit log may show.

use edge_waf::{Excerpt, Place, Trace, TraceQuery};
use napi_derive::napi;

use crate::waf::{Scanned, guarded, plan};
use crate::wire::WorkerPort;

/// Which match is to be told; texts are Latin-1.
#[napi(object)]
pub struct TraceAsk {
    pub plan: u32,
    pub leaf: u32,
    pub argument: String,
    pub variable: String,
    pub name: Option<String>,
    pub value: String,
    pub nth: u32,
    pub excerpt_bytes_max: u32,
}

/// A part of a text, in Latin-1.
#[napi(object)]
pub struct TextExcerpt {
    pub text: String,
    pub offset: u32,
    pub length: u32,
}

/// One match, step by step.
#[napi(object)]
pub struct MatchTrace {
    pub before: TextExcerpt,
    pub steps: Vec<Option<TextExcerpt>>,
    pub span_start: Option<u32>,
    pub span_length: Option<u32>,
    pub captures: Vec<TextExcerpt>,
    pub work_bytes: u32,
}

fn shown(excerpt: Excerpt) -> TextExcerpt {
    TextExcerpt {
        text: excerpt.bytes.iter().map(|byte| char::from(*byte)).collect(),
        offset: narrow(excerpt.offset),
        length: narrow(excerpt.len),
    }
}

fn told(trace: Trace) -> MatchTrace {
    MatchTrace {
        before: shown(trace.before),
        steps: trace
            .steps
            .into_iter()
            .map(|step| step.map(shown))
            .collect(),
        span_start: trace.span.map(|(start, _)| narrow(start)),
        span_length: trace.span.map(|(_, length)| narrow(length)),
        captures: trace.captures.into_iter().map(shown).collect(),
        work_bytes: narrow(trace.work),
    }
}

fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl TraceAsk {
    /// Runs `run` on the query in the library's own terms.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&TraceQuery<'_>, &Place<'_>) -> T) -> T {
        let value = edge_waf::latin1(&self.value);
        let name = self.name.as_deref().map(edge_waf::latin1);
        let query = TraceQuery {
            leaf: self.leaf,
            argument: &self.argument,
            value: &value,
            excerpt_bytes_max: self.excerpt_bytes_max as usize,
        };
        let place = Place {
            variable: &self.variable,
            name: name.as_deref(),
            nth: self.nth as usize,
        };
        run(&query, &place)
    }
}

/// What TypeScript gets of a trace; a match that cannot be traced is none.
pub(crate) fn answer<E>(traced: Result<Option<Trace>, E>) -> Option<MatchTrace> {
    traced.ok().flatten().map(told)
}

/// The first bytes of a body, and its length.
pub(crate) fn cut(body: &[u8], bytes_max: u32) -> TextExcerpt {
    let bytes = body.get(..bytes_max as usize).unwrap_or(body).to_vec();
    shown(Excerpt {
        bytes,
        offset: 0,
        len: body.len(),
    })
}

#[napi]
impl WorkerPort {
    /// How a match of the exchange came about; null when it cannot be told.
    #[napi]
    pub fn trace(&mut self, handle: u32, ask: TraceAsk) -> napi::Result<Option<MatchTrace>> {
        let plan = plan(ask.plan)?;
        self.inspected(handle, |Scanned { inspection, .. }| {
            Ok(answer(ask.with(|query, place| {
                inspection.trace(&plan, query, place)
            })))
        })
    }

    /// The request's or the response's body as far as it is held, for the audit log.
    #[napi]
    pub fn body_excerpt(
        &mut self,
        handle: u32,
        response: bool,
        bytes_max: u32,
    ) -> napi::Result<TextExcerpt> {
        self.inspected(handle, |Scanned { inspection, .. }| {
            let body = if response {
                inspection.response_body()
            } else {
                inspection.request_body()
            };
            Ok(cut(body, bytes_max))
        })
    }
}

/// As `trace`, for a text that was known only while reasoning.
#[napi]
pub fn trace_text(ask: TraceAsk, text: String) -> napi::Result<Option<MatchTrace>> {
    let plan = plan(ask.plan)?;
    guarded(|| {
        let text = edge_waf::latin1(&text);
        Ok(answer(ask.with(|query, _| {
            edge_waf::trace_text(&plan, query, &text)
        })))
    })
}

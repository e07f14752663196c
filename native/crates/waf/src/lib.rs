//! The WAF's scan: finds which rule leaves match an exchange's bytes, in one pass per phase.
//!
//! `Plan::compile` reads the scan plan; an `Inspection` holds one exchange's texts and answers
//! `scan`, `evaluate` and `variable` with `Hits`. Control flow, scores and actions are not here.
#![forbid(unsafe_code)]

mod bodies;
mod budget;
mod fuzz;
pub mod geo;
mod hits;
mod inspection;
mod latin1;
mod letters;
mod memo;
mod operator_set;
mod operators;
mod plan;
pub mod rbl;
mod request;
mod response;
mod scan;
mod sieve;
mod store;
mod texts;
mod trace;
mod transformations;
mod variable;

#[cfg(test)]
mod tests;

pub use budget::OverBudget;
#[doc(hidden)]
pub use fuzz::{fuzz_body, fuzz_transformations};
pub use hits::{Hit, Hits};
pub use inspection::{EvaluateError, Inspection, match_text};
pub use latin1::latin1;
pub use memo::Memo;
pub use plan::{Plan, PlanError};
pub use request::RequestFacts;
pub use scan::Effort;
pub use trace::{Excerpt, Place, Trace, TraceQuery, trace_text};
pub use variable::names as variable_names;

/// Every lower-case operator name that a plan may use.
pub fn operator_names() -> &'static [&'static str] {
    operators::names()
}

/// Every lower-case transformation name that a plan may use.
pub fn transformation_names() -> &'static [&'static str] {
    transformations::Transformation::names()
}

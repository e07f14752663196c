//! The addon's part of `@rbl`: the names to look up out, the answers in. Conversions only.

use crate::wake;
use edge_waf::rbl::{RBL, RblLimits, now_ms};
use napi::Result;
use napi::bindgen_prelude::Function;
use napi_derive::napi;

/// How many answers may be known, and how many names may wait for one.
#[napi(object)]
pub struct RblLimitsObject {
    pub cache_max: u32,
    pub pending_max: u32,
}

/// What was asked and answered so far.
#[napi(object)]
pub struct RblCounts {
    pub known: u32,
    pub pending: u32,
    pub hits: f64,
    pub misses: f64,
    pub dropped: f64,
    pub evicted: f64,
}

/// `wake` is called when there are names to take.
#[napi]
pub fn rbl_on_asked(wake: Function<(), ()>) -> Result<()> {
    RBL.set_wake(wake::weak(wake)?);
    Ok(())
}

#[napi]
pub fn rbl_take_asked() -> Vec<String> {
    let asked = RBL.take_asked();
    asked.iter().map(ToString::to_string).collect()
}

#[napi]
pub fn rbl_answer(name: String, listed: bool, keep_ms: u32) {
    RBL.answer(&name, listed, now_ms().saturating_add(u64::from(keep_ms)));
}

#[napi]
pub fn rbl_set_limits(limits: RblLimitsObject) {
    RBL.set_limits(RblLimits {
        known: limits.cache_max as usize,
        pending: limits.pending_max as usize,
    });
}

#[napi]
pub fn rbl_counts() -> RblCounts {
    let stats = RBL.stats();
    RblCounts {
        known: u32::try_from(stats.known).unwrap_or(u32::MAX),
        pending: u32::try_from(stats.pending).unwrap_or(u32::MAX),
        hits: stats.hits as f64,
        misses: stats.misses as f64,
        dropped: stats.dropped as f64,
        evicted: stats.evicted as f64,
    }
}

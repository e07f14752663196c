//! The WAF's part of the addon: converts between JavaScript and `edge_waf`; no logic of its own.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use edge_http_policy::{Framing, Version};
use edge_waf::{Effort, EvaluateError, Hits, Inspection, Memo, Plan, RequestFacts};
use edge_wire::Exchange;
use napi::bindgen_prelude::{AsyncTask, Uint8ArraySlice};
use napi::{Env, Task};
use napi_derive::napi;

use crate::wire::WorkerPort;

/// What `scan` answers when the time budget is used up.
const OVER_BUDGET: i32 = -1;

/// Compiled plans by id. Ids are never used twice, so that a late call can not meet another plan.
static PLANS: LazyLock<RwLock<HashMap<u32, Arc<Plan>>>> = LazyLock::new(RwLock::default);
static NEXT_PLAN: AtomicU32 = AtomicU32::new(1);
static NEXT_UNIQUE_ID: AtomicU32 = AtomicU32::new(0);

/// The inspections of one worker's exchanges, and what it keeps from one call to the next.
#[derive(Default)]
pub struct Inspections {
    by_handle: HashMap<u32, Inspection>,
    kept: Kept,
}

pub(crate) struct Kept {
    /// The last result.
    result: Vec<u8>,
    memo: Memo,
}

impl Default for Kept {
    /// `EDGE_WAF_MEMO=off` is for benchmarks: repeated requests flatter a memo.
    fn default() -> Self {
        let is_off = std::env::var_os("EDGE_WAF_MEMO").is_some_and(|value| value == "off");
        Self {
            result: Vec::new(),
            memo: if is_off {
                Memo::new(0)
            } else {
                Memo::default()
            },
        }
    }
}

impl Inspections {
    /// Forgets an exchange that is over.
    pub fn free(&mut self, handle: u32) {
        self.by_handle.remove(&handle);
    }
}

/// The exchange's inspection, with all parts of it that have arrived by now.
fn current<'a>(
    by_handle: &'a mut HashMap<u32, Inspection>,
    handle: u32,
    exchange: &Exchange,
) -> &'a mut Inspection {
    let inspection = by_handle.entry(handle).or_insert_with(|| inspect(exchange));
    if let Some(body) = exchange.body.get() {
        inspection.set_body(body, is_complete(exchange, body.len()));
    }
    if let Some(head) = exchange.response_head.get() {
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_ref(), value.as_ref()));
        inspection.set_response(("HTTP/1.1", head.status), headers);
    }
    inspection
}

fn inspect(exchange: &Exchange) -> Inspection {
    let head = &exchange.head;
    let unique_id = unique_id();
    let facts = RequestFacts {
        method: &head.method,
        target: &head.target,
        protocol: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
            Version::Http3 => "HTTP/3.0",
        },
        peer: &exchange.connection.peer_text,
        peer_port: exchange.connection.peer.port(),
        local: b"",
        local_port: exchange.connection.local_port,
        unique_id: &unique_id,
    };
    let headers = head.headers.iter();
    let headers = headers.map(|header| (header.name.as_ref(), header.value.as_ref()));
    Inspection::new(&facts, headers)
}

/// The wire holds at most as much of a body as the plan asked for.
fn is_complete(exchange: &Exchange, held: usize) -> bool {
    match exchange.head.framing {
        Framing::Length(length) => length <= held as u64,
        _ => true,
    }
}

/// Time and a counter: unique within this process's life, and hard to meet by accident elsewhere.
pub(crate) fn unique_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.unwrap_or_default().as_micros();
    let count = NEXT_UNIQUE_ID.fetch_add(1, Ordering::Relaxed);
    format!("{micros:016x}{count:08x}")
}

pub(crate) fn plan(id: u32) -> napi::Result<Arc<Plan>> {
    let plans = PLANS.read().unwrap_or_else(PoisonError::into_inner);
    let plan = plans.get(&id).cloned();
    plan.ok_or_else(|| napi::Error::from_reason(format!("no scan plan {id}")))
}

/// Copies the result when it fits; its length in any case.
#[allow(unsafe_code)]
fn hand_over(result: &[u8], out: &mut Uint8ArraySlice) -> i32 {
    // SAFETY: JavaScript does not run, and no other native code sees the array, until return.
    let out = unsafe { out.as_mut() };
    if let Some(out) = out.get_mut(..result.len()) {
        out.copy_from_slice(result);
    }
    i32::try_from(result.len()).unwrap_or(i32::MAX)
}

fn evaluate_error(error: EvaluateError) -> napi::Result<i32> {
    match error {
        EvaluateError::OverBudget => Ok(OVER_BUDGET),
        EvaluateError::Invalid(reason) => Err(napi::Error::from_reason(reason)),
    }
}

/// A panic becomes a JavaScript error.
pub(crate) fn guarded<T>(run: impl FnOnce() -> napi::Result<T>) -> napi::Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(napi::Error::from_reason("the scan panicked")))
}

/// What a scan runs on: an inspection, and what its port keeps from one call to the next. The port
/// of a worker and that of the engine without a server differ only in where the inspection is from.
pub(crate) struct Scanned<'a> {
    pub(crate) inspection: &'a mut Inspection,
    pub(crate) kept: &'a mut Kept,
}

impl Scanned<'_> {
    pub(crate) fn scan(
        self,
        (plan_id, phase): (u32, u32),
        out: &mut Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let plan = plan(plan_id)?;
        let phase = u8::try_from(phase).unwrap_or(0);
        let budget = plan.scan_budget();
        let memo = &mut self.kept.memo;
        match self.inspection.scan(&plan, phase, Effort { budget, memo }) {
            Ok(hits) => hits.write(&mut self.kept.result),
            Err(_) => return Ok(OVER_BUDGET),
        }
        Ok(self.kept.hand_over(out))
    }

    pub(crate) fn evaluate(
        self,
        (plan_id, leaf, argument): (u32, u32, &str),
        out: &mut Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let plan = plan(plan_id)?;
        let budget = plan.scan_budget();
        match self.inspection.evaluate(&plan, (leaf, argument), budget) {
            Ok(hits) => hits.write(&mut self.kept.result),
            Err(error) => return evaluate_error(error),
        }
        Ok(self.kept.hand_over(out))
    }

    pub(crate) fn variable(
        self,
        (name, selector): (&str, &str),
        out: &mut Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let hits = self.inspection.variable(name, selector);
        hits.write(&mut self.kept.result);
        Ok(self.kept.hand_over(out))
    }
}

impl Kept {
    /// The last result, as far as it fits; its length in any case.
    pub(crate) fn hand_over(&self, out: &mut Uint8ArraySlice) -> i32 {
        hand_over(&self.result, out)
    }
}

impl WorkerPort {
    /// Runs `run` on the exchange's inspection. After a panic the inspection is dropped: it may be
    /// half changed, and the exchange is lost anyway.
    pub(crate) fn inspected<T>(
        &mut self,
        handle: u32,
        run: impl FnOnce(Scanned<'_>) -> napi::Result<T>,
    ) -> napi::Result<T> {
        let exchange = self.exchange(handle);
        let Some(exchange) = exchange else {
            return Err(napi::Error::from_reason(format!("no exchange {handle}")));
        };
        let Inspections { by_handle, kept } = &mut self.inspections;
        let outcome = guarded(|| {
            let inspection = current(by_handle, handle, &exchange);
            Ok(run(Scanned { inspection, kept }))
        });
        if outcome.is_err() {
            by_handle.remove(&handle);
        }
        outcome.unwrap_or_else(Err)
    }
}

#[napi]
impl WorkerPort {
    /// Scans the exchange for every leaf of `phase` (1–5) and writes the hits to `out`.
    #[napi]
    pub fn scan(
        &mut self,
        handle: u32,
        plan_id: u32,
        phase: u32,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        self.inspected(handle, |scanned| scanned.scan((plan_id, phase), &mut out))
    }

    /// Runs one leaf now with its macro-expanded argument (Latin-1). Result as `scan`.
    #[napi]
    pub fn evaluate(
        &mut self,
        handle: u32,
        plan_id: u32,
        leaf: u32,
        argument: String,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let query = (plan_id, leaf, argument.as_str());
        self.inspected(handle, |scanned| scanned.evaluate(query, &mut out))
    }

    /// Every value of one variable, as hits of leaf 0xffffffff without captures.
    #[napi]
    pub fn variable(
        &mut self,
        handle: u32,
        name: String,
        selector: String,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        self.inspected(handle, |scanned| {
            scanned.variable((&name, &selector), &mut out)
        })
    }

    /// The last result again, when it did not fit.
    #[napi]
    pub fn result(&self, mut out: Uint8ArraySlice) -> i32 {
        self.inspections.kept.hand_over(&mut out)
    }

    /// `ctl:requestBodyProcessor`, before the phase 2 scan.
    #[napi]
    pub fn set_body_processor(&mut self, handle: u32, processor: String) -> napi::Result<()> {
        self.inspected(handle, |scanned| {
            scanned.inspection.set_body_processor(&processor);
            Ok(())
        })
    }

    /// `ctl:requestBodyAccess`.
    #[napi]
    pub fn body_access(&mut self, handle: u32, on: bool) -> napi::Result<()> {
        self.inspected(handle, |scanned| {
            scanned.inspection.set_body_access(on);
            Ok(())
        })
    }

    /// From now on rules see the response's body: it came with the head, which phase 3 judges
    /// alone.
    #[napi]
    pub fn show_response_body(&mut self, handle: u32) -> napi::Result<()> {
        let exchange = self.exchange(handle);
        let body = exchange.as_ref().and_then(|it| it.response_body.get());
        let Some(body) = body else {
            return Ok(());
        };
        self.inspected(handle, |scanned| {
            scanned
                .inspection
                .set_response_body(&body.bytes, body.complete);
            Ok(())
        })
    }

    /// `ctl:forceRequestBodyVariable`.
    #[napi]
    pub fn force_body_variable(&mut self, handle: u32, on: bool) -> napi::Result<()> {
        self.inspected(handle, |scanned| {
            scanned.inspection.force_body_variable(on);
            Ok(())
        })
    }
}

/// Compiles a scan plan (JSON of `ScanPlan`) for all threads; its id.
#[napi]
pub fn compile_plan(plan: String) -> napi::Result<u32> {
    compile(&plan)
}

/// Compiles a scan plan while the thread that asked for it goes on.
pub struct CompileTask(String);

impl Task for CompileTask {
    type Output = u32;
    type JsValue = u32;

    fn compute(&mut self) -> napi::Result<u32> {
        compile(&self.0)
    }

    fn resolve(&mut self, _env: Env, id: u32) -> napi::Result<u32> {
        Ok(id)
    }
}

/// `compile_plan` on threads of its own.
#[napi]
pub fn compile_plan_aside(plan: String) -> AsyncTask<CompileTask> {
    AsyncTask::new(CompileTask(plan))
}

fn compile(plan: &str) -> napi::Result<u32> {
    guarded(|| {
        let plan =
            Plan::compile(plan).map_err(|error| napi::Error::from_reason(error.to_string()))?;
        let id = NEXT_PLAN.fetch_add(1, Ordering::Relaxed);
        let mut plans = PLANS.write().unwrap_or_else(PoisonError::into_inner);
        plans.insert(id, Arc::new(plan));
        Ok(id)
    })
}

/// Lets a plan go; scans that run keep it until they end.
#[napi]
pub fn drop_plan(plan: u32) {
    PLANS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&plan);
}

/// Runs a leaf's transformations and operator on a text known only while reasoning. Result as
/// `scan`; when it does not fit, call again with more room.
#[napi]
pub fn match_text(
    plan_id: u32,
    leaf: u32,
    text: String,
    argument: String,
    mut out: Uint8ArraySlice,
) -> napi::Result<i32> {
    let plan = plan(plan_id)?;
    guarded(|| {
        let mut hits = Hits::default();
        let text = edge_waf::latin1(&text);
        if let Err(error) = edge_waf::match_text(&plan, (leaf, &argument), &text, &mut hits) {
            return evaluate_error(error);
        }
        let mut result = Vec::new();
        hits.write(&mut result);
        Ok(hand_over(&result, &mut out))
    })
}

/// Names of variables by index, as used in hits.
#[napi]
pub fn variable_names() -> Vec<&'static str> {
    edge_waf::variable_names()
}

/// Names of operators that exist, lower-case.
#[napi]
pub fn operator_names() -> Vec<&'static str> {
    edge_waf::operator_names().to_vec()
}

/// Names of transformations that exist, lower-case.
#[napi]
pub fn transformation_names() -> Vec<&'static str> {
    edge_waf::transformation_names().to_vec()
}

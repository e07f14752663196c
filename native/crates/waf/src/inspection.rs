//! One exchange under inspection: its texts, and what of them was read so far.

use std::time::Duration;

use bytes::Bytes;

use crate::bodies::content_coding::{self, Encoded, Extent};
use crate::bodies::{self, Arguments, Body, BodyProcessor, OVER_NO_FILES_LIMIT, ParseLimits};
use crate::budget::{Budget, OverBudget, Spent};
use crate::hits::{Hit, Hits, NO_LEAF};
use crate::latin1::latin1;
use crate::plan::Plan;
use crate::request::{self, RequestFacts};
use crate::response;
use crate::scan::{Effort, Origin, Scan};
use crate::store::{Store, Text};
use crate::trace::{self, Place, Trace, TraceQuery};
use crate::variable::{Slot, Variable};

/// Room for a usual head: its bytes twice, names and values.
const HEAD_BYTES: usize = 4096;
const HEAD_ENTRIES: usize = 96;
const CONTENT_ENCODING: &[u8] = b"content-encoding";

/// Why a leaf was not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvaluateError {
    OverBudget,
    /// No such leaf, or its argument does not compile.
    Invalid(String),
}

impl From<OverBudget> for EvaluateError {
    fn from(_: OverBudget) -> Self {
        Self::OverBudget
    }
}

/// A body as the wire handed it over.
struct HeldBody {
    bytes: Bytes,
    complete: bool,
}

/// The state of one exchange; owned by the worker that inspects it.
pub struct Inspection {
    store: Store,
    query: Text,
    arguments: Arguments,
    query_read: bool,
    processor: Option<BodyProcessor>,
    /// `ctl:requestBodyAccess`, over what the plan says.
    body_access: Option<bool>,
    body: Option<HeldBody>,
    body_read: bool,
    response_body: Option<HeldBody>,
    response_body_read: bool,
    force_body_variable: bool,
    hits: Hits,
    spent: Spent,
}

impl Inspection {
    /// Takes the head in.
    pub fn new<'a>(
        facts: &RequestFacts<'_>,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let mut store = Store::with_capacity(HEAD_BYTES, HEAD_ENTRIES);
        let query = request::fill(&mut store, facts);
        request::fill_headers(&mut store, headers);
        let mut inspection = Self {
            store,
            query,
            arguments: Arguments::default(),
            query_read: false,
            processor: None,
            body_access: None,
            body: None,
            body_read: false,
            response_body: None,
            response_body_read: false,
            force_body_variable: false,
            hits: Hits::default(),
            spent: Spent::default(),
        };
        let content_type = inspection.content_type();
        inspection.choose_processor(BodyProcessor::from_content_type(&content_type));
        inspection
    }

    /// `ctl:requestBodyProcessor`; an unknown or empty name means none. Before the phase 2 scan.
    pub fn set_body_processor(&mut self, name: &str) {
        self.choose_processor(BodyProcessor::from_name(name));
    }

    /// `ctl:forceRequestBodyVariable`.
    pub fn force_body_variable(&mut self, on: bool) {
        self.force_body_variable = on;
    }

    /// `ctl:requestBodyAccess`: whether phase 2 reads the body. Before its scan.
    pub fn set_body_access(&mut self, on: bool) {
        self.body_access = Some(on);
    }

    /// Takes the request body in, once; it is parsed by the first scan after phase 1.
    pub fn set_body(&mut self, bytes: &Bytes, complete: bool) {
        if self.body.is_none() && !self.body_read {
            self.body = Some(HeldBody {
                bytes: bytes.clone(),
                complete,
            });
        }
    }

    /// Whether a response was taken in.
    pub fn has_response(&self) -> bool {
        self.store.first(Slot::ResponseStatus).is_some()
    }

    /// Takes the response head in.
    pub fn set_response<'a>(
        &mut self,
        line: (&str, u16),
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) {
        if !self.has_response() {
            response::fill(&mut self.store, line, headers);
        }
    }

    /// Takes the response body in, once; it is decoded by the next scan.
    pub fn set_response_body(&mut self, bytes: &Bytes, complete: bool) {
        if !self.response_body_read && self.response_body.is_none() {
            self.response_body = Some(HeldBody {
                bytes: bytes.clone(),
                complete,
            });
        }
    }

    /// Runs every leaf of the phase (1–5) over the values that there are by now.
    pub fn scan(
        &mut self,
        plan: &Plan,
        phase: u8,
        effort: Effort<'_>,
    ) -> Result<&Hits, OverBudget> {
        let mut budget = Budget::new(effort.budget, self.spent);
        let outcome = self.prepare(plan, phase >= 2, &mut budget).and_then(|()| {
            let mut scan = Scan {
                plan,
                store: &self.store,
                hits: &mut self.hits,
                budget: &mut budget,
            };
            plan.phase(phase)
                .map_or(Ok(()), |phase| scan.phase(phase, effort.memo))
        });
        self.spent = budget.spent();
        outcome.map(|()| &self.hits)
    }

    /// Runs one leaf with its expanded argument, in Latin-1.
    pub fn evaluate(
        &mut self,
        plan: &Plan,
        (leaf, argument): (u32, &str),
        limit: Duration,
    ) -> Result<&Hits, EvaluateError> {
        let operator = plan.dynamic_operator(leaf as usize, argument);
        let operator = operator.map_err(EvaluateError::Invalid)?;
        let no_leaf = || EvaluateError::Invalid(format!("no leaf {leaf}"));
        let found = plan.leaf(leaf).ok_or_else(no_leaf)?;
        let mut budget = Budget::new(limit, self.spent);
        let outcome = self
            .prepare(plan, found.phase >= 2, &mut budget)
            .and_then(|()| {
                let mut scan = Scan {
                    plan,
                    store: &self.store,
                    hits: &mut self.hits,
                    budget: &mut budget,
                };
                scan.leaf((leaf, found), &operator)
            });
        self.spent = budget.spent();
        outcome?;
        Ok(&self.hits)
    }

    /// Every value of a variable; `selector` '' is the whole collection.
    pub fn variable(&mut self, name: &str, selector: &str) -> &Hits {
        self.hits.clear();
        let Some(variable) = Variable::from_name(name) else {
            return &self.hits;
        };
        self.read_query(&ParseLimits::default());
        self.read_response_body(&ParseLimits::default());
        if variable.is_full_request() {
            self.fill_full_request();
        }
        let selector = latin1(selector);
        for (entry, side) in self.store.visible(variable) {
            let member = self.store.bytes(entry.name);
            if !selector.is_empty() && !selector.eq_ignore_ascii_case(member) {
                continue;
            }
            self.hits.push(Hit {
                leaf: NO_LEAF,
                target: 0,
                variable: Some(variable),
                name: entry.slot.is_collection().then(|| member.to_vec()),
                value: self.store.bytes(entry.side(side)).to_vec(),
                captures: Vec::new(),
            });
        }
        &self.hits
    }

    /// How a value became the text that a leaf's operator saw; none when there is no such value.
    pub fn trace(
        &self,
        plan: &Plan,
        query: &TraceQuery<'_>,
        place: &Place<'_>,
    ) -> Result<Option<Trace>, EvaluateError> {
        trace::trace((plan, &self.store), query, place)
    }

    /// The request body as it was held for inspection; empty when there is none.
    pub fn request_body(&self) -> &[u8] {
        self.body
            .as_ref()
            .map(|body| body.bytes.as_ref())
            .unwrap_or_default()
    }

    /// The response body as far as it was inspected.
    pub fn response_body(&self) -> &[u8] {
        self.store.response_body()
    }

    /// The result of the last scan, evaluation or variable.
    pub fn hits(&self) -> &Hits {
        &self.hits
    }

    /// Reads what is new; one body is the longest stretch without a look at the clock.
    fn prepare(
        &mut self,
        plan: &Plan,
        with_body: bool,
        budget: &mut Budget,
    ) -> Result<(), OverBudget> {
        self.hits.clear();
        self.read_query(plan.limits());
        let reads_request = with_body && !self.body_read;
        let is_held = reads_request && self.body.is_some() || self.response_body.is_some();
        if is_held {
            budget.start();
        }
        if reads_request {
            self.body_read = true;
            self.read_body(plan.limits());
        }
        self.read_response_body(plan.limits());
        if plan.wants_full_request() {
            self.fill_full_request();
        }
        if is_held { budget.look() } else { Ok(()) }
    }

    /// What can not be decoded is shown as it came, with `OUTBOUND_DATA_ERROR`.
    fn read_response_body(&mut self, limits: &ParseLimits) {
        let Some(body) = self.response_body.take() else {
            return;
        };
        self.response_body_read = true;
        let encoded = Encoded {
            field: &self
                .store
                .joined_headers(Slot::ResponseHeaders, CONTENT_ENCODING),
            bytes: &body.bytes,
            extent: Extent::Prefix,
        };
        let decoded = content_coding::decode(&encoded, &limits.decode);
        let complete = body.complete && decoded.is_ok();
        response::fill_body(&mut self.store, decoded.unwrap_or(body.bytes), complete);
    }

    fn fill_full_request(&mut self) {
        if self.body_read && self.store.first(Slot::FullRequest).is_none() {
            let body = self.store.request_body();
            request::fill_full_request(&mut self.store, &body);
        }
    }

    fn choose_processor(&mut self, processor: Option<BodyProcessor>) {
        self.processor = processor;
        let name = processor.map_or("", BodyProcessor::name);
        self.store.set(Slot::ReqbodyProcessor, name.as_bytes());
    }

    fn content_type(&self) -> Vec<u8> {
        let headers = self
            .store
            .entries()
            .iter()
            .filter(|e| e.slot == Slot::RequestHeaders);
        let mut types = headers.filter(|entry| {
            self.store
                .bytes(entry.name)
                .eq_ignore_ascii_case(b"content-type")
        });
        types
            .next()
            .map(|entry| self.store.bytes(entry.value).to_vec())
            .unwrap_or_default()
    }

    fn read_query(&mut self, limits: &ParseLimits) {
        if self.query_read {
            return;
        }
        self.query_read = true;
        let query = (self.query, Slot::ArgsGet);
        let invalid =
            bodies::urlencoded::parse(&mut self.store, query, &mut self.arguments, limits);
        self.show_arguments(invalid);
    }

    fn show_arguments(&mut self, invalid: bool) {
        if let Some(size) = self.arguments.combined_size() {
            let size = self.store.number(size);
            self.store.set_text(Slot::ArgsCombinedSize, size);
        }
        if invalid || self.store.first(Slot::UrlencodedError).is_none() {
            self.store
                .set(Slot::UrlencodedError, if invalid { b"1" } else { b"0" });
        }
    }

    fn reads_body(&self, limits: &ParseLimits) -> bool {
        self.body_access.unwrap_or(limits.request_body_access)
    }

    fn read_body(&mut self, limits: &ParseLimits) {
        let held = self.body.as_ref().filter(|_| self.reads_body(limits));
        let complete =
            held.is_none_or(|body| body.complete && body.bytes.len() <= limits.body_bytes_max);
        let bytes = held.map(|body| {
            body.bytes
                .slice(..body.bytes.len().min(limits.body_bytes_max))
        });
        let bytes = bytes.unwrap_or_default();
        let encoded = Encoded {
            field: &self
                .store
                .joined_headers(Slot::RequestHeaders, CONTENT_ENCODING),
            bytes: &bytes,
            extent: if complete {
                Extent::Whole
            } else {
                Extent::Received
            },
        };
        let decoded = content_coding::decode(&encoded, &limits.decode);
        let undecodable = decoded
            .as_ref()
            .err()
            .filter(|_| !limits.decode.inspect_raw);
        let undecodable = undecodable.map(|error| format!("Content-Encoding error: {error}"));
        let bytes = decoded.unwrap_or(bytes);
        let complete = complete && bytes.len() <= limits.body_bytes_max;
        let bytes = bytes.slice(..bytes.len().min(limits.body_bytes_max));
        self.store
            .set(Slot::InboundDataError, if complete { b"0" } else { b"1" });
        let text = self.store.hold_request_body(bytes.clone());
        let body = Body {
            bytes: &bytes,
            text,
        };
        let multipart = self.processor == Some(BodyProcessor::Multipart);
        let over_limit = !multipart && bytes.len() > limits.no_files_bytes_max;
        let outcome = match undecodable {
            Some(reason) => Err(reason),
            None if over_limit => Err(OVER_NO_FILES_LIMIT.to_owned()),
            None => self.parse_body(body, limits),
        };
        // Of a multipart body REQUEST_BODY would be the files as well, and of XML the element
        // names, which rules on it were not written for (the CRS's own cases say so): it takes
        // ctl:forceRequestBodyVariable. ModSecurity 3 shows it always.
        let structured = matches!(
            self.processor,
            Some(BodyProcessor::Multipart | BodyProcessor::Xml)
        );
        if !bytes.is_empty() && (!structured || self.force_body_variable) {
            self.store.set_text(Slot::RequestBody, text);
        }
        if !bytes.is_empty() {
            let length = self.store.number(bytes.len() as u64);
            self.store.set_text(Slot::RequestBodyLength, length);
        }
        if outcome
            .as_ref()
            .is_err_and(|reason| reason.ends_with(OVER_NO_FILES_LIMIT))
        {
            self.store.set(Slot::InboundDataError, b"1");
        }
        let error = outcome.err().or_else(|| {
            self.arguments
                .over_limit
                .then(|| format!("over {} arguments", limits.arguments_max))
        });
        self.store.set(
            Slot::ReqbodyError,
            if error.is_some() { b"1" } else { b"0" },
        );
        if let Some(error) = error {
            self.store.set(Slot::ReqbodyErrorMsg, error.as_bytes());
        }
    }

    fn parse_body(&mut self, body: Body<'_>, limits: &ParseLimits) -> Result<(), String> {
        let Some(processor) = self.processor.filter(|_| self.reads_body(limits)) else {
            return Ok(());
        };
        let (store, arguments) = (&mut self.store, &mut self.arguments);
        let (outcome, invalid) = match processor {
            BodyProcessor::Urlencoded => {
                let form = (body.text, Slot::ArgsPost);
                (
                    Ok(()),
                    bodies::urlencoded::parse(store, form, arguments, limits),
                )
            }
            // A request without a body is no broken document, as in ModSecurity.
            BodyProcessor::Json | BodyProcessor::Xml if body.bytes.is_empty() => (Ok(()), false),
            BodyProcessor::Json => (bodies::json::parse(store, body, arguments, limits), false),
            BodyProcessor::Xml => (bodies::xml::parse(store, body, limits), false),
            BodyProcessor::Multipart => {
                let content_type = self.content_type();
                let form = (content_type.as_slice(), body);
                let (store, arguments) = (&mut self.store, &mut self.arguments);
                (
                    bodies::multipart::parse(store, form, arguments, limits),
                    false,
                )
            }
        };
        self.show_arguments(invalid);
        let kind = match processor {
            BodyProcessor::Multipart => "Multipart",
            other => other.name(),
        };
        outcome.map_err(|reason| format!("{kind} parsing error: {reason}"))
    }
}

/// Runs a leaf's chain and operator on a text known only while reasoning; `argument` '' takes the
/// leaf's own.
pub fn match_text(
    plan: &Plan,
    (leaf, argument): (u32, &str),
    text: &[u8],
    hits: &mut Hits,
) -> Result<(), EvaluateError> {
    hits.clear();
    let found = plan.leaf(leaf);
    let found = found.ok_or_else(|| EvaluateError::Invalid(format!("no leaf {leaf}")))?;
    let mut budget = Budget::new(plan.scan_budget(), Spent::default());
    let store = Store::default();
    let mut scan = Scan {
        plan,
        store: &store,
        hits,
        budget: &mut budget,
    };
    let origin = Origin {
        leaf,
        target: 0,
        variable: None,
        name: None,
    };
    let own = found
        .operator
        .and_then(|index| plan.operator(u32::try_from(index).ok()?));
    if let Some(operator) = own.filter(|_| argument.is_empty()) {
        scan.text(found, operator, (text, origin))?;
    } else {
        let operator = plan.dynamic_operator(leaf as usize, argument);
        let operator = operator.map_err(EvaluateError::Invalid)?;
        scan.text(found, &operator, (text, origin))?;
    }
    Ok(())
}

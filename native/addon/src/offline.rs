//! `OfflinePort` and `readRequest` of index.d.ts: inspection without a server, by the same code.

use bytes::{Bytes, BytesMut};
use edge_http_policy::{
    BodyEvent, BodyReader, Framing, Head, HeadLimits, Refusal, Version, head_from_fields, read_head,
};
use edge_waf::{Inspection, RequestFacts, latin1};
use edge_wire::ErrorCode;
use napi::bindgen_prelude::{Uint8Array, Uint8ArraySlice};
use napi_derive::napi;
use std::collections::HashMap;

use crate::error::to_js;
use crate::waf::{Kept, Scanned, guarded, unique_id};

/// `OfflineRequest` of index.d.ts; texts are Latin-1.
#[napi(object)]
pub struct OfflineRequest {
    pub method: String,
    pub target: String,
    pub protocol: String,
    pub headers: Vec<Vec<String>>,
    pub body: Option<Uint8Array>,
    pub body_complete: Option<bool>,
    pub peer: String,
    pub peer_port: u16,
    pub local: String,
    pub local_port: u16,
}

/// `OfflineResponse` of index.d.ts.
#[napi(object)]
pub struct OfflineResponse {
    pub status: u16,
    pub headers: Vec<Vec<String>>,
    pub body: Option<Uint8Array>,
}

/// `ReadLimits` of index.d.ts.
#[napi(object)]
pub struct ReadLimits {
    pub head_bytes_max: u32,
    pub line_bytes_max: u32,
    pub header_count_max: u32,
}

impl From<ReadLimits> for HeadLimits {
    fn from(limits: ReadLimits) -> HeadLimits {
        HeadLimits {
            bytes_max: limits.head_bytes_max as usize,
            line_bytes_max: limits.line_bytes_max as usize,
            count_max: limits.header_count_max as usize,
        }
    }
}

/// `ReadRefusal` of index.d.ts.
#[napi(object)]
pub struct ReadRefusal {
    pub code: String,
    pub reason: String,
}

/// `ReadRequest` of index.d.ts.
#[napi(object)]
pub struct ReadRequest {
    pub refusal: Option<ReadRefusal>,
    pub method: String,
    pub target: String,
    pub protocol: String,
    pub authority: String,
    pub headers: Vec<Vec<String>>,
    pub has_body: bool,
    pub body: Uint8Array,
    pub body_complete: bool,
    pub body_refusal: Option<ReadRefusal>,
    pub doubts: u32,
}

/// Name and value of each field line.
fn fields(headers: &[Vec<String>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = |field: &[String], at: usize| field.get(at).map(|text| latin1(text));
    headers
        .iter()
        .map(|field| {
            let name = text(field, 0).unwrap_or_default();
            (name, text(field, 1).unwrap_or_default())
        })
        .collect()
}

fn bytes_of(body: &Uint8Array) -> Bytes {
    Bytes::copy_from_slice(body)
}

fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Requests under inspection that no connection carried.
#[napi]
pub struct OfflinePort {
    by_handle: HashMap<u32, Inspection>,
    next: u32,
    kept: Kept,
}

impl OfflinePort {
    fn inspected<T>(
        &mut self,
        handle: u32,
        run: impl FnOnce(Scanned<'_>) -> napi::Result<T>,
    ) -> napi::Result<T> {
        let Self {
            by_handle, kept, ..
        } = self;
        let Some(inspection) = by_handle.get_mut(&handle) else {
            return Err(to_js(format!("no request {handle}")));
        };
        let outcome = guarded(|| Ok(run(Scanned { inspection, kept })));
        if outcome.is_err() {
            by_handle.remove(&handle); // it may be half changed
        }
        outcome.unwrap_or_else(Err)
    }
}

#[napi]
impl OfflinePort {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)] // only JavaScript makes one
    pub fn new() -> OfflinePort {
        OfflinePort {
            by_handle: HashMap::new(),
            next: 1,
            kept: Kept::default(),
        }
    }

    /// Takes a request in; its handle.
    #[napi]
    pub fn begin(&mut self, request: OfflineRequest) -> napi::Result<u32> {
        let inspection = guarded(|| Ok(inspect(&request)))?;
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_handle.insert(handle, inspection);
        Ok(handle)
    }

    /// Takes the head of the response in, and its body when there is one.
    #[napi]
    pub fn response(&mut self, handle: u32, response: OfflineResponse) -> napi::Result<()> {
        self.inspected(handle, |scanned| {
            let headers = fields(&response.headers);
            let headers = headers
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_slice()));
            let line = ("HTTP/1.1", response.status);
            scanned.inspection.set_response(line, headers);
            if let Some(body) = &response.body {
                scanned.inspection.set_response_body(&bytes_of(body), true);
            }
            Ok(())
        })
    }

    /// Forgets a request that is over.
    #[napi]
    pub fn end(&mut self, handle: u32) {
        self.by_handle.remove(&handle);
    }

    /// As `WorkerPort::scan`.
    #[napi]
    pub fn scan(
        &mut self,
        handle: u32,
        plan: u32,
        phase: u32,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        self.inspected(handle, |scanned| scanned.scan((plan, phase), &mut out))
    }

    /// As `WorkerPort::evaluate`.
    #[napi]
    pub fn evaluate(
        &mut self,
        handle: u32,
        plan: u32,
        leaf: u32,
        argument: String,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let query = (plan, leaf, argument.as_str());
        self.inspected(handle, |scanned| scanned.evaluate(query, &mut out))
    }

    /// As `WorkerPort::variable`.
    #[napi]
    pub fn variable(
        &mut self,
        handle: u32,
        name: String,
        selector: String,
        mut out: Uint8ArraySlice,
    ) -> napi::Result<i32> {
        let query = (name.as_str(), selector.as_str());
        self.inspected(handle, |scanned| scanned.variable(query, &mut out))
    }

    /// The last result again, when it did not fit.
    #[napi]
    pub fn result(&self, mut out: Uint8ArraySlice) -> i32 {
        self.kept.hand_over(&mut out)
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

    /// `ctl:forceRequestBodyVariable`.
    #[napi]
    pub fn force_body_variable(&mut self, handle: u32, on: bool) -> napi::Result<()> {
        self.inspected(handle, |scanned| {
            scanned.inspection.force_body_variable(on);
            Ok(())
        })
    }
}

fn inspect(request: &OfflineRequest) -> Inspection {
    let unique_id = unique_id();
    let facts = RequestFacts {
        method: &latin1(&request.method),
        target: &latin1(&request.target),
        protocol: &request.protocol,
        peer: request.peer.as_bytes(),
        peer_port: request.peer_port,
        local: request.local.as_bytes(),
        local_port: request.local_port,
        unique_id: &unique_id,
    };
    let headers = fields(&request.headers);
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()));
    let mut inspection = Inspection::new(&facts, headers);
    if let Some(body) = &request.body {
        inspection.set_body(&bytes_of(body), request.body_complete.unwrap_or(true));
    }
    inspection
}

/// Reads one HTTP/1.x request as a connection would, strictly, from its bytes.
#[napi]
pub fn read_request(raw: Uint8Array, limits: ReadLimits) -> napi::Result<ReadRequest> {
    guarded(|| {
        let mut buffer = BytesMut::from(raw.as_ref());
        Ok(match read_head(&mut buffer, &limits.into()) {
            Ok(Some(head)) => request_of(&head, &mut buffer),
            Ok(None) => refused(refusal_of(Refusal::BadRequest("the head is not complete"))),
            Err(refusal) => refused(refusal_of(refusal)),
        })
    })
}

/// Reads one request of HTTP/2 or HTTP/3 as a stream would, from its decoded fields.
#[napi]
pub fn read_fields(
    http3: bool,
    fields_in: Vec<Vec<String>>,
    body: Uint8Array,
    limits: ReadLimits,
) -> napi::Result<ReadRequest> {
    guarded(|| {
        let version = if http3 {
            Version::Http3
        } else {
            Version::Http2
        };
        let fields = fields(&fields_in).into_iter();
        let fields = fields.map(|(name, value)| (Bytes::from(name), Bytes::from(value)));
        let head = head_from_fields(version, fields, body.is_empty(), &limits.into());
        Ok(match head {
            Ok(head) => {
                let announced = match head.framing {
                    Framing::Length(length) => length == body.len() as u64,
                    _ => true,
                };
                let wrong = Refusal::BadRequest("content-length is not that of the body");
                let outcome = if announced {
                    Ok(true)
                } else {
                    Err(refusal_of(wrong))
                };
                read_request_of(&head, body, outcome)
            }
            Err(refusal) => refused(refusal_of(refusal)),
        })
    })
}

fn request_of(head: &Head, rest: &mut BytesMut) -> ReadRequest {
    let mut reader = BodyReader::new(head.framing);
    let mut body = Vec::new();
    let outcome = loop {
        match reader.push(rest) {
            Ok(BodyEvent::Data(piece)) => body.extend_from_slice(&piece),
            Ok(BodyEvent::End) => break Ok(true),
            Ok(BodyEvent::NeedMore) => break Ok(false),
            Err(refusal) => break Err(refusal_of(refusal)),
        }
    };
    read_request_of(head, body.into(), outcome)
}

fn read_request_of(
    head: &Head,
    body: Uint8Array,
    outcome: Result<bool, ReadRefusal>,
) -> ReadRequest {
    let headers = head.headers.iter();
    ReadRequest {
        refusal: None,
        method: text_of(&head.method),
        target: text_of(&head.target),
        protocol: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
            Version::Http3 => "HTTP/3.0",
        }
        .to_owned(),
        authority: text_of(&head.authority),
        headers: headers
            .map(|header| vec![text_of(&header.name), text_of(&header.value)])
            .collect(),
        has_body: head.framing.has_body(),
        body,
        body_complete: matches!(outcome, Ok(true)),
        body_refusal: outcome.err(),
        doubts: head.doubts.0,
    }
}

fn refused(refusal: ReadRefusal) -> ReadRequest {
    ReadRequest {
        refusal: Some(refusal),
        method: String::new(),
        target: String::new(),
        protocol: String::new(),
        authority: String::new(),
        headers: Vec::new(),
        has_body: false,
        body: Vec::new().into(),
        body_complete: true,
        body_refusal: None,
        doubts: 0,
    }
}

fn refusal_of(refusal: Refusal) -> ReadRefusal {
    let reason = match refusal {
        Refusal::BadRequest(reason) => reason,
        Refusal::HeaderTooLarge => "the head is over its limit",
        Refusal::TrailersTooLarge => "the trailers are over their limit",
        Refusal::UriTooLong => "the request line is over its limit",
        Refusal::VersionNotSupported => "neither HTTP/1.0 nor HTTP/1.1",
        Refusal::ExpectationFailed => "Expect is not 100-continue",
    };
    ReadRefusal {
        code: ErrorCode::from(refusal).name().to_owned(),
        reason: reason.to_owned(),
    }
}

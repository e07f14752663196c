//! Records: what the wire tells a worker. They wait as values and are laid out by `encode` when
//! the worker takes them.

use crate::ask::Told;
use crate::error_code::ErrorCode;
use crate::exchange::Exchange;
use bytes::Bytes;
use edge_http_policy::Version;
use std::sync::Arc;

/// How an exchange ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Status sent to the client; 0: none.
    pub status: u16,
    /// What went wrong.
    pub error: Option<ErrorCode>,
    /// The endpoint tried last.
    pub endpoint: Option<u32>,
    /// Visits to endpoints, those that found no connection included.
    pub attempts: u32,
    /// The endpoint of a first attempt that failed and was followed by another, and why.
    pub failed_first: Option<(u32, ErrorCode)>,
    pub request_body_bytes: u64,
    pub response_body_bytes: u64,
    pub duration_us: u32,
    /// 0: none.
    pub first_byte_us: u32,
    pub client_aborted: bool,
    pub head_sent: bool,
}

/// How much of a response's body is there to be inspected. Numbers as in the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Not read, or not yet.
    Unread,
    Whole,
    /// There is more than the plan asked for.
    Beginning,
    /// Not read: it says itself that it is longer than what is let through.
    TooLong,
}

impl Extent {
    /// The one that has this number, in plans and in the frames of a WAF service.
    pub fn of(number: u8) -> Option<Extent> {
        [
            Extent::Unread,
            Extent::Whole,
            Extent::Beginning,
            Extent::TooLong,
        ]
        .into_iter()
        .find(|extent| *extent as u8 == number)
    }
}

/// A request refused before any worker.
#[derive(Debug)]
pub struct Refused {
    pub code: ErrorCode,
    pub version: Version,
    pub status: u16,
    pub listener: u32,
    pub peer: Bytes,
    pub peer_port: u16,
    pub line: Bytes,
}

/// One thing a worker is told.
#[derive(Debug)]
pub enum Record {
    Head {
        handle: u32,
        attempt: u32,
        exchange: Arc<Exchange>,
    },
    Body {
        handle: u32,
        status: u32,
        bytes: u32,
    },
    Outcome {
        handle: u32,
        outcome: Arc<Outcome>,
    },
    Response {
        handle: u32,
        exchange: Arc<Exchange>,
        extent: Extent,
    },
    ResponseBody {
        handle: u32,
        extent: Extent,
    },
    Refused(Box<Refused>),
    /// What the WAF service said.
    Verdict {
        handle: u32,
        told: Told,
    },
    /// In the service: the proxy's exchange ended with that status.
    End {
        handle: u32,
        status: u16,
    },
    /// An exchange that another worker lost after its plan was carried out.
    Orphan {
        handle: u32,
        exchange: Arc<Exchange>,
        outcome: Arc<Outcome>,
    },
}

impl Record {
    /// The exchange it is about, by the worker's handle.
    pub fn handle(&self) -> Option<u32> {
        match self {
            Record::Head { handle, .. }
            | Record::Body { handle, .. }
            | Record::Outcome { handle, .. }
            | Record::Response { handle, .. }
            | Record::ResponseBody { handle, .. }
            | Record::Verdict { handle, .. }
            | Record::End { handle, .. }
            | Record::Orphan { handle, .. } => Some(*handle),
            Record::Refused(_) => None,
        }
    }
}

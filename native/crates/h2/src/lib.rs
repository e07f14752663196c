//! The server side of HTTP/2 (RFC 9113) without any I/O: bytes and the time go in, events come
//! out; commands go in, bytes come out. The caller owns sockets, timers and what requests mean.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod budget;
mod commands;
mod connection;
mod control;
mod frame;
mod fuzz;
mod hpack;
mod receive;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_floods;
mod transmit;

use bytes::Bytes;

pub use budget::Rate;
pub use connection::{Connection, Limits};
pub use frame::Reason;
pub use fuzz::fuzz_connection;
pub use hpack::ListLimits;

/// Name and value of one field line.
pub type Field = (Bytes, Bytes);

/// What the client did, or what became possible.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A request. Its stream counts against concurrency until [`Connection::release`].
    Request {
        /// The stream.
        stream: u32,
        /// Pseudo-fields included, in wire order, not validated.
        fields: Vec<Field>,
        /// Nothing follows.
        ended: bool,
        /// Over the limits: `fields` is its beginning.
        too_large: bool,
    },
    /// A piece of the request body (empty only when it ends it).
    Data {
        /// The stream.
        stream: u32,
        /// Counts against the windows until [`Connection::consume`].
        piece: Bytes,
        /// Nothing follows.
        ended: bool,
    },
    /// Trailers: the request ends with them.
    Trailers {
        /// The stream.
        stream: u32,
        /// Not validated, but no pseudo-field is among them.
        fields: Vec<Field>,
        /// Over the limits: `fields` is their beginning.
        too_large: bool,
    },
    /// The stream is over in both directions; it still must be released.
    Reset {
        /// The stream.
        stream: u32,
        /// What the client did wrong; `None` when it cancelled.
        fault: Option<&'static str>,
    },
    /// A stream that never became a request was reset for what the client did wrong.
    Refused {
        /// What it did.
        fault: &'static str,
    },
    /// [`Connection::room`], which gave 0, may give more now.
    Room {
        /// The stream.
        stream: u32,
    },
    /// The connection is over: send what is left, then close. No stream lives on.
    Failed(Failure),
}

/// Why a connection was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The limit or rule.
    pub cause: Cause,
    /// Which rule, for the log.
    pub detail: &'static str,
}

/// The limit or rule that a client broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A rule of RFC 9113 or 7541.
    Protocol,
    /// More streams cancelled than allowed.
    StreamResets,
    /// More frames without use than allowed.
    ControlFrames,
    /// More memory than one connection may hold.
    ConnectionBytes,
    /// A header block that did not end in time.
    HeaderTimeout,
}

/// The stream cannot be sent on: it was reset or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

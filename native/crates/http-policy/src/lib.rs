//! What an HTTP request must look like before anything else sees it, whatever protocol carried it.
//!
//! Two kinds of objection. A *framing doubt* (how many requests is this, and whose are they?) is a
//! [`Refusal`]: the bytes go no further. A *content doubt* is a bit in [`Doubts`]: the WAF sees the
//! request as received and the policy in TypeScript decides. Pure: bytes in, values out, no clock.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod body;
mod facts;
mod fields;
mod head;
mod syntax;
mod target;
mod trailers;
mod trusted;
mod websocket;

use bytes::Bytes;

pub use body::{BodyEvent, BodyReader};
pub use fields::head_from_fields;
pub use head::read_head;
pub use syntax::{is_field_value, is_token};
pub use target::{canonical_authority, canonical_path};
pub use trailers::{TrailerLimits, trailers};

/// The protocol version a request arrived with; the numbers are those of the head record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10 = 10,
    /// HTTP/1.1
    Http11 = 11,
    /// HTTP/2
    Http2 = 20,
    /// HTTP/3
    Http3 = 30,
}

/// One field line, as received and in wire order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name in the case received.
    pub name: Bytes,
    /// Value without the whitespace around it.
    pub value: Bytes,
}

/// How the end of the request body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes (h2 and h3: the DATA frames must add up to it). May be 0.
    Length(u64),
    /// HTTP/1.1 chunked coding.
    Chunked,
    /// h2, h3: the stream was not ended with its head and there is no Content-Length.
    UntilEnd,
}

impl Framing {
    /// Whether body bytes may follow.
    pub fn has_body(self) -> bool {
        !matches!(self, Framing::None | Framing::Length(0))
    }
}

/// Content doubts: bits as in the head record (proxy/batch.ts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Doubts(pub u32);

impl Doubts {
    /// `%2f` or `%5c` in the path.
    pub const ENCODED_SLASH: Doubts = Doubts(1 << 8);
    /// `.` or `..` segments in the path, plain or encoded, with or without `;parameters`.
    pub const DOT_SEGMENTS: Doubts = Doubts(1 << 9);
    /// `%00` in the path.
    pub const NUL: Doubts = Doubts(1 << 10);
    /// A raw `\` in the path.
    pub const BACKSLASH: Doubts = Doubts(1 << 11);
    /// A field name with `_`.
    pub const UNDERSCORE_NAME: Doubts = Doubts(1 << 12);
    /// Host (or :authority) missing, empty or not `host[:port]`.
    pub const ODD_HOST: Doubts = Doubts(1 << 13);
    /// `#…` in the request target.
    pub const FRAGMENT: Doubts = Doubts(1 << 14);
    /// A method that no RFC the edge knows defines (also TRACE).
    pub const UNKNOWN_METHOD: Doubts = Doubts(1 << 15);
    /// `%` in the path not followed by two hex digits.
    pub const BAD_ESCAPE: Doubts = Doubts(1 << 16);
    /// A raw byte ≥ 0x80 in the request target.
    pub const CONTROL_OR_NON_ASCII: Doubts = Doubts(1 << 17);

    /// Adds the bits of `other`.
    pub fn add(&mut self, other: Doubts) {
        self.0 |= other.0;
    }

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Doubts) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A request head that passed every framing rule.
#[derive(Debug, Clone)]
pub struct Head {
    /// Protocol version.
    pub version: Version,
    /// Method as received.
    pub method: Bytes,
    /// Request target as received.
    pub target: Bytes,
    /// Canonical path: what is routed, inspected and forwarded. Starts with `/`, or is `*`.
    pub path: Bytes,
    /// Raw query without `?`; `None` when there was no `?`.
    pub query: Option<Bytes>,
    /// Lower-case `host[:port]`; empty when there is none or it is odd.
    pub authority: Bytes,
    /// Field lines. For h2 and h3 without a host field, `host: <:authority>` comes first.
    pub headers: Vec<Header>,
    /// How the body ends.
    pub framing: Framing,
    /// Content doubts.
    pub doubts: Doubts,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The client allows another request on this connection (h1; true for h2 and h3).
    pub keep_alive: bool,
    /// `Connection: upgrade` with an `Upgrade` field (h1.1 only).
    pub upgrade: bool,
    /// Opens a WebSocket: RFC 6455 §4.2.1 on h1, extended CONNECT on h2 and h3 (RFC 8441, 9220),
    /// which is shown to the WAF and the router as the GET that it stands for.
    pub websocket: bool,
    /// Came as TLS early data: may be a replay (RFC 8470). Set by the wire.
    pub early: bool,
}

impl Head {
    /// Values of the fields called `name` (any case), in wire order.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> + 'a {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| &header.value)
    }
}

/// Limits on a request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// The whole head. Beyond it: [`Refusal::HeaderTooLarge`].
    pub bytes_max: usize,
    /// One line. Beyond it: [`Refusal::UriTooLong`] for the request line, else `HeaderTooLarge`.
    pub line_bytes_max: usize,
    /// Field lines (h2, h3: pseudo-fields not counted). Beyond it: [`Refusal::HeaderTooLarge`].
    pub count_max: usize,
}

/// A framing doubt: nothing behind the validator may see this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Malformed or ambiguous; the text says which rule, for the log only.
    BadRequest(&'static str),
    /// Head, line or count over its limit.
    HeaderTooLarge,
    /// Trailer count or bytes over their limit.
    TrailersTooLarge,
    /// Request line (or `:path`) over the line limit.
    UriTooLong,
    /// Well-formed, but neither HTTP/1.0 nor HTTP/1.1.
    VersionNotSupported,
    /// `Expect` with anything but `100-continue`.
    ExpectationFailed,
}

//! Heads towards endpoints and back: hop-by-hop fields off, edits on, framing rebuilt.

use crate::error_code::ErrorCode;
use crate::exchange::Exchange;
use crate::h1_head::put_decimal;
use crate::plan::{Edit, EditOp};
use crate::seam::Field;
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::Framing;

/// How the request body is framed towards the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFraming {
    None,
    Length(u64),
    Chunked,
}

impl RequestFraming {
    /// For an exchange whose whole body may be held already.
    pub fn of(framing: Framing, whole_body: Option<u64>) -> RequestFraming {
        match (framing, whole_body) {
            (Framing::None, _) => RequestFraming::None,
            (Framing::Length(length), _) | (_, Some(length)) => RequestFraming::Length(length),
            (Framing::Chunked | Framing::UntilEnd, None) => RequestFraming::Chunked,
        }
    }
}

/// Fields that never cross a proxy (RFC 9110 §7.6.1), and those that are rebuilt.
fn is_hop_by_hop(name: &[u8]) -> bool {
    // By length first: most names end there.
    let known: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"upgrade", b"trailer"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length", b"http2-settings"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        _ => return false,
    };
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a comma-separated field value has `member`, in any case.
pub fn lists(value: &[u8], member: &[u8]) -> bool {
    let mut members = value.split(|byte| *byte == b',');
    members.any(|found| found.trim_ascii().eq_ignore_ascii_case(member))
}

fn named_in_connection(connection: &[&Bytes], name: &[u8]) -> bool {
    connection.iter().any(|value| lists(value, name))
}

/// The last edit wins: whether fields of `name` as received are replaced.
fn is_replaced(edits: &[Edit], name: &[u8]) -> bool {
    let about = |edit: &&Edit| edit.op != EditOp::Append && edit.name.eq_ignore_ascii_case(name);
    edits.iter().any(|edit| about(&edit))
}

/// Whether a later edit undoes the one at `index`.
fn is_undone(edits: &[Edit], index: usize) -> bool {
    let Some(edit) = edits.get(index) else {
        return true;
    };
    edits
        .get(index + 1..)
        .is_some_and(|later| is_replaced(later, &edit.name))
}

/// The fields that edits add.
fn added(edits: &[Edit]) -> impl Iterator<Item = &Edit> {
    let kept = |index: &usize| !is_undone(edits, *index);
    let indexed = edits
        .iter()
        .enumerate()
        .filter(move |(index, _)| kept(index));
    indexed
        .map(|(_, edit)| edit)
        .filter(|edit| edit.op != EditOp::Remove)
}

/// A plan's text cannot break the head: the worker's macros may expand to client bytes.
fn is_safe(bytes: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, bytes).is_none()
}

fn put_field(output: &mut BytesMut, name: &[u8], value: &[u8]) {
    output.put_slice(name);
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

/// What a request asks for beside its fields.
pub struct Outgoing<'a> {
    pub exchange: &'a Exchange,
    pub edits: &'a [Edit],
    pub framing: RequestFraming,
    /// The key with which it asks for a WebSocket (HTTP/1.1 only).
    pub websocket_key: Option<&'a Bytes>,
}

impl Outgoing<'_> {
    /// Calls `put` with the end-to-end fields. True: the client takes trailers (`TE: trailers`),
    /// which each protocol says in its own way.
    fn fields(&self, mut put: impl FnMut(&Bytes, &Bytes)) -> bool {
        let head = &self.exchange.head;
        let connection: Vec<&Bytes> = head.header("connection").collect();
        let mut takes_trailers = false;
        for header in &head.headers {
            let name = &header.name;
            if name.eq_ignore_ascii_case(b"te") {
                takes_trailers |= lists(&header.value, b"trailers");
            }
            let dropped = is_hop_by_hop(name)
                || name.eq_ignore_ascii_case(b"host")
                || name.eq_ignore_ascii_case(b"expect")
                || name.contains(&b'_')
                || (self.websocket_key.is_some() && is_opening(name))
                || (!connection.is_empty() && named_in_connection(&connection, name))
                || is_replaced(self.edits, name);
            if !dropped && is_safe(name) && is_safe(&header.value) {
                put(name, &header.value);
            }
        }
        for edit in added(self.edits).filter(|edit| !is_hop_by_hop(&edit.name)) {
            if is_safe(&edit.name) && is_safe(&edit.value) {
                put(&edit.name, &edit.value);
            }
        }
        takes_trailers
    }

    /// The host that an edit sets, else the request's.
    fn authority(&self) -> &Bytes {
        let is_host = |edit: &&Edit| edit.name.eq_ignore_ascii_case(b"host");
        let edited = added(self.edits).filter(is_host).last();
        edited.map_or(&self.exchange.head.authority, |edit| &edit.value)
    }

    /// As the head of an HTTP/1.1 request.
    pub fn h1(&self) -> BytesMut {
        let head = &self.exchange.head;
        let mut output = BytesMut::with_capacity(1024);
        output.put_slice(&head.method);
        output.put_u8(b' ');
        output.put_slice(&head.path);
        if let Some(query) = &head.query {
            output.put_u8(b'?');
            output.put_slice(query);
        }
        output.put_slice(b" HTTP/1.1\r\n");
        if !is_replaced(self.edits, b"host") {
            put_field(&mut output, b"host", &head.authority);
        }
        let takes_trailers = self.fields(|name, value| put_field(&mut output, name, value));
        match (self.websocket_key, takes_trailers) {
            (Some(key), _) => {
                output.put_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
                output.put_slice(b"sec-websocket-version: 13\r\n");
                put_field(&mut output, b"sec-websocket-key", key);
            }
            (None, true) => output.put_slice(b"te: trailers\r\nconnection: te\r\n"),
            (None, false) => {}
        }
        match self.framing {
            RequestFraming::None => {}
            RequestFraming::Length(length) => {
                output.put_slice(b"content-length: ");
                put_decimal(&mut output, length);
                output.put_slice(b"\r\n");
            }
            RequestFraming::Chunked => output.put_slice(b"transfer-encoding: chunked\r\n"),
        }
        output.put_slice(b"\r\n");
        output
    }

    /// As the head of an HTTP/2 request.
    pub fn h2(&self, tls: bool) -> Result<http::Request<()>, ErrorCode> {
        let head = &self.exchange.head;
        let mut request = http::Request::new(());
        let internal = |_: http::Error| ErrorCode::Internal;
        *request.method_mut() =
            http::Method::from_bytes(&head.method).map_err(|error| internal(error.into()))?;
        *request.uri_mut() = self.uri(tls).map_err(internal)?;
        let fields = request.headers_mut();
        let mut put = |name: &Bytes, value: &Bytes| {
            let name = http::HeaderName::from_bytes(name);
            let value = http::HeaderValue::from_maybe_shared(value.clone());
            if let (Ok(name), Ok(value)) = (name, value) {
                fields.append(name, value);
            }
        };
        let is_host = |name: &Bytes| name.eq_ignore_ascii_case(b"host");
        if self.fields(|name, value| {
            if !is_host(name) {
                put(name, value)
            }
        }) {
            fields.insert(http::header::TE, http::HeaderValue::from_static("trailers"));
        }
        if let RequestFraming::Length(length) = self.framing {
            fields.insert(http::header::CONTENT_LENGTH, length.into());
        }
        Ok(request)
    }

    fn uri(&self, tls: bool) -> Result<http::Uri, http::Error> {
        let head = &self.exchange.head;
        let mut target = BytesMut::with_capacity(head.path.len() + 64);
        target.put_slice(&head.path);
        if let Some(query) = &head.query {
            target.put_u8(b'?');
            put_query(&mut target, query);
        }
        let mut parts = http::uri::Parts::default();
        let target = http::uri::PathAndQuery::from_maybe_shared(target.freeze());
        parts.path_and_query = Some(target?);
        let authority = self.authority();
        // Without a host (HTTP/1.0) there is no `:authority` either (RFC 9113 §8.3.1).
        if !authority.is_empty() {
            let scheme = if tls {
                http::uri::Scheme::HTTPS
            } else {
                http::uri::Scheme::HTTP
            };
            parts.scheme = Some(scheme);
            let authority = http::uri::Authority::from_maybe_shared(authority.clone());
            parts.authority = Some(authority?);
        }
        Ok(http::Uri::from_parts(parts)?)
    }
}

/// The library that speaks HTTP/2 takes no `"`, `<`, `>` and no byte beyond ASCII in a query,
/// which RFC 3986 §3.4 does not know either. They go as the escapes that mean the same.
fn put_query(target: &mut BytesMut, query: &[u8]) {
    for byte in query {
        match byte {
            b'"' | b'<' | b'>' | 0x80.. => target.put_slice(format!("%{byte:02X}").as_bytes()),
            _ => target.put_u8(*byte),
        }
    }
}

/// Fields of a WebSocket's opening that are written anew.
fn is_opening(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"sec-websocket-key")
        || name.eq_ignore_ascii_case(b"sec-websocket-version")
}

/// The trailers that go on: all of them for gRPC, else those known to be harmless behind a body.
/// They are never merged into a head.
pub fn passing_trailers(mut trailers: Vec<Field>, all: bool) -> Vec<Field> {
    const NAMES: [&[u8]; 5] = [
        b"server-timing",
        b"etag",
        b"digest",
        b"content-digest",
        b"repr-digest",
    ];
    let passes = |name: &[u8]| {
        let begins = |prefix: &[u8]| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
            || begins(b"grpc-")
            || begins(b"x-checksum-")
    };
    trailers.retain(|(name, _)| all || passes(name));
    trailers
}

/// The endpoint's response fields as they go on, before any edit.
pub fn without_hop_by_hop(headers: Vec<(Bytes, Bytes)>) -> Vec<(Bytes, Bytes)> {
    let named = |name: &Bytes| name.eq_ignore_ascii_case(b"connection");
    let has_connection = headers.iter().any(|(name, _)| named(name));
    let mut kept = headers;
    if has_connection {
        let values: Vec<Bytes> = kept
            .iter()
            .filter(|(name, _)| named(name))
            .map(|(_, value)| value.clone())
            .collect();
        let values: Vec<&Bytes> = values.iter().collect();
        kept.retain(|(name, _)| !named_in_connection(&values, name));
    }
    kept.retain(|(name, _)| !is_hop_by_hop(name));
    kept
}

/// Applies a plan's edits to response fields. Framing stays the wire's.
pub fn edit_response(headers: &mut Vec<(Bytes, Bytes)>, edits: &[Edit]) {
    for edit in edits {
        if is_hop_by_hop(&edit.name) || !is_safe(&edit.name) || !is_safe(&edit.value) {
            continue;
        }
        if edit.op != EditOp::Append {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&edit.name));
        }
        if edit.op != EditOp::Remove {
            headers.push((edit.name.clone(), edit.value.clone()));
        }
    }
}

/// Fields of an answer made by the worker: framing and unsafe text dropped.
pub fn answer_headers(headers: Vec<(Bytes, Bytes)>) -> Vec<(Bytes, Bytes)> {
    let mut kept = headers;
    kept.retain(|(name, value)| !is_hop_by_hop(name) && is_safe(name) && is_safe(value));
    kept
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn trailers_pass_by_the_list_unless_all_do() {
        let fields = [
            "grpc-status",
            "Content-Digest",
            "x-checksum-crc32",
            "x-other",
        ];
        let all: Vec<Field> = fields.map(|name| (name.into(), "1".into())).into();
        assert_eq!(passing_trailers(all.clone(), true), all);
        assert_eq!(passing_trailers(all.clone(), false), all[..3]);
    }

    #[test]
    fn a_query_keeps_every_byte_that_a_query_may_hold() {
        let mut target = BytesMut::new();
        put_query(&mut target, b"a=[1]{2}|\\^`%zz?/'&<\">\xe9");
        assert_eq!(&target[..], b"a=[1]{2}|\\^`%zz?/'&%3C%22%3E%E9");
        assert!(http::uri::PathAndQuery::try_from(&[b"/?", &target[..]].concat()[..]).is_ok());
    }
}

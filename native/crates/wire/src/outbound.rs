//! Heads towards endpoints and back: hop-by-hop fields off, edits on, framing rebuilt.

use crate::exchange::Exchange;
use crate::h1_head::put_decimal;
use crate::plan::{Edit, EditOp};
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
    const NAMES: [&[u8]; 9] = [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"trailer",
        b"http2-settings",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn named_in_connection(connection: &[&Bytes], name: &[u8]) -> bool {
    let mut options = connection
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
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
    !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

fn put_field(output: &mut BytesMut, name: &[u8], value: &[u8]) {
    if !is_safe(name) || !is_safe(value) {
        return;
    }
    output.put_slice(name);
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

/// The request head for the endpoint.
pub fn request_head(exchange: &Exchange, edits: &[Edit], framing: RequestFraming) -> BytesMut {
    let head = &exchange.head;
    let mut output = BytesMut::with_capacity(1024);
    output.put_slice(&head.method);
    output.put_u8(b' ');
    output.put_slice(&head.path);
    if let Some(query) = &head.query {
        output.put_u8(b'?');
        output.put_slice(query);
    }
    output.put_slice(b" HTTP/1.1\r\n");
    if !is_replaced(edits, b"host") {
        put_field(&mut output, b"host", &head.authority);
    }
    let connection: Vec<&Bytes> = head.header("connection").collect();
    for header in &head.headers {
        let name = &header.name;
        let dropped = is_hop_by_hop(name)
            || name.eq_ignore_ascii_case(b"host")
            || name.eq_ignore_ascii_case(b"expect")
            || name.contains(&b'_')
            || (!connection.is_empty() && named_in_connection(&connection, name))
            || is_replaced(edits, name);
        if !dropped {
            put_field(&mut output, name, &header.value);
        }
    }
    for edit in added(edits).filter(|edit| !is_hop_by_hop(&edit.name)) {
        put_field(&mut output, &edit.name, &edit.value);
    }
    match framing {
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

//! The variables that the request's head gives, as ModSecurity 3 fills them.

use crate::bodies::urlencoded;
use crate::store::{Store, Text};
use crate::variable::Slot;

/// What is known of a request once its head was read; borrowed from the wire's exchange.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    pub method: &'a [u8],
    /// The target as received: `/a?b`, or `http://host/a?b`.
    pub target: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`, `HTTP/3.0`.
    pub protocol: &'a str,
    /// The client's address as text.
    pub peer: &'a [u8],
    pub peer_port: u16,
    /// The listener's own address as text; empty when it is not known.
    pub local: &'a [u8],
    pub local_port: u16,
    pub unique_id: &'a str,
}

/// The parts of a target that variables show.
struct Target<'a> {
    /// Path and query, without scheme and host.
    relative: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
}

/// Fills everything but the headers. The text of the query is the answer: its arguments are read
/// later, when the plan's separator is known.
pub fn fill(store: &mut Store, facts: &RequestFacts<'_>) -> Text {
    let method = store.copy(facts.method);
    store.add(Slot::RequestMethod, method);
    let line = [
        facts.method,
        b" ",
        facts.target,
        b" ",
        facts.protocol.as_bytes(),
    ];
    let line = store.concat(&line);
    store.add(Slot::RequestLine, line);
    let raw = line.part(facts.method.len() + 1, facts.target.len());
    store.add(Slot::RequestUriRaw, raw);
    store.add(
        Slot::RequestProtocol,
        line.part(line.len() - facts.protocol.len(), line.len()),
    );
    let target = split_target(facts.target);
    let relative = raw.part(facts.target.len() - target.relative.len(), raw.len());
    // ModSecurity v3: REQUEST_URI has its escapes decoded once, REQUEST_URI_RAW and QUERY_STRING
    // are as received.
    let mut shown = relative;
    if memchr::memchr(b'%', target.relative).is_some() {
        let decoded = urlencoded::decode(target.relative, false, &mut false);
        shown = store.copy(&decoded);
    }
    store.add(Slot::RequestUri, shown);
    let query = raw.part(raw.len() - target.query.len(), raw.len());
    store.add(Slot::QueryString, query);
    fill_filename(store, relative.part(0, target.path.len()), target.path);
    fill_connection(store, facts);
    query
}

/// ModSecurity splits at the first `?` of the decoded target, which `%3f` evades (CVE-2024-1019);
/// here the raw target is split and the path decoded after it.
fn split_target(target: &[u8]) -> Target<'_> {
    let relative = match memchr::memmem::find(target, b"://") {
        Some(scheme) if target.first() != Some(&b'/') && is_scheme(target.get(..scheme)) => {
            let authority = target.get(scheme + 3..).unwrap_or_default();
            let path = authority
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?'));
            path.and_then(|at| authority.get(at..)).unwrap_or_default()
        }
        _ => target,
    };
    match memchr::memchr(b'?', relative) {
        Some(at) => Target {
            relative,
            path: relative.get(..at).unwrap_or_default(),
            query: relative.get(at + 1..).unwrap_or_default(),
        },
        None => Target {
            relative,
            path: relative,
            query: b"",
        },
    }
}

fn is_scheme(scheme: Option<&[u8]>) -> bool {
    scheme.is_some_and(|scheme| scheme.iter().all(u8::is_ascii_alphanumeric))
}

/// `REQUEST_FILENAME` is the path with its escapes decoded once, `REQUEST_BASENAME` what follows
/// its last slash or backslash.
fn fill_filename(store: &mut Store, text: Text, path: &[u8]) {
    let mut filename = text;
    let mut decoded = Vec::new();
    let mut bytes = path;
    if memchr::memchr(b'%', path).is_some() {
        decoded = urlencoded::decode(path, false, &mut false);
        filename = store.copy(&decoded);
        bytes = &decoded;
    }
    store.add(Slot::RequestFilename, filename);
    if let Some(at) = memchr::memrchr2(b'/', b'\\', bytes) {
        store.add(Slot::RequestBasename, filename.part(at + 1, filename.len()));
    }
    drop(decoded);
}

fn fill_connection(store: &mut Store, facts: &RequestFacts<'_>) {
    let peer = store.copy(facts.peer);
    store.add(Slot::RemoteAddr, peer);
    let port = store.number(u64::from(facts.peer_port));
    store.add(Slot::RemotePort, port);
    let local = store.copy(facts.local);
    store.add(Slot::ServerAddr, local);
    let port = store.number(u64::from(facts.local_port));
    store.add(Slot::ServerPort, port);
    let id = store.copy(facts.unique_id.as_bytes());
    store.add(Slot::UniqueId, id);
}

/// Fills the headers, in wire order, and what ModSecurity reads out of them.
pub fn fill_headers<'a>(store: &mut Store, headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    for (name, value) in headers {
        let name_text = store.copy(name);
        let value_text = store.copy(value);
        store.push(Slot::RequestHeaders, name_text, value_text);
        if name.eq_ignore_ascii_case(b"cookie") {
            fill_cookies(store, value, value_text);
        } else if name.eq_ignore_ascii_case(b"host") {
            let host = host_of(value);
            store.set_text(Slot::ServerName, value_text.part(0, host.len()));
        } else if name.eq_ignore_ascii_case(b"authorization") {
            let end = memchr::memchr(b' ', value).unwrap_or(value.len());
            store.set_text(Slot::AuthType, value_text.part(0, end));
        }
    }
}

/// The host without its port; an IPv6 address keeps its brackets.
fn host_of(value: &[u8]) -> &[u8] {
    let from = if value.first() == Some(&b'[') {
        memchr::memchr(b']', value)
    } else {
        Some(0)
    };
    let from = from.unwrap_or(0);
    let colon = memchr::memchr(b':', value.get(from..).unwrap_or_default());
    colon.and_then(|at| value.get(..from + at)).unwrap_or(value)
}

/// ModSecurity 3: pairs end at `;`, names lose leading white space, a pair without name is left
/// out, and white space goes at the end of the whole header only.
fn fill_cookies(store: &mut Store, value: &[u8], text: Text) {
    let mut start = 0;
    for pair in value.trim_ascii_end().split(|byte| *byte == b';') {
        let equals = memchr::memchr(b'=', pair);
        let name = pair.get(..equals.unwrap_or(pair.len())).unwrap_or_default();
        let trimmed = name.trim_ascii_start();
        if !trimmed.is_empty() {
            let name_text = text.part(start + name.len() - trimmed.len(), trimmed.len());
            let value_text = equals.map_or(Text::default(), |at| {
                text.part(start + at + 1, pair.len() - at - 1)
            });
            store.push(Slot::RequestCookies, name_text, value_text);
        }
        start += pair.len() + 1;
    }
}

/// `FULL_REQUEST`: the headers and the body as one text. Only filled when a rule asks for it.
pub fn fill_full_request(store: &mut Store, body: &[u8]) {
    let mut full = Vec::with_capacity(1024 + body.len());
    for entry in store
        .entries()
        .iter()
        .filter(|entry| entry.slot == Slot::RequestHeaders)
    {
        full.extend_from_slice(store.bytes(entry.name));
        full.extend_from_slice(b": ");
        full.extend_from_slice(store.bytes(entry.value));
        full.push(b'\n');
    }
    full.extend_from_slice(b"\n\n");
    full.extend_from_slice(body);
    store.set(Slot::FullRequest, &full);
    let length = store.number(full.len() as u64);
    store.set_text(Slot::FullRequestLength, length);
}

//! The HTTP/1.x head, read strictly from raw bytes (RFC 9112).

use crate::facts::Facts;
use crate::syntax::{is_field_value, is_known_method, is_token, is_token_byte};
use crate::target::{self, canonical_authority};
use crate::{Doubts, Framing, Head, HeadLimits, Header, Refusal, Version, websocket};
use bytes::{Bytes, BytesMut};

const END: &[u8] = b"\r\n\r\n";
const BAD_LINE_END: Refusal = Refusal::BadRequest("a line does not end in CR LF");

/// Takes one complete head (up to and with its empty line) off the front of `buffer`.
/// `None`: not complete yet, nothing was taken; call again with more bytes. What can no longer
/// become a valid head is refused before it is complete.
pub fn read_head(buffer: &mut BytesMut, limits: &HeadLimits) -> Result<Option<Head>, Refusal> {
    let Some(end) = memchr::memmem::find(buffer, END) else {
        check_beginning(buffer, limits)?;
        return Ok(None);
    };
    let length = end + END.len();
    if length > limits.bytes_max {
        check_beginning(buffer, limits)?;
        return Err(Refusal::HeaderTooLarge);
    }
    parse(buffer.split_to(length).freeze(), limits).map(Some)
}

/// Refuses early: a wrong protocol, bare line feeds and anything over its limit need no more bytes.
fn check_beginning(buffer: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    let line_feed = memchr::memchr(b'\n', buffer);
    let first = buffer
        .get(..line_feed.map_or(buffer.len(), |at| at + 1))
        .unwrap_or_default();
    if first.len() > limits.line_bytes_max {
        return Err(Refusal::UriTooLong);
    }
    if line_feed.is_some() {
        request_line(first.strip_suffix(b"\r\n").ok_or(BAD_LINE_END)?)?;
    } else {
        let method = first.split(|byte| *byte == b' ').next().unwrap_or_default();
        if !method.iter().all(|byte| is_token_byte(*byte)) {
            return Err(Refusal::BadRequest("method is not a token"));
        }
    }
    if buffer.len() > limits.bytes_max {
        return Err(Refusal::HeaderTooLarge);
    }
    let bare = memchr::memchr_iter(b'\n', buffer)
        .any(|at| at.checked_sub(1).and_then(|before| buffer.get(before)) != Some(&b'\r'));
    if bare { Err(BAD_LINE_END) } else { Ok(()) }
}

fn parse(bytes: Bytes, limits: &HeadLimits) -> Result<Head, Refusal> {
    let (line, mut rest) = next_line(&bytes)?;
    if line.len() + 2 > limits.line_bytes_max {
        return Err(Refusal::UriTooLong);
    }
    let (method, raw_target, version) = request_line(line)?;
    let method = bytes.slice_ref(method);
    let raw_target = bytes.slice_ref(raw_target);
    let target = target::parse(&method, &raw_target, true)?;
    let mut headers = Vec::with_capacity(16);
    let mut facts = Facts::default();
    loop {
        let (line, after) = next_line(rest)?;
        if line.is_empty() {
            break;
        }
        if line.len() + 2 > limits.line_bytes_max || headers.len() >= limits.count_max {
            return Err(Refusal::HeaderTooLarge);
        }
        let (name, value) = field_line(line)?;
        let header = Header {
            name: bytes.slice_ref(name),
            value: bytes.slice_ref(value),
        };
        facts.add(version, &header)?;
        headers.push(header);
        rest = after;
    }
    let mut framing = facts.http1_framing(version)?;
    // RFC 9110 §7.8: an Upgrade in an HTTP/1.0 request is ignored.
    let websocket = version == Version::Http11 && facts.websocket();
    if websocket {
        websocket::check_opening(&method, &headers, framing)?;
        framing = Framing::None; // also where it said Content-Length: 0
    }
    let mut doubts = target.doubts;
    doubts.add(facts.doubts);
    if !is_known_method(&method) {
        doubts.add(Doubts::UNKNOWN_METHOD);
    }
    let authority = authority(version, &facts, target.authority.as_ref(), &mut doubts);
    Ok(Head {
        version,
        method,
        target: raw_target,
        path: target.path,
        query: target.query,
        authority,
        headers,
        framing,
        doubts,
        expect_continue: facts.expect_continue && framing.has_body(),
        keep_alive: !facts.close && (version == Version::Http11 || facts.keep_alive),
        upgrade: version == Version::Http11 && facts.upgrade(),
        websocket,
        early: false,
    })
}

/// The absolute form replaces Host (RFC 9112 §3.2.2); a missing Host is a doubt on HTTP/1.1 only.
fn authority(
    version: Version,
    facts: &Facts,
    absolute: Option<&Bytes>,
    doubts: &mut Doubts,
) -> Bytes {
    let host = facts.host.as_ref();
    let host_is_odd = match host {
        Some(host) => canonical_authority(host).is_none(),
        None => version == Version::Http11,
    };
    let canonical = absolute.or(host).and_then(canonical_authority);
    if host_is_odd || (absolute.is_some() && canonical.is_none()) {
        doubts.add(Doubts::ODD_HOST);
    }
    canonical.unwrap_or_default()
}

/// The line before the first line feed, without its CR LF, and what follows.
fn next_line(rest: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let at = memchr::memchr(b'\n', rest).ok_or(BAD_LINE_END)?;
    let (line, after) = rest.split_at_checked(at + 1).ok_or(BAD_LINE_END)?;
    Ok((line.strip_suffix(b"\r\n").ok_or(BAD_LINE_END)?, after))
}

/// `method SP request-target SP HTTP-version`, single spaces only.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::BadRequest("request line is not three words"));
    };
    if !is_token(method) {
        return Err(Refusal::BadRequest("method is not a token"));
    }
    if target.is_empty() {
        return Err(Refusal::BadRequest("request target is empty"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::VersionNotSupported);
        }
        _ => return Err(Refusal::BadRequest("not an HTTP version")),
    };
    Ok((method, target, version))
}

/// `name ":" OWS value OWS`. A line that begins with a space (obs-fold) has no token before `:`.
pub(crate) fn field_line(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr::memchr(b':', line).ok_or(Refusal::BadRequest("field without a colon"))?;
    let name = line.get(..colon).unwrap_or_default();
    if !is_token(name) {
        return Err(Refusal::BadRequest("field name is not a token"));
    }
    let value = trim(line.get(colon + 1..).unwrap_or_default());
    if !is_field_value(value) {
        return Err(Refusal::BadRequest("control byte in a field value"));
    }
    Ok((name, value))
}

/// Cuts spaces and tabs only: `trim_ascii` would also hide a form feed or a bare CR.
fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value.iter().rposition(is_text).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default()
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;

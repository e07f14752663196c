//! Request targets: path canonicalisation (RFC 3986 §6.2.2) and authorities.

use crate::{Doubts, Refusal};
use bytes::Bytes;

/// A request target taken apart.
#[derive(Debug)]
pub(crate) struct Target {
    /// Canonical path, or `*`.
    pub path: Bytes,
    /// Raw query, without `?`.
    pub query: Option<Bytes>,
    /// Raw authority of the absolute form.
    pub authority: Option<Bytes>,
    /// What its raw form raised.
    pub doubts: Doubts,
}

/// Takes a request target apart (RFC 9112 §3.2). `absolute_form` is allowed on HTTP/1.x only.
pub(crate) fn parse(method: &[u8], raw: &Bytes, absolute_form: bool) -> Result<Target, Refusal> {
    if raw.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(Refusal::BadRequest(
            "space or control byte in the request target",
        ));
    }
    if method == b"CONNECT" {
        return Err(Refusal::BadRequest("CONNECT is not offered"));
    }
    let mut doubts = Doubts::default();
    if !raw.is_ascii() {
        doubts.add(Doubts::CONTROL_OR_NON_ASCII);
    }
    if raw.as_ref() == b"*" {
        if method != b"OPTIONS" {
            return Err(Refusal::BadRequest("asterisk form outside OPTIONS"));
        }
        return Ok(Target {
            path: raw.clone(),
            query: None,
            authority: None,
            doubts,
        });
    }
    let (authority, rest) = if raw.first() == Some(&b'/') {
        (None, raw.clone())
    } else if absolute_form {
        let (authority, rest) = split_absolute(raw)?;
        (Some(authority), rest)
    } else {
        return Err(Refusal::BadRequest("path does not begin with a slash"));
    };
    let (path, query, fragment) = split_path(&rest);
    if fragment {
        doubts.add(Doubts::FRAGMENT);
    }
    // RFC 9112 §3.2.4: OPTIONS for a URL without a path asks about the server as a whole.
    let (path, path_doubts) = if path.is_empty() && query.is_none() && method == b"OPTIONS" {
        (Bytes::from_static(b"*"), Doubts::default())
    } else {
        canonical_path(&path)
    };
    doubts.add(path_doubts);
    Ok(Target {
        path,
        query,
        authority,
        doubts,
    })
}

/// Splits `http://authority/rest` after the authority.
fn split_absolute(raw: &Bytes) -> Result<(Bytes, Bytes), Refusal> {
    let scheme_length = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| {
            raw.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(|scheme| scheme.len())
        .ok_or(Refusal::BadRequest(
            "request target is neither a path nor an http URL",
        ))?;
    let after = raw.slice(scheme_length..);
    let end = after
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    let end = end.unwrap_or(after.len());
    if end == 0 {
        return Err(Refusal::BadRequest("absolute form without an authority"));
    }
    Ok((after.slice(..end), after.slice(end..)))
}

/// Path, query without `?`, and whether a fragment was cut off.
fn split_path(raw: &Bytes) -> (Bytes, Option<Bytes>, bool) {
    let fragment = memchr::memchr(b'#', raw);
    let raw = raw.slice(..fragment.unwrap_or(raw.len()));
    match memchr::memchr(b'?', &raw) {
        Some(at) => (
            raw.slice(..at),
            Some(raw.slice(at + 1..)),
            fragment.is_some(),
        ),
        None => (raw, None, fragment.is_some()),
    }
}

/// The canonical form of a raw path (no query, no fragment) and the doubts its raw form raises:
/// unreserved characters decoded, other escapes in upper case, bytes that no path may hold escaped,
/// a stray `%` as `%25` (else decoding twice would differ from decoding once), no dot segments.
/// Applying it to its own result changes nothing.
pub fn canonical_path(raw: &Bytes) -> (Bytes, Doubts) {
    if is_plain(raw) {
        return (raw.clone(), Doubts::default());
    }
    let (decoded, mut doubts) = normalise_escapes(raw);
    let path = remove_dot_segments(&decoded, &mut doubts);
    (Bytes::from(path), doubts)
}

/// Most paths: nothing to decode and no segment that begins with a dot.
fn is_plain(raw: &[u8]) -> bool {
    let mut previous = 0;
    for byte in raw {
        if !is_path_byte(*byte) || (*byte == b'.' && previous == b'/') {
            return false;
        }
        previous = *byte;
    }
    raw.first() == Some(&b'/')
}

/// `pchar` of RFC 3986 §3.3 without escapes, and the slash.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn normalise_escapes(raw: &[u8]) -> (Vec<u8>, Doubts) {
    let mut doubts = Doubts::default();
    let mut out = Vec::with_capacity(raw.len() + 16);
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            if *byte == b'\\' {
                doubts.add(Doubts::BACKSLASH);
            }
            if is_path_byte(*byte) {
                out.push(*byte)
            } else {
                push_escape(&mut out, *byte)
            }
            continue;
        }
        let Some(decoded) = decode_escape(after) else {
            doubts.add(Doubts::BAD_ESCAPE);
            push_escape(&mut out, b'%');
            continue;
        };
        rest = after.get(2..).unwrap_or_default();
        match decoded {
            b'/' | b'\\' => doubts.add(Doubts::ENCODED_SLASH),
            0 => doubts.add(Doubts::NUL),
            _ => {}
        }
        if is_unreserved(decoded) {
            out.push(decoded)
        } else {
            push_escape(&mut out, decoded)
        }
    }
    (out, doubts)
}

fn decode_escape(after: &[u8]) -> Option<u8> {
    let high = char::from(*after.first()?).to_digit(16)?;
    let low = char::from(*after.get(1)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let hex = |digit: u8| {
        if digit < 10 {
            b'0' + digit
        } else {
            b'A' + digit - 10
        }
    };
    out.extend_from_slice(&[b'%', hex(byte >> 4), hex(byte & 15)]);
}

/// RFC 3986 §5.2.4, on whole segments; never climbs above the root.
fn remove_dot_segments(path: &[u8], doubts: &mut Doubts) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len() + 1);
    let body = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments = body.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        // Servlet containers drop `;parameters` before they resolve dots: `/..;/` climbs there.
        let name = segment
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        if matches!(name, b"." | b"..") {
            doubts.add(Doubts::DOT_SEGMENTS);
        }
        match segment {
            b"." => {}
            b".." => out.truncate(memchr::memrchr(b'/', &out).unwrap_or(0)),
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Lower-case `host[:port]` of a Host field, `:authority` or absolute form; `None` when `raw` is
/// not a name, IPv4 or bracketed IPv6 address with an optional port. Userinfo is never accepted.
pub fn canonical_authority(raw: &Bytes) -> Option<Bytes> {
    let (host, port) = split_port(raw)?;
    if host.is_empty() || host.len() > 255 || !port.is_none_or(is_port) {
        return None;
    }
    let valid = match host
        .strip_prefix(b"[")
        .map(|inner| inner.strip_suffix(b"]"))
    {
        Some(Some(inner)) => is_ipv6(inner),
        Some(None) => false,
        None => host
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    if !valid {
        return None;
    }
    if raw.iter().any(u8::is_ascii_uppercase) {
        return Some(Bytes::from(raw.to_ascii_lowercase()));
    }
    Some(raw.clone())
}

fn split_port(raw: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_end = match raw.first()? {
        b'[' => memchr::memchr(b']', raw)? + 1,
        _ => memchr::memchr(b':', raw).unwrap_or(raw.len()),
    };
    let (host, rest) = raw.split_at_checked(host_end)?;
    match rest.split_first() {
        None => Some((host, None)),
        Some((b':', port)) => Some((host, Some(port))),
        Some(_) => None,
    }
}

fn is_port(port: &[u8]) -> bool {
    let digits = !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    digits
        && port
            .iter()
            .fold(0u32, |sum, byte| sum * 10 + u32::from(byte - b'0'))
            <= 65_535
}

fn is_ipv6(inner: &[u8]) -> bool {
    std::str::from_utf8(inner).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;

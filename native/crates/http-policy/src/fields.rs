//! The head of an HTTP/2 or HTTP/3 request, from decoded fields (RFC 9113 §8.3, RFC 9114 §4.3).

use crate::facts::Facts;
use crate::syntax::{is_clean_value, is_known_method, is_token};
use crate::target::{self, canonical_authority};
use crate::{Doubts, Framing, Head, HeadLimits, Header, Refusal, Version, websocket};
use bytes::Bytes;

#[derive(Default)]
struct Pseudo {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    path: Option<Bytes>,
    authority: Option<Bytes>,
    protocol: Option<Bytes>,
}

/// Builds a head from the fields of an h2 or h3 request, pseudo-fields included, in wire order.
/// `end_stream`: the stream ended with these fields, so there is no body.
pub fn head_from_fields(
    version: Version,
    fields: impl Iterator<Item = (Bytes, Bytes)>,
    end_stream: bool,
    limits: &HeadLimits,
) -> Result<Head, Refusal> {
    let mut pseudo = Pseudo::default();
    let mut facts = Facts::default();
    let mut headers: Vec<Header> = Vec::with_capacity(17);
    let mut bytes = 0usize;
    for (name, value) in fields {
        let line = name.len() + value.len();
        bytes = bytes.saturating_add(line);
        if line > limits.line_bytes_max {
            let is_path = name.as_ref() == b":path";
            return Err(if is_path {
                Refusal::UriTooLong
            } else {
                Refusal::HeaderTooLarge
            });
        }
        if bytes > limits.bytes_max || headers.len() > limits.count_max {
            return Err(Refusal::HeaderTooLarge);
        }
        check_value(&value)?;
        if name.first() == Some(&b':') {
            if !headers.is_empty() {
                return Err(Refusal::BadRequest("pseudo-field after a field"));
            }
            pseudo.add(&name, value)?;
            continue;
        }
        check_name(&name, &value)?;
        let header = Header { name, value };
        facts.add(version, &header)?;
        headers.push(header);
    }
    if headers.len() > limits.count_max {
        return Err(Refusal::HeaderTooLarge);
    }
    build(version, pseudo, facts, headers, end_stream)
}

impl Pseudo {
    fn add(&mut self, name: &[u8], value: Bytes) -> Result<(), Refusal> {
        let slot = match name {
            b":method" => &mut self.method,
            b":scheme" => &mut self.scheme,
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            b":protocol" => &mut self.protocol,
            _ => return Err(Refusal::BadRequest("unknown pseudo-field")),
        };
        if slot.replace(value).is_some() {
            return Err(Refusal::BadRequest("pseudo-field twice"));
        }
        Ok(())
    }
}

fn check_value(value: &[u8]) -> Result<(), Refusal> {
    if !is_clean_value(value) {
        return Err(Refusal::BadRequest(
            "control byte in or whitespace around a field value",
        ));
    }
    Ok(())
}

/// Lower-case token, and none of the fields that belong to an HTTP/1.x connection.
fn check_name(name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    if !is_token(name) || name.iter().any(u8::is_ascii_uppercase) {
        return Err(Refusal::BadRequest("field name is not a lower-case token"));
    }
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Err(Refusal::BadRequest("connection-specific field"))
        }
        b"te" if value != b"trailers" => Err(Refusal::BadRequest("te is not trailers")),
        _ => Ok(()),
    }
}

fn build(
    version: Version,
    pseudo: Pseudo,
    facts: Facts,
    mut headers: Vec<Header>,
    end_stream: bool,
) -> Result<Head, Refusal> {
    let mut method = pseudo.method.ok_or(Refusal::BadRequest("no :method"))?;
    let scheme = pseudo.scheme.ok_or(Refusal::BadRequest("no :scheme"))?;
    let raw_target = pseudo.path.ok_or(Refusal::BadRequest("no :path"))?;
    if !is_token(&method) {
        return Err(Refusal::BadRequest("method is not a token"));
    }
    // HTTP/3 exists over TLS only, so its scheme is known.
    let https = scheme.eq_ignore_ascii_case(b"https");
    if !https && (version == Version::Http3 || !scheme.eq_ignore_ascii_case(b"http")) {
        return Err(Refusal::BadRequest("scheme does not fit the connection"));
    }
    let websocket = pseudo.protocol.is_some();
    if let Some(protocol) = pseudo.protocol {
        if method.as_ref() != b"CONNECT" || !protocol.eq_ignore_ascii_case(websocket::PROTOCOL) {
            return Err(Refusal::BadRequest(":protocol without a CONNECT for it"));
        }
        websocket::check_extended_connect(&headers, facts.content_length, end_stream)?;
        // What it stands for on HTTP/1.1, and what the router and the WAF know.
        method = Bytes::from_static(b"GET");
    }
    let target = target::parse(&method, &raw_target, false)?;
    let mut doubts = target.doubts;
    doubts.add(facts.doubts);
    if !is_known_method(&method) {
        doubts.add(Doubts::UNKNOWN_METHOD);
    }
    let authority = authority(pseudo.authority.as_ref(), facts.host.as_ref(), &mut doubts)?;
    if let (Some(value), None) = (pseudo.authority, facts.host) {
        headers.insert(
            0,
            Header {
                name: Bytes::from_static(b"host"),
                value,
            },
        );
    }
    let framing = match (facts.content_length, end_stream) {
        _ if websocket => Framing::None, // its DATA is the tunnel
        (Some(length), true) if length > 0 => {
            return Err(Refusal::BadRequest(
                "content-length on a stream without a body",
            ));
        }
        (_, true) => Framing::None,
        (Some(length), false) => Framing::Length(length),
        (None, false) => Framing::UntilEnd,
    };
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
        keep_alive: true,
        upgrade: false,
        websocket,
        early: false,
    })
}

/// `:authority` and host must agree, and one must be there (RFC 9114 §4.3.1); odd is a doubt.
fn authority(
    authority: Option<&Bytes>,
    host: Option<&Bytes>,
    doubts: &mut Doubts,
) -> Result<Bytes, Refusal> {
    let raw = match (authority, host) {
        (None, None) => return Err(Refusal::BadRequest("neither :authority nor host")),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Refusal::BadRequest(":authority and host differ"));
        }
        (Some(raw), _) | (None, Some(raw)) => raw,
    };
    let canonical = canonical_authority(raw);
    if canonical.is_none() {
        doubts.add(Doubts::ODD_HOST);
    }
    Ok(canonical.unwrap_or_default())
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;

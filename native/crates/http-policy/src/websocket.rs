//! What opens a WebSocket: RFC 6455 §4.2.1 on HTTP/1.1, extended CONNECT (RFC 8441 §4, RFC 9220)
//! on HTTP/2 and HTTP/3.

use crate::{Framing, Header, Refusal};

/// The token of `Upgrade` and the value of `:protocol`.
pub(crate) const PROTOCOL: &[u8] = b"websocket";

/// Checks an HTTP/1.1 request whose `Upgrade` names `websocket`. Refused are all that a backend
/// might take for an opening although it is none, or the other way round.
pub(crate) fn check_opening(
    method: &[u8],
    headers: &[Header],
    framing: Framing,
) -> Result<(), Refusal> {
    if method != b"GET" {
        return Err(Refusal::BadRequest("websocket opening is not a GET"));
    }
    if framing.has_body() {
        return Err(Refusal::BadRequest("websocket opening with a body"));
    }
    let upgrade = only(headers, b"upgrade");
    if !upgrade.is_some_and(|value| value.eq_ignore_ascii_case(PROTOCOL)) {
        return Err(Refusal::BadRequest("upgrade is not websocket alone"));
    }
    if only(headers, b"sec-websocket-version") != Some(b"13") {
        return Err(Refusal::BadRequest("websocket version is not 13"));
    }
    if !only(headers, b"sec-websocket-key").is_some_and(is_key) {
        return Err(Refusal::BadRequest("websocket key is not 16 bytes"));
    }
    Ok(())
}

/// Checks the fields of an extended CONNECT. The version may be missing, the key means nothing
/// here (RFC 8441 §5), and the length of a tunnel cannot be known.
pub(crate) fn check_extended_connect(
    headers: &[Header],
    content_length: Option<u64>,
    end_stream: bool,
) -> Result<(), Refusal> {
    if content_length.is_some() || end_stream {
        return Err(Refusal::BadRequest("extended CONNECT with an end"));
    }
    let mut versions = values(headers, b"sec-websocket-version");
    if versions.next().is_some_and(|value| value != b"13") || versions.next().is_some() {
        return Err(Refusal::BadRequest("websocket version is not 13"));
    }
    Ok(())
}

/// 16 bytes in base64. Bits behind them may be set: no reader of the key looks at them.
fn is_key(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits = value.strip_suffix(b"==");
    digits.is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// The value of a field that is there exactly once.
fn only<'a>(headers: &'a [Header], name: &'static [u8]) -> Option<&'a [u8]> {
    let mut values = values(headers, name);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn values<'a>(headers: &'a [Header], name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.as_ref())
}

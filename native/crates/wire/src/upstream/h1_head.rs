//! The head of an endpoint's HTTP/1.x response, read strictly: whoever frames doubtfully may be
//! read differently by the client (RFC 9112 §6.3, §11.1).

use super::{RESPONSE_HEADERS_MAX, ResponseFraming, UpstreamHead};
use crate::error_code::ErrorCode;
use bytes::Bytes;

/// What every response begins with.
const BEGINNING: &[u8] = b"HTTP/1.";

/// How the end of the body is found on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// A head, and what it says about its connection.
#[derive(Debug)]
pub struct ParsedHead {
    pub head: UpstreamHead,
    pub framing: Framing,
    pub keep_alive: bool,
}

/// Whether a response may begin like this: TLS, HTTP/2 and other noise is told at once.
pub fn may_begin(input: &[u8]) -> bool {
    input
        .iter()
        .zip(BEGINNING)
        .all(|(byte, expected)| byte == expected)
}

/// Reads a whole response head, empty line included.
pub fn read_head(raw: &Bytes, to_head_request: bool) -> Result<ParsedHead, ErrorCode> {
    const INVALID: ErrorCode = ErrorCode::UpstreamInvalidResponse;
    if !may_begin(raw) || has_bare_line_feed(raw) {
        return Err(INVALID);
    }
    let mut fields = [httparse::EMPTY_HEADER; RESPONSE_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let complete = response.parse(raw).is_ok_and(|status| status.is_complete());
    let (Some(status), Some(version), true) = (response.code, response.version, complete) else {
        return Err(INVALID);
    };
    let mut facts = Facts {
        keep_alive: version == 1,
        ..Facts::default()
    };
    let mut headers = Vec::with_capacity(response.headers.len() + 4);
    for field in response.headers.iter() {
        facts.see(field.name.as_bytes(), field.value)?;
        headers.push((
            raw.slice_ref(field.name.as_bytes()),
            raw.slice_ref(field.value),
        ));
    }
    if !(100..=599).contains(&status) || (facts.chunked && (facts.length.is_some() || version == 0))
    {
        return Err(INVALID);
    }
    let bodiless = to_head_request || status < 200 || status == 204 || status == 304;
    let framing = match facts.length {
        _ if bodiless => Framing::None,
        _ if facts.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok(ParsedHead {
        head: UpstreamHead {
            status,
            headers,
            framing: match framing {
                Framing::None => ResponseFraming::None,
                Framing::Length(length) => ResponseFraming::Length(length),
                Framing::Chunked | Framing::UntilClose => ResponseFraming::Unknown,
            },
            announced: facts.length,
        },
        framing,
        keep_alive: facts.keep_alive && framing != Framing::UntilClose,
    })
}

/// The parser takes a bare LF for the end of a line; the next reader may not.
fn has_bare_line_feed(raw: &[u8]) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', raw);
    ends.any(|at| at == 0 || raw.get(at - 1) != Some(&b'\r'))
}

/// What the fields of a response say about its framing.
#[derive(Default)]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
}

impl Facts {
    fn see(&mut self, name: &[u8], value: &[u8]) -> Result<(), ErrorCode> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value).unwrap_or_default();
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let length = digits
                .parse()
                .ok()
                .filter(|_| plain && self.length.is_none());
            self.length = Some(length.ok_or(ErrorCode::UpstreamInvalidResponse)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(ErrorCode::UpstreamInvalidResponse);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<ParsedHead, ErrorCode> {
        read_head(&Bytes::copy_from_slice(text.as_bytes()), false)
    }

    #[test]
    fn framing_by_the_fields() {
        let cases = [
            ("content-length: 5\r\n", Framing::Length(5)),
            ("transfer-encoding: Chunked\r\n", Framing::Chunked),
            ("", Framing::UntilClose),
        ];
        for (fields, framing) in cases {
            let read = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap();
            assert_eq!(read.framing, framing);
            assert_eq!(read.keep_alive, framing != Framing::UntilClose);
        }
        assert_eq!(
            head("HTTP/1.1 304 x\r\n\r\n").unwrap().framing,
            Framing::None
        );
    }

    #[test]
    fn ambiguous_framing_is_no_response() {
        for fields in [
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: +5\r\n",
            "content-length: 5, 5\r\n",
            "content-length: \r\n",
            "content-length: 18446744073709551616\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ] {
            let read = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            assert_eq!(
                read.err(),
                Some(ErrorCode::UpstreamInvalidResponse),
                "{fields}"
            );
        }
    }

    #[test]
    fn a_head_of_another_grammar_is_no_response() {
        for text in [
            "HTTP/1.1 200 OK\nserver: x\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
        assert!(may_begin(b"HTTP/1.1 2") && may_begin(b"HT") && !may_begin(b"PRI * HTTP/2.0"));
    }
}

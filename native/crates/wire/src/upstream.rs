//! Connections to endpoints: HTTP/1.1 in clear, responses read strictly.

use crate::error_code::ErrorCode;
use bytes::{Bytes, BytesMut};
use edge_http_policy::{BodyEvent, BodyReader, Framing};
use memchr::memmem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;
const RESPONSE_HEADERS_MAX: usize = 128;
/// Interim responses before the final one; more is an attack on our patience.
const INTERIM_MAX: usize = 8;
const SMALL_READ: usize = 4 * 1024;
const BULK_READ: usize = 64 * 1024;

/// A connection to an endpoint.
pub struct Link {
    pub stream: TcpStream,
    /// Bytes read and not used yet.
    pub input: BytesMut,
    pub idle_since: Instant,
}

impl Link {
    /// Connects to the first address that answers within `timeout` in all.
    pub async fn connect(
        addresses: &[SocketAddr],
        timeout: Duration,
    ) -> Result<(Link, SocketAddr), ErrorCode> {
        let attempts = async {
            for address in addresses {
                let Ok(stream) = TcpStream::connect(address).await else {
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (input, idle_since) = (BytesMut::new(), Instant::now());
                return Ok((
                    Link {
                        stream,
                        input,
                        idle_since,
                    },
                    *address,
                ));
            }
            Err(ErrorCode::UpstreamConnectFailed)
        };
        let connected = tokio::time::timeout(timeout, attempts).await;
        connected.unwrap_or(Err(ErrorCode::UpstreamConnectTimeout))
    }

    /// Open, and without bytes that nobody asked for.
    pub fn is_idle(&self) -> bool {
        let mut byte = [0_u8; 1];
        let would_block = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        self.input.is_empty() && self.stream.try_read(&mut byte).is_err_and(would_block)
    }
}

/// How the end of a response body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of an endpoint's response.
#[derive(Debug)]
pub struct UpstreamHead {
    pub status: u16,
    pub headers: Vec<(Bytes, Bytes)>,
    pub framing: ResponseFraming,
    /// The content-length field, also where no body follows.
    pub announced: Option<u64>,
    pub keep_alive: bool,
}

/// Reads one response off a connection.
pub struct ResponseReader<'a, R> {
    stream: R,
    input: &'a mut BytesMut,
    body: Option<BodyReader>,
    until_close: bool,
    read_size: usize,
    /// Any byte of a response was seen.
    pub begun: bool,
}

impl<'a, R: AsyncRead + Unpin> ResponseReader<'a, R> {
    pub fn new(stream: R, input: &'a mut BytesMut) -> ResponseReader<'a, R> {
        let (body, until_close, begun) = (None, false, false);
        ResponseReader {
            stream,
            input,
            body,
            until_close,
            read_size: SMALL_READ,
            begun,
        }
    }

    /// More bytes; 0 at the end of the stream.
    async fn fill(&mut self) -> Result<usize, ErrorCode> {
        self.input.reserve(self.read_size);
        let read = self.stream.read_buf(self.input).await;
        let read = read.map_err(|_| ErrorCode::UpstreamClosed)?;
        // A full read means that there is more: fewer, larger reads from now on.
        if read >= self.read_size {
            self.read_size = BULK_READ;
        }
        self.begun |= read > 0;
        Ok(read)
    }

    /// The final response head; interim ones are dropped. Not cancel-safe.
    pub async fn head(&mut self, to_head_request: bool) -> Result<UpstreamHead, ErrorCode> {
        for _ in 0..=INTERIM_MAX {
            let head = read_head(&self.raw_head().await?, to_head_request)?;
            if head.status >= 200 {
                self.body = match head.framing {
                    ResponseFraming::None | ResponseFraming::UntilClose => None,
                    ResponseFraming::Length(length) => {
                        Some(BodyReader::new(Framing::Length(length)))
                    }
                    ResponseFraming::Chunked => Some(BodyReader::new(Framing::Chunked)),
                };
                self.until_close = head.framing == ResponseFraming::UntilClose;
                return Ok(head);
            }
            if head.status == 101 {
                break; // nobody asked to switch
            }
        }
        Err(ErrorCode::UpstreamInvalidResponse)
    }

    async fn raw_head(&mut self) -> Result<Bytes, ErrorCode> {
        let mut searched = 0_usize;
        loop {
            let from = searched.saturating_sub(3);
            let tail = self.input.get(from..).unwrap_or_default();
            if let Some(at) = memmem::find(tail, b"\r\n\r\n") {
                return Ok(self.input.split_to(from + at + 4).freeze());
            }
            searched = self.input.len();
            if searched > RESPONSE_HEAD_BYTES_MAX {
                return Err(ErrorCode::UpstreamInvalidResponse);
            }
            if self.fill().await? == 0 {
                return Err(match searched {
                    0 => ErrorCode::UpstreamClosed,
                    _ => ErrorCode::UpstreamInvalidResponse,
                });
            }
        }
    }

    /// The next piece of the body, `None` at its end. Cancel-safe.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ErrorCode> {
        loop {
            if self.until_close {
                if !self.input.is_empty() {
                    return Ok(Some(self.input.split().freeze()));
                }
                self.until_close = self.fill().await? > 0;
                continue;
            }
            let Some(body) = &mut self.body else {
                return Ok(None);
            };
            match body
                .push(self.input)
                .map_err(|_| ErrorCode::UpstreamInvalidResponse)?
            {
                BodyEvent::Data(piece) => return Ok(Some(piece)),
                BodyEvent::End => return Ok(None),
                BodyEvent::NeedMore => {
                    if self.fill().await? == 0 {
                        return Err(ErrorCode::UpstreamClosed);
                    }
                }
            }
        }
    }
}

/// Reads a whole response head, empty line included.
fn read_head(raw: &Bytes, to_head_request: bool) -> Result<UpstreamHead, ErrorCode> {
    let mut fields = [httparse::EMPTY_HEADER; RESPONSE_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let complete = response.parse(raw).is_ok_and(|status| status.is_complete());
    let (Some(status), Some(version), true) = (response.code, response.version, complete) else {
        return Err(ErrorCode::UpstreamInvalidResponse);
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
        return Err(ErrorCode::UpstreamInvalidResponse);
    }
    let bodiless = to_head_request || status < 200 || status == 204 || status == 304;
    let framing = match facts.length {
        _ if bodiless => ResponseFraming::None,
        _ if facts.chunked => ResponseFraming::Chunked,
        Some(length) => ResponseFraming::Length(length),
        None => ResponseFraming::UntilClose,
    };
    let keep_alive = facts.keep_alive && framing != ResponseFraming::UntilClose;
    Ok(UpstreamHead {
        status,
        headers,
        framing,
        announced: facts.length,
        keep_alive,
    })
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

    fn head(text: &str) -> Result<UpstreamHead, ErrorCode> {
        read_head(&Bytes::copy_from_slice(text.as_bytes()), false)
    }

    #[test]
    fn framing_by_the_fields() {
        let cases = [
            ("content-length: 5\r\n", ResponseFraming::Length(5)),
            ("transfer-encoding: Chunked\r\n", ResponseFraming::Chunked),
            ("", ResponseFraming::UntilClose),
        ];
        for (fields, framing) in cases {
            let read = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap();
            assert_eq!(read.framing, framing);
            assert_eq!(read.keep_alive, framing != ResponseFraming::UntilClose);
        }
        assert_eq!(
            head("HTTP/1.1 304 x\r\n\r\n").unwrap().framing,
            ResponseFraming::None
        );
    }

    #[test]
    fn ambiguous_framing_is_no_response() {
        for fields in [
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: +5\r\n",
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
}

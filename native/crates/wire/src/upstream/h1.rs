//! One request and its response on an HTTP/1.1 connection.

use super::appetite::Appetite;
use super::h1_head::{Framing as H1Framing, may_begin, read_head};
use super::link::{Half, Link};
use super::{
    Broken, Manner, Progress, RESPONSE_HEAD_BYTES_MAX, RequestSink, ResponseSource, UpstreamHead,
};
use crate::error_code::ErrorCode;
use crate::h1_head::put_chunk_size;
use crate::outbound::RequestFraming;
use crate::seam::Field;
use crate::small_read::{self, SMALL_READ};
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::{BodyEvent, BodyReader, Framing, TrailerLimits};
use memchr::memmem;
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A held body up to this size goes out in one write with its head.
const ONE_WRITE_MAX: usize = 16 * 1024;

impl Link {
    /// Both ways of one exchange. `head` is written by `open`.
    pub fn exchange(&mut self, head: BytesMut, manner: &Manner) -> (H1Request<'_>, H1Response<'_>) {
        let half = Half(&self.stream);
        let request = H1Request {
            stream: half,
            head,
            chunked: manner.framing == RequestFraming::Chunked,
            patience: manner.patience,
        };
        let response = H1Response {
            stream: half,
            input: &mut self.input,
            to_head_request: manner.to_head_request,
            trailer_limits: manner.trailers,
            body: None,
            until_close: false,
            appetite: Appetite::new(),
            begun: false,
            keep_alive: false,
            trailers: Vec::new(),
        };
        (request, response)
    }
}

/// The request.
pub struct H1Request<'a> {
    stream: Half<'a>,
    head: BytesMut,
    chunked: bool,
    patience: Duration,
}

impl H1Request<'_> {
    /// False: the endpoint has closed its side.
    async fn write(&mut self, bytes: &[u8]) -> Result<bool, ErrorCode> {
        match timeout(self.patience, self.stream.write_all(bytes)).await {
            Ok(written) => Ok(written.is_ok()),
            Err(_) => Err(ErrorCode::UpstreamIdleTimeout),
        }
    }
}

impl RequestSink for H1Request<'_> {
    async fn open(&mut self, held: Bytes, ends: bool) -> Result<bool, ErrorCode> {
        let mut head = std::mem::take(&mut self.head);
        if held.is_empty() && !(ends && self.chunked) {
            return self.write(&head).await;
        }
        if !self.chunked && held.len() <= ONE_WRITE_MAX {
            head.extend_from_slice(&held);
            return self.write(&head).await;
        }
        if !(self.write(&head).await? && self.data(held).await?) {
            return Ok(false);
        }
        match ends && self.chunked {
            true => self.end(Vec::new()).await,
            false => Ok(true),
        }
    }

    async fn data(&mut self, piece: Bytes) -> Result<bool, ErrorCode> {
        if !self.chunked {
            return self.write(&piece).await;
        }
        let mut frame = std::mem::take(&mut self.head);
        frame.clear();
        put_chunk_size(&mut frame, piece.len());
        let written = if piece.len() <= ONE_WRITE_MAX {
            frame.extend_from_slice(&piece);
            frame.extend_from_slice(b"\r\n");
            self.write(&frame).await
        } else {
            Ok(self.write(&frame).await?
                && self.write(&piece).await?
                && self.write(b"\r\n").await?)
        };
        self.head = frame; // kept for the next piece
        written
    }

    async fn end(&mut self, trailers: Vec<Field>) -> Result<bool, ErrorCode> {
        if !self.chunked {
            return Ok(true);
        }
        let mut last = BytesMut::from(&b"0\r\n"[..]);
        for (name, value) in &trailers {
            last.put_slice(name);
            last.put_slice(b": ");
            last.put_slice(value);
            last.put_slice(b"\r\n");
        }
        last.put_slice(b"\r\n");
        self.write(&last).await
    }
}

/// The response.
pub struct H1Response<'a> {
    stream: Half<'a>,
    input: &'a mut BytesMut,
    to_head_request: bool,
    trailer_limits: TrailerLimits,
    body: Option<BodyReader>,
    until_close: bool,
    appetite: Appetite,
    /// Any byte of a response was seen.
    begun: bool,
    keep_alive: bool,
    trailers: Vec<Field>,
}

impl H1Response<'_> {
    /// Whether the connection may carry another request, once the body was read to its end.
    pub fn reusable(&self) -> bool {
        self.keep_alive
    }

    /// More bytes; 0 at the end of the stream.
    async fn fill(&mut self) -> Result<usize, ErrorCode> {
        let read = match self.appetite.size() {
            SMALL_READ => {
                poll_fn(|context| small_read::poll(&mut self.stream, self.input, context)).await
            }
            size => {
                self.input.reserve(size);
                self.stream.read_buf(self.input).await
            }
        };
        let read = read.map_err(|_| ErrorCode::UpstreamClosed)?;
        self.appetite.fed(read);
        self.begun |= read > 0;
        Ok(read)
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
            if searched > RESPONSE_HEAD_BYTES_MAX || !may_begin(self.input) {
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

    async fn read(&mut self) -> Result<UpstreamHead, ErrorCode> {
        let raw = self.raw_head().await?;
        if raw.len() > RESPONSE_HEAD_BYTES_MAX {
            return Err(ErrorCode::UpstreamInvalidResponse);
        }
        let parsed = read_head(&raw, self.to_head_request)?;
        if parsed.head.status >= 200 {
            let limits = self.trailer_limits;
            self.body = match parsed.framing {
                H1Framing::None | H1Framing::UntilClose => None,
                H1Framing::Length(length) => Some(BodyReader::new(Framing::Length(length))),
                H1Framing::Chunked => {
                    Some(BodyReader::with_trailer_limits(Framing::Chunked, limits))
                }
            };
            self.until_close = parsed.framing == H1Framing::UntilClose;
            self.keep_alive = parsed.keep_alive;
        }
        Ok(parsed.head)
    }
}

impl ResponseSource for H1Response<'_> {
    async fn head(&mut self) -> Result<UpstreamHead, Broken> {
        let read = self.read().await;
        read.map_err(|code| Broken {
            code,
            progress: match self.begun {
                true => Progress::Answered,
                false => Progress::Unknown,
            },
        })
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, ErrorCode> {
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
                BodyEvent::End => {
                    self.trailers = body.trailers();
                    self.body = None;
                    return Ok(None);
                }
                BodyEvent::NeedMore => {
                    if self.fill().await? == 0 {
                        return Err(ErrorCode::UpstreamClosed);
                    }
                }
            }
        }
    }

    fn trailers(&mut self) -> Vec<Field> {
        std::mem::take(&mut self.trailers)
    }
}

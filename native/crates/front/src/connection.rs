//! The life of one connection: handshake, requests, and what it is told.

use crate::line::{Line, Order, Then};
use crate::shared::Shared;
use crate::{Event, Request, tls};
use boring::ssl::{Ssl, SslContext};
use bytes::{Bytes, BytesMut};
use edge_http_policy::{
    BodyEvent, BodyReader, Framing, Head, HeadLimits, Refusal, Version, read_head,
};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_boring::{SslStream, SslStreamBuilder};

/// Read at once from somebody who asks.
const READ_BYTES: usize = 2 * 1024;
/// Up to here what one is told goes out as one record of TLS.
const RECORD_BYTES: usize = 16 * 1024;
/// Who was refused is read for so long and so much, or the reset would overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 512 * 1024;

/// What all connections have in common.
pub(crate) struct Context {
    pub tls: SslContext,
    pub shared: Arc<Shared>,
}

/// What follows a request.
enum Next {
    Request,
    Nothing,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    tcp: TcpStream,
    address: SocketAddr,
    context: Arc<Context>,
) -> Result<()> {
    tcp.set_nodelay(true)?;
    let shared = Arc::clone(&context.shared);
    let ssl = Ssl::new(&context.tls).map_err(Error::other)?;
    drop(context);
    // Boxed, as the others: what one phase needs should not stay with a connection for life.
    let handshake = Box::pin(SslStreamBuilder::new(ssl, tcp).accept());
    let stream = timeout(shared.options.handshake_timeout(), handshake).await?;
    let stream = stream.map_err(|_| ErrorKind::InvalidData)?;
    let mut connection = Connection {
        identity: tls::identity(stream.ssl()),
        stream,
        buffer: BytesMut::new(),
        address,
        shared,
    };
    let mut patience = connection.shared.options.request_timeout();
    while let Some(asked) = Box::pin(connection.request(patience)).await? {
        if let Next::Nothing = connection.answer(asked).await? {
            break;
        }
        patience = connection.shared.options.idle_timeout();
    }
    // Who does not listen to the goodbye has gone already.
    let _ = timeout(LINGER, connection.stream.shutdown()).await;
    Ok(())
}

struct Asked {
    head: Head,
    body: Bytes,
}

struct Connection {
    stream: SslStream<TcpStream>,
    /// What was read and not understood yet.
    buffer: BytesMut,
    address: SocketAddr,
    identity: Option<[u8; 32]>,
    shared: Arc<Shared>,
}

impl Connection {
    /// The next request; `None` when there is none, or none that can be answered.
    async fn request(&mut self, patience: Duration) -> Result<Option<Asked>> {
        if self.buffer.is_empty() {
            let shared = Arc::clone(&self.shared);
            let is_there = tokio::select! {
                read = timeout(patience, self.read()) => matches!(read, Ok(Ok(true))),
                () = shared.ending.notified() => false,
            };
            if !is_there {
                return Ok(None);
            }
        }
        let whole = self.shared.options.request_timeout();
        let status = match timeout(whole, self.whole_request()).await {
            Ok(Ok(Ok(asked))) => return Ok(Some(asked)),
            Ok(Ok(Err(status))) => status,
            Ok(Err(error)) => return Err(error),
            Err(_) => 408,
        };
        self.refuse(status).await?;
        Ok(None)
    }

    /// The inner error is a status.
    async fn whole_request(&mut self) -> Result<std::result::Result<Asked, u16>> {
        let options = &self.shared.options;
        let limits = HeadLimits {
            bytes_max: options.request_head_bytes_max,
            line_bytes_max: options.request_head_bytes_max,
            count_max: options.request_headers_max,
        };
        let bytes_max = options.request_bytes_max;
        let head = loop {
            match read_head(&mut self.buffer, &limits) {
                Err(refusal) => return Ok(Err(status_of(refusal))),
                Ok(Some(head)) => break head,
                Ok(None) => self.more().await?,
            }
        };
        // A tunnel is nothing that this end has.
        if head.method.as_ref() == b"CONNECT" {
            return Ok(Err(400));
        }
        if let Framing::Length(length) = head.framing
            && length > bytes_max as u64
        {
            return Ok(Err(413));
        }
        if head.expect_continue && self.buffer.is_empty() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut reader = BodyReader::new(head.framing);
        let mut body = BytesMut::new();
        loop {
            match reader.push(&mut self.buffer) {
                Err(refusal) => return Ok(Err(status_of(refusal))),
                Ok(BodyEvent::Data(bytes)) => body.extend_from_slice(&bytes),
                Ok(BodyEvent::NeedMore) => self.more().await?,
                Ok(BodyEvent::End) => break,
            }
            if body.len() > bytes_max {
                return Ok(Err(413));
            }
        }
        let body = body.freeze();
        Ok(Ok(Asked { head, body }))
    }

    /// Hands a request on, and does what becomes of it.
    async fn answer(&mut self, Asked { head, body }: Asked) -> Result<Next> {
        let is_http11 = head.version == Version::Http11;
        let keep_alive = head.keep_alive;
        let (number, line) = self.shared.enter();
        let mut entered = Entered {
            number,
            is_told: false,
            shared: Arc::clone(&self.shared),
        };
        let mut target = head.path.to_vec();
        if let Some(query) = &head.query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        let request = Request {
            connection: number,
            address: self.address.ip(),
            identity: self.identity,
            method: head.method,
            target,
            headers: head.headers,
            body,
            keep_alive,
        };
        self.shared.happened(Event::Asked(Box::new(request)));
        match line.next().await {
            Order::Answer(response, then) => {
                self.write(&response).await?;
                let is_kept = keep_alive && then == Then::Keep;
                Ok(if is_kept {
                    Next::Request
                } else {
                    Next::Nothing
                })
            }
            Order::Open(opening) => {
                entered.is_told = true;
                self.buffer = BytesMut::new();
                self.open(&opening, is_http11).await?;
                self.told(&line, number, is_http11).await?;
                Ok(Next::Nothing)
            }
            Order::Piece(..) | Order::End => Ok(Next::Nothing),
        }
    }

    /// Without a length of its own: in chunks (RFC 9112 §7.1), or until the connection closes,
    /// which it does in both cases, so that nobody asks again just then.
    async fn open(&mut self, opening: &[u8], is_http11: bool) -> Result<()> {
        let framing: &[u8] = match is_http11 {
            true => b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            false => b"connection: close\r\n\r\n",
        };
        self.write(&[opening, framing].concat()).await
    }

    /// Until there is no more to tell, or the other end goes or says something, which it has no
    /// reason to.
    async fn told(&mut self, line: &Line, number: u32, is_chunked: bool) -> Result<()> {
        let mut word = [0; 16];
        loop {
            let order = tokio::select! {
                order = line.next() => order,
                _ = self.stream.read(&mut word) => return Ok(()),
            };
            match order {
                Order::Piece(own, shared) => {
                    Box::pin(self.piece(&own, &shared, is_chunked)).await?;
                    if line.wrote(own.len() + shared.len()) {
                        self.shared.happened(Event::Drained(number));
                    }
                }
                Order::End if is_chunked => return Box::pin(self.write(b"0\r\n\r\n")).await,
                Order::End | Order::Answer(..) | Order::Open(_) => return Ok(()),
            }
        }
    }

    async fn piece(&mut self, own: &[u8], shared: &[u8], is_chunked: bool) -> Result<()> {
        let size = own.len() + shared.len();
        let (before, after) = match is_chunked {
            true => (format!("{size:x}\r\n"), "\r\n"),
            false => (String::new(), ""),
        };
        if size <= RECORD_BYTES {
            let parts = [before.as_bytes(), own, shared, after.as_bytes()];
            return self.write(&parts.concat()).await;
        }
        self.write(&[before.as_bytes(), own].concat()).await?;
        self.write(shared).await?;
        self.write(after.as_bytes()).await
    }

    /// Who takes nothing for so long has gone.
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let patience = self.shared.options.stall_timeout();
        for part in bytes.chunks(RECORD_BYTES) {
            timeout(patience, self.stream.write_all(part)).await??;
        }
        timeout(patience, self.stream.flush()).await?
    }

    /// False at the end.
    async fn read(&mut self) -> Result<bool> {
        self.buffer.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    async fn more(&mut self) -> Result<()> {
        match self.read().await? {
            true => Ok(()),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn refuse(&mut self, status: u16) -> Result<()> {
        let body = r#"{"code":"REQUEST_MALFORMED"}"#;
        let head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            reason_of(status),
            body.len()
        );
        self.write(head.as_bytes()).await?;
        timeout(LINGER, self.stream.shutdown()).await??;
        let mut left = LINGER_BYTES_MAX;
        let reading = async {
            while left > 0 {
                self.buffer.clear();
                match self.read().await {
                    Ok(true) => left = left.saturating_sub(self.buffer.len()),
                    _ => return,
                }
            }
        };
        let _ = timeout(LINGER, reading).await;
        Ok(())
    }
}

/// Takes a connection's number back, and tells of the end of one that was told things.
struct Entered {
    number: u32,
    is_told: bool,
    shared: Arc<Shared>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shared.leave(self.number);
        if self.is_told {
            self.shared.happened(Event::Gone(self.number));
        }
    }
}

fn status_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::BadRequest(_) => 400,
        Refusal::HeaderTooLarge | Refusal::TrailersTooLarge => 431,
        Refusal::UriTooLong => 414,
        Refusal::VersionNotSupported => 505,
        Refusal::ExpectationFailed => 417,
    }
}

fn reason_of(status: u16) -> &'static str {
    match status {
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}

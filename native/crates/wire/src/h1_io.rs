//! Bytes of one HTTP/1.1 connection: shared by the two directions of an exchange, which run as
//! one task, so that a `RefCell` borrowed for the length of a poll is enough.

use crate::h1_head::put_chunk_size;
use crate::seam::{BodyError, BodySource, Gone};
use bytes::{Buf, Bytes, BytesMut};
use edge_http_policy::{BodyEvent, BodyReader};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_boring::SslStream;

const SMALL_READ: usize = 4 * 1024;
const BULK_READ: usize = 64 * 1024;
/// Bytes taken from a client ahead of their use while watching whether it is gone.
const AHEAD_MAX: usize = 64 * 1024;
/// What is collected before it is written; also a TLS record.
const OUTPUT_MAX: usize = 16 * 1024;

/// A client connection's byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Makes the close that follows visible as a failure (TCP reset).
    fn abort(&self);
}

impl Transport for TcpStream {
    fn abort(&self) {
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Transport for SslStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().abort();
    }
}

/// The stream with its buffers.
pub struct Io<S> {
    stream: S,
    pub input: BytesMut,
    output: BytesMut,
    read_size: usize,
    ended: bool,
}

impl<S: Transport> Io<S> {
    pub fn new(stream: S) -> Io<S> {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Io {
            stream,
            input,
            output,
            read_size: SMALL_READ,
            ended: false,
        }
    }

    /// Reads once; 0 at the end of the stream. An idle connection holds no buffer.
    pub fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        self.input.reserve(self.read_size);
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        match &polled {
            Poll::Pending if self.input.is_empty() => self.input = BytesMut::new(),
            Poll::Pending => {}
            Poll::Ready(Ok(read)) => {
                self.ended = *read == 0;
                self.read_size = if *read >= self.read_size {
                    BULK_READ
                } else {
                    SMALL_READ
                };
            }
            Poll::Ready(Err(_)) => self.ended = true,
        }
        polled
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !self.output.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.output);
            match ready!(written) {
                Ok(1..) if self.output.is_empty() => {}
                Ok(written @ 1..) => self.output.advance(written),
                _ => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_piece(
        &mut self,
        piece: &mut Bytes,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        ready!(self.poll_write(context))?;
        while !piece.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, piece)) {
                Ok(written @ 1..) => piece.advance(written),
                _ => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the output buffer go between exchanges.
    pub fn rest(&mut self) {
        if self.output.is_empty() {
            self.output = BytesMut::new();
        }
    }

    pub fn abort(&self) {
        self.stream.abort();
    }
}

/// One connection's bytes, borrowed by its reader and its writer.
pub struct Bytestream<S> {
    pub io: RefCell<Io<S>>,
    /// For a write or a body read without any progress.
    pub patience: Duration,
}

impl<S: Transport> Bytestream<S> {
    /// More input, 0 at the end. Cancel-safe.
    pub async fn fill(&self) -> io::Result<usize> {
        poll_fn(|context| self.io.borrow_mut().poll_fill(context)).await
    }

    /// Puts bytes into the output without writing them yet.
    pub fn queue(&self, add: impl FnOnce(&mut BytesMut)) {
        add(&mut self.io.borrow_mut().output);
    }

    /// Writes everything queued.
    pub async fn flush(&self) -> Result<(), Gone> {
        let written = poll_fn(|context| self.io.borrow_mut().poll_write(context));
        timeout(self.patience, written).await.unwrap_or(Err(Gone))
    }

    /// Queues a small piece; writes a large one without copying it.
    pub async fn send(&self, mut piece: Bytes, chunked: bool) -> Result<(), Gone> {
        if chunked {
            self.queue(|output| put_chunk_size(output, piece.len()));
        }
        let queued = self.io.borrow().output.len();
        if queued + piece.len() > OUTPUT_MAX {
            // The head and the beginning of the piece share the first write.
            let first = piece.split_to(OUTPUT_MAX.saturating_sub(queued).min(piece.len()));
            self.queue(|output| output.extend_from_slice(&first));
            let written =
                poll_fn(|context| self.io.borrow_mut().poll_write_piece(&mut piece, context));
            timeout(self.patience, written).await.unwrap_or(Err(Gone))?;
        } else {
            self.queue(|output| output.extend_from_slice(&piece));
        }
        if chunked {
            self.queue(|output| output.extend_from_slice(b"\r\n"));
        }
        Ok(())
    }

    /// Resolves when the client closed its side. Cancel-safe.
    pub async fn closed(&self) {
        poll_fn(|context| {
            loop {
                let mut io = self.io.borrow_mut();
                if io.input.len() >= AHEAD_MAX && !io.ended {
                    return Poll::Pending; // it is alive, and its body waits to be read
                }
                match ready!(io.poll_fill(context)) {
                    Ok(1..) => {}
                    _ => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Closes so that the client gets everything: FIN, then reads for a moment what it still
    /// sends, because closing with unread bytes would reset the connection under the response.
    pub async fn close(&self) {
        let end = poll_fn(|context| {
            let mut io = self.io.borrow_mut();
            Pin::new(&mut io.stream).poll_shutdown(context)
        });
        let drained = async {
            let _ = end.await;
            let mut left = 16 * BULK_READ;
            while left > 0 {
                match self.fill().await {
                    Ok(read @ 1..) => left = left.saturating_sub(read),
                    _ => return,
                }
                self.io.borrow_mut().input.clear();
            }
        };
        let _ = timeout(Duration::from_secs(1), drained).await;
    }
}

/// The request body of one exchange.
pub struct H1Body<'a, S> {
    pub stream: &'a Bytestream<S>,
    pub reader: BodyReader,
    /// Read to its end: what follows is the next request.
    pub done: &'a Cell<bool>,
    pub failed: bool,
}

impl<S: Transport> BodySource for H1Body<'_, S> {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.failed || self.done.get() {
                return None;
            }
            let event = self.reader.push(&mut self.stream.io.borrow_mut().input);
            let error = match event {
                Ok(BodyEvent::Data(piece)) => return Some(Ok(piece)),
                Ok(BodyEvent::End) => {
                    self.done.set(true);
                    continue;
                }
                Ok(BodyEvent::NeedMore) => {
                    match timeout(self.stream.patience, self.stream.fill()).await {
                        Ok(Ok(1..)) => continue,
                        Ok(_) => BodyError::Incomplete,
                        Err(_) => BodyError::Timeout,
                    }
                }
                Err(refusal) => BodyError::Invalid(refusal),
            };
            self.failed = true;
            return Some(Err(error));
        }
    }
}

impl<S> Drop for H1Body<'_, S> {
    /// An exchange may end knowing the length without having asked for the end; and what of an
    /// unread body is here already costs nothing to skip.
    fn drop(&mut self) {
        let Ok(mut io) = self.stream.io.try_borrow_mut() else {
            return;
        };
        while !self.failed && !self.done.get() {
            match self.reader.push(&mut io.input) {
                Ok(BodyEvent::Data(_)) => {}
                Ok(BodyEvent::End) => self.done.set(true),
                Ok(BodyEvent::NeedMore) | Err(_) => return,
            }
        }
    }
}

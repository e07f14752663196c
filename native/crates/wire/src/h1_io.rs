//! Bytes of one HTTP/1.1 connection: shared by the two directions of an exchange, which run as
//! one task, so that a `RefCell` borrowed for the length of a poll is enough.

use crate::h1_head::put_chunk_size;
use crate::rate::{Late, Rate, RateLimits};
use crate::read_ahead::ReadAhead;
use crate::seam::Gone;
use crate::small_read::{self, SMALL_READ};
use crate::timers::{Timer, Timers};
use bytes::{Buf, Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio_boring::SslStream;

const BULK_READ: usize = 64 * 1024;
/// Bytes taken from a client ahead of their use while watching whether it is gone.
const AHEAD_MAX: usize = 64 * 1024;
/// What is collected before it is written; also a TLS record.
const OUTPUT_MAX: usize = 16 * 1024;
/// How long, how long in silence, and how much the client may still send after the last response.
const LINGER: Duration = Duration::from_secs(3);
const LINGER_SILENCE: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a connection whose client sends no more is asked whether it was reset.
const RESET_CHECK: Duration = Duration::from_secs(1);

/// A client connection's byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

/// TLS over TCP, as a client connection has it.
pub type TlsStream = SslStream<ReadAhead<TcpStream>>;

impl Transport for TlsStream {
    fn socket(&self) -> &TcpStream {
        self.get_ref().stream()
    }
}

/// The stream with its buffers.
pub struct Io<S> {
    stream: S,
    pub input: BytesMut,
    output: BytesMut,
    read_size: usize,
    /// The client sends no more.
    ended: bool,
    /// Bytes written and read so far.
    written: u64,
    filled: u64,
}

impl<S: Transport> Io<S> {
    /// Reads once; 0 at the end of the stream. An idle connection holds no buffer.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let polled = match self.read_size {
            SMALL_READ => small_read::poll(&mut self.stream, &mut self.input, context),
            size => {
                self.input.reserve(size);
                pin!(self.stream.read_buf(&mut self.input)).poll(context)
            }
        };
        match &polled {
            Poll::Pending if self.input.is_empty() => self.input = BytesMut::new(),
            Poll::Pending => {}
            Poll::Ready(Ok(read)) => {
                self.filled += *read as u64;
                self.ended = *read == 0;
                self.read_size = if *read >= self.read_size {
                    BULK_READ
                } else {
                    SMALL_READ
                };
            }
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    /// Writes what is queued, then `piece`.
    fn poll_write(
        &mut self,
        piece: &mut Bytes,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        loop {
            let next: &[u8] = match self.output.is_empty() {
                true => piece,
                false => &self.output,
            };
            if next.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = match ready!(Pin::new(&mut self.stream).poll_write(context, next)) {
                Ok(written @ 1..) => written,
                _ => return Poll::Ready(Err(Gone)),
            };
            self.written += written as u64;
            match self.output.is_empty() {
                true => piece.advance(written),
                false => self.output.advance(written),
            }
        }
    }
}

/// One connection's bytes, borrowed by its reader and its writer.
pub struct Bytestream<S> {
    pub io: RefCell<Io<S>>,
    pub timers: Rc<Timers>,
    /// For bodies in both directions.
    pub pace: RateLimits,
    taken: RefCell<Rate>,
    /// The client took its response so slowly that it was given up.
    pub stalled: Cell<bool>,
}

impl<S: Transport> Bytestream<S> {
    pub fn new(stream: S, timers: Rc<Timers>, pace: RateLimits) -> Bytestream<S> {
        Bytestream {
            io: RefCell::new(Io {
                stream,
                input: BytesMut::new(),
                output: BytesMut::new(),
                read_size: SMALL_READ,
                ended: false,
                written: 0,
                filled: 0,
            }),
            timers,
            pace,
            taken: RefCell::new(Rate::new(pace)),
            stalled: Cell::new(false),
        }
    }

    /// More input, 0 at the end; also what `broken` reads in the meantime. Cancel-safe.
    pub async fn fill(&self) -> io::Result<usize> {
        let before = self.io.borrow().filled;
        poll_fn(|context| {
            let mut io = self.io.borrow_mut();
            match usize::try_from(io.filled - before) {
                Ok(came @ 1..) => Poll::Ready(Ok(came)),
                _ => io.poll_fill(context),
            }
        })
        .await
    }

    /// More input if it is there already.
    async fn fill_at_once(&self) -> Option<io::Result<usize>> {
        poll_fn(|context| {
            Poll::Ready(match self.io.borrow_mut().poll_fill(context) {
                Poll::Ready(filled) => Some(filled),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// More input at the pace that a body must keep; 0 at the end. Cancel-safe.
    pub async fn fill_in_time(&self, rate: &mut Rate) -> Result<io::Result<usize>, Late> {
        if let Some(filled) = self.fill_at_once().await {
            let read = filled.as_ref().map_or(0, |read| *read);
            match rate.waits() {
                true => rate.moved(read, Instant::now()),
                false => rate.moved_at_once(read),
            }
            return Ok(filled);
        }
        let (wait, late) = rate.wait(Instant::now());
        let filled = self.timers.within(wait, self.fill()).await.ok_or(late)?;
        rate.moved(filled.as_ref().map_or(0, |read| *read), Instant::now());
        Ok(filled)
    }

    /// Puts bytes into the output without writing them yet.
    pub fn queue(&self, add: impl FnOnce(&mut BytesMut)) {
        add(&mut self.io.borrow_mut().output);
    }

    /// Writes everything queued.
    pub async fn flush(&self) -> Result<(), Gone> {
        self.write(Bytes::new()).await
    }

    /// Queues a small piece; writes a large one without copying it.
    pub async fn send(&self, mut piece: Bytes, chunked: bool) -> Result<(), Gone> {
        if chunked {
            self.queue(|output| put_chunk_size(output, piece.len()));
        }
        let queued = self.io.borrow().output.len();
        if queued + piece.len() > OUTPUT_MAX {
            if queued > 0 {
                // The head and the beginning of the piece share the first write.
                let first = piece.split_to(OUTPUT_MAX.saturating_sub(queued).min(piece.len()));
                self.queue(|output| output.extend_from_slice(&first));
            }
            self.write(piece).await?;
        } else {
            self.queue(|output| output.extend_from_slice(&piece));
        }
        if chunked {
            self.queue(|output| output.extend_from_slice(b"\r\n"));
        }
        Ok(())
    }

    /// Writes what is queued, then `piece`; gives a client up that takes too little of it.
    async fn write(&self, mut piece: Bytes) -> Result<(), Gone> {
        let mut timer: Option<Timer> = None;
        poll_fn(|context| {
            let mut io = self.io.borrow_mut();
            let before = io.written;
            let polled = io.poll_write(&mut piece, context);
            let moved = usize::try_from(io.written - before).unwrap_or(0);
            drop(io);
            let mut rate = self.taken.borrow_mut();
            if polled.is_ready() && timer.is_none() {
                rate.moved_at_once(moved);
                return polled;
            }
            let now = Instant::now();
            if moved > 0 || polled.is_ready() {
                rate.moved(moved, now);
                timer = None;
            }
            if polled.is_ready() {
                return polled;
            }
            let timer = timer.get_or_insert_with(|| self.timers.after(rate.wait(now).0));
            ready!(Pin::new(timer).poll(context));
            self.stalled.set(true);
            Poll::Ready(Err(Gone))
        })
        .await
    }

    /// Between exchanges: the output buffer goes, and the next response has its own pace.
    pub fn rest(&self) {
        let mut io = self.io.borrow_mut();
        if io.output.is_empty() {
            io.output = BytesMut::new();
        }
        *self.taken.borrow_mut() = Rate::new(self.pace);
    }

    /// Resolves when the connection is broken. A client that only closed its own side still gets
    /// its response (RFC 9112 §9.6). Cancel-safe.
    pub async fn broken(&self) {
        let reset = poll_fn(|context| {
            loop {
                let mut io = self.io.borrow_mut();
                if io.input.len() >= AHEAD_MAX && !io.ended {
                    return Poll::Pending; // it is alive, and its body waits to be read
                }
                let filled = ready!(io.poll_fill(context));
                // Whoever waits in `fill` was asked before, and nothing more may ever come.
                context.waker().wake_by_ref();
                match filled {
                    Ok(1..) => {}
                    Ok(_) => return Poll::Ready(false),
                    Err(_) => return Poll::Ready(true),
                }
            }
        });
        if reset.await {
            return;
        }
        loop {
            self.timers.after(RESET_CHECK).await;
            let socket = self.io.borrow().stream.socket().take_error();
            if !matches!(socket, Ok(None)) {
                return;
            }
        }
    }

    /// Makes the close that follows visible as a failure (TCP reset).
    pub fn abort(&self) {
        let io = self.io.borrow();
        let _ = socket2::SockRef::from(io.stream.socket()).set_linger(Some(Duration::ZERO));
    }

    /// Says goodbye to an idle client without waiting for it.
    pub async fn part(&self) {
        poll_fn(|context| {
            let _ = Pin::new(&mut self.io.borrow_mut().stream).poll_shutdown(context);
            Poll::Ready(())
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
            let mut left = LINGER_BYTES_MAX;
            while left > 0 {
                match self.timers.within(LINGER_SILENCE, self.fill()).await {
                    Some(Ok(read @ 1..)) => left = left.saturating_sub(read),
                    _ => return,
                }
                self.io.borrow_mut().input.clear();
            }
        };
        self.timers.within(LINGER, drained).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_read_while_looking_for_a_break_reaches_who_waits_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), connecting);
        let mut client = client.unwrap();
        let pace = RateLimits {
            bytes_min: 0,
            grace: Duration::ZERO,
            idle: Duration::from_secs(5),
        };
        let stream = Bytestream::new(accepted.unwrap().0, Rc::new(Timers::default()), pace);
        let (mut fill, mut broken) = (pin!(stream.fill()), pin!(stream.broken()));
        let asked = poll_fn(|context| Poll::Ready(fill.as_mut().poll(context).is_pending()));
        assert!(asked.await);
        client.write_all(b"the last piece").await.unwrap();
        // As one task that asks for a break first.
        let filled = poll_fn(|context| {
            assert!(broken.as_mut().poll(context).is_pending());
            fill.as_mut().poll(context)
        });
        let filled = tokio::time::timeout(Duration::from_secs(5), filled).await;
        assert_eq!(filled.unwrap().unwrap(), 14);
        assert_eq!(&stream.io.borrow().input[..], b"the last piece");
    }
}

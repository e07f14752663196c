//! Under TLS: BoringSSL asks the socket for each record's header and content apart, and once more
//! for what is not there. Reading what has come at once saves two system calls in three.

use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Two full records.
const SCRATCH_BYTES: usize = 34 * 1024;

thread_local! {
    /// One for all connections of a thread: an idle connection holds nothing.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A stream that is read ahead of what is asked for.
pub struct ReadAhead<S> {
    stream: S,
    ahead: Bytes,
}

impl<S> ReadAhead<S> {
    pub fn new(stream: S) -> ReadAhead<S> {
        ReadAhead {
            stream,
            ahead: Bytes::new(),
        }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            if buffer.remaining() >= SCRATCH_BYTES {
                return Pin::new(&mut this.stream).poll_read(context, buffer);
            }
            return SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
                let taken = read.filled().len().min(buffer.remaining());
                let (now, later) = read.filled().split_at_checked(taken).unwrap_or_default();
                buffer.put_slice(now);
                if !later.is_empty() {
                    this.ahead = Bytes::copy_from_slice(later);
                }
                Poll::Ready(Ok(()))
            });
        }
        let taken = this.ahead.len().min(buffer.remaining());
        buffer.put_slice(this.ahead.get(..taken).unwrap_or_default());
        this.ahead.advance(taken);
        if this.ahead.is_empty() {
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn what_was_read_ahead_comes_in_order_and_then_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let sent: Vec<u8> = (0..200_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            client.write_all(&sent).await.unwrap();
            drop(client);
            let mut ahead = ReadAhead::new(server);
            let mut received = vec![0; 5];
            ahead.read_exact(&mut received).await.unwrap();
            ahead.read_to_end(&mut received).await.unwrap();
            assert!(received == sent && ahead.ahead.is_empty());
        });
    }
}

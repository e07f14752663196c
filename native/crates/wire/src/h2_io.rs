//! Collects the frames of one turn into one write: `h2` writes every larger DATA frame on its own,
//! which over TLS would be a record and a system call each.

use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One full TLS record.
const OUTPUT_MAX: usize = 16 * 1024;

/// A stream whose writes wait for `flush` or for a full record.
pub struct Collected<S> {
    stream: S,
    output: BytesMut,
}

impl<S> Collected<S> {
    pub fn new(stream: S) -> Collected<S> {
        let output = BytesMut::new();
        Collected { stream, output }
    }
}

impl<S: AsyncWrite + Unpin> Collected<S> {
    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.output.advance(written),
            }
        }
        self.output = BytesMut::new(); // an idle connection holds no buffer
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Collected<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Collected<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.output.len() >= OUTPUT_MAX {
            ready!(this.poll_output(context))?;
        }
        if this.output.is_empty() && bytes.len() >= OUTPUT_MAX {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        let room = OUTPUT_MAX - this.output.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        this.output.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! A connection as a stream of bytes.

use crate::netstack::Shared;
use crate::stack::Waiting;
use crate::tcp::{Connection, Phase};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection. Dropped, it ends in order, unless something that came was not read: then the peer
/// is told that it was in vain.
pub struct Stream {
    shared: Arc<Shared>,
    id: usize,
    is_forgotten: bool,
}

type Held<'a> = (&'a mut Connection, &'a mut Waiting);

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: usize) -> Stream {
        Stream {
            shared,
            id,
            is_forgotten: false,
        }
    }

    /// Who took it over releases it.
    pub(crate) fn forget(mut self) {
        self.is_forgotten = true;
    }

    pub(crate) fn accept(&self) {
        self.change(|(connection, _)| connection.accept());
    }

    /// Ends it at once; the peer is told.
    pub fn abort(&self) {
        self.change(|(connection, _)| connection.abort(io::ErrorKind::ConnectionAborted));
    }

    pub(crate) fn poll_open(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let found =
            self.change(
                |(connection, waiting)| match (connection.fault(), connection.phase()) {
                    (Some(fault), _) => Poll::Ready(Err(fault.into())),
                    (None, Phase::SynSent) => {
                        remember(&mut waiting.open, context);
                        Poll::Pending
                    }
                    _ => Poll::Ready(Ok(())),
                },
            );
        found.unwrap_or(Poll::Ready(Err(io::ErrorKind::NotConnected.into())))
    }

    /// Changes the connection; none when it is gone.
    fn change<T>(&self, change: impl FnOnce(Held<'_>) -> T) -> Option<T> {
        self.shared.with(|stack| {
            let changed = change(stack.held(self.id)?);
            stack.settle(self.id, Instant::now());
            Some(changed)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_forgotten {
            self.shared
                .with(|stack| stack.release(self.id, Instant::now()));
        }
    }
}

fn remember(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.change(|(connection, waiting)| {
            match connection.read(buffer.remaining(), |piece| buffer.put_slice(piece)) {
                Ok(Some(_)) => Poll::Ready(Ok(())),
                Err(fault) => Poll::Ready(Err(fault.into())),
                Ok(None) => {
                    remember(&mut waiting.read, context);
                    Poll::Pending
                }
            }
        });
        read.unwrap_or_else(gone)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.change(|(connection, waiting)| match connection.write(bytes) {
            Ok(0) if !bytes.is_empty() => {
                remember(&mut waiting.write, context);
                Poll::Pending
            }
            Ok(count) => Poll::Ready(Ok(count)),
            Err(fault) => Poll::Ready(Err(fault.into())),
        });
        written.unwrap_or_else(gone)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.change(|(connection, _)| connection.close());
        Poll::Ready(Ok(()))
    }
}

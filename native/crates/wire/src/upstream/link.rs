//! One byte stream to an endpoint, in clear or encrypted.

use crate::error_code::ErrorCode;
use bytes::BytesMut;
use edge_netstack::door::{self, DoorStream};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_boring::SslStream;

/// A connection's bytes.
pub enum Stream {
    Tcp(TcpStream),
    /// Through the stack of a mesh agent that has no interface.
    Door(DoorStream),
    Tls(Box<SslStream<Stream>>),
}

/// What carries bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Stream {
    /// Connects to the first address that answers, through the socket of an agent if there is one.
    pub async fn connect(
        addresses: &[SocketAddr],
        via: Option<&Path>,
    ) -> Result<(Stream, SocketAddr), ErrorCode> {
        for address in addresses {
            if let Ok(stream) = Stream::dial(*address, via).await {
                return Ok((stream, *address));
            }
        }
        Err(ErrorCode::UpstreamConnectFailed)
    }

    async fn dial(address: SocketAddr, via: Option<&Path>) -> io::Result<Stream> {
        if let Some(path) = via {
            return Ok(Stream::Door(door::dial(path, address).await?));
        }
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        Ok(Stream::Tcp(stream))
    }

    fn carrier(&mut self) -> Pin<&mut dyn Duplex> {
        Pin::new(match self {
            Stream::Tcp(stream) => stream,
            Stream::Door(stream) => stream,
            Stream::Tls(stream) => stream.as_mut(),
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.carrier().poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.carrier().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.carrier().poll_shutdown(context)
    }
}

/// One direction of a stream whose directions run as one task: borrowed for the length of a poll.
#[derive(Clone, Copy)]
pub struct Half<'a>(pub &'a RefCell<Stream>);

impl AsyncRead for Half<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Half<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}

/// An HTTP/1.1 connection to an endpoint.
pub struct Link {
    pub stream: RefCell<Stream>,
    /// Bytes read and not used yet.
    pub input: BytesMut,
    pub idle_since: Instant,
}

impl Link {
    pub fn new(stream: Stream) -> Link {
        Link {
            stream: RefCell::new(stream),
            input: BytesMut::new(),
            idle_since: Instant::now(),
        }
    }

    /// Open, and without bytes that nobody asked for: those would be taken for the answer to the
    /// next request (CVE-2026-48931). Over TLS, session tickets may wait there and are no such.
    pub fn is_idle(&self) -> bool {
        let mut byte = [0_u8; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        let mut stream = self.stream.borrow_mut();
        self.input.is_empty()
            && Pin::new(&mut *stream)
                .poll_read(&mut context, &mut buffer)
                .is_pending()
    }
}

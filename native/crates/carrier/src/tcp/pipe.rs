//! TLS over bytes in memory: many frames leave the socket, and come to it, in one system call.

use boring::ssl::{HandshakeError, MidHandshakeSslStream, SslStream};
use bytes::{Buf, BytesMut};
use std::io::{ErrorKind, Read, Result, Write};
use tokio::net::TcpStream;

/// Received at once.
const READ_BYTES: usize = 64 * 1024;
pub const CLOSED: &str = "the other end closed it";

/// What came and is not decrypted yet (less than a record once TLS looked at it), and what is
/// encrypted and has not left.
#[derive(Default)]
pub struct Pipe {
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = self.incoming.len().min(into.len());
        self.incoming
            .copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Pipe {
    /// So much waits to leave.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// Receives once. 0: the other end says no more. `None`: nothing is there.
    pub fn receive(&mut self, tcp: &TcpStream) -> Result<Option<usize>> {
        self.incoming.reserve(READ_BYTES);
        now(tcp.try_read_buf(&mut self.incoming))
    }

    /// Sends what the socket takes; how much that was.
    pub fn send(&mut self, tcp: &TcpStream) -> Result<usize> {
        let mut sent = 0;
        while !self.outgoing.is_empty() {
            let Some(length) = now(tcp.try_write(&self.outgoing))? else {
                break;
            };
            self.outgoing.advance(length);
            sent += length;
        }
        Ok(sent)
    }

    /// Who has nothing under way holds no memory for it.
    pub fn release(&mut self) {
        for bytes in [&mut self.incoming, &mut self.outgoing] {
            if bytes.is_empty() {
                *bytes = BytesMut::new();
            }
        }
    }
}

/// `None`: not now.
fn now(result: Result<usize>) -> Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// Shakes hands, on either side; or why not.
pub async fn handshake(
    tcp: &TcpStream,
    mut begun: MidHandshakeSslStream<Pipe>,
) -> std::result::Result<SslStream<Pipe>, String> {
    loop {
        match begun.handshake() {
            Ok(mut tls) => {
                flush(tcp, tls.get_mut()).await?;
                return Ok(tls);
            }
            Err(HandshakeError::WouldBlock(again)) => begun = again,
            Err(HandshakeError::Failure(mut failed)) => {
                let _ = flush(tcp, failed.get_mut()).await; // an alert
                return Err(format!("TLS: {}", failed.error()));
            }
            Err(HandshakeError::SetupFailure(error)) => return Err(format!("TLS: {error}")),
        }
        let pipe = begun.get_mut();
        flush(tcp, pipe).await?;
        wait(tcp.readable().await)?;
        if pipe.receive(tcp).map_err(|error| error.to_string())? == Some(0) {
            return Err(CLOSED.to_owned());
        }
    }
}

async fn flush(tcp: &TcpStream, pipe: &mut Pipe) -> std::result::Result<(), String> {
    loop {
        pipe.send(tcp).map_err(|error| error.to_string())?;
        if pipe.unsent() == 0 {
            return Ok(());
        }
        wait(tcp.writable().await)?;
    }
}

fn wait(result: Result<()>) -> std::result::Result<(), String> {
    result.map_err(|error| error.to_string())
}

//! A UDP socket: batches in (recvmmsg, GRO), trains out (GSO).

use crate::train::Load;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{ErrorKind, IoSliceMut, Result};
use std::net::{IpAddr, SocketAddr};
use tokio::io::Interest;
use tokio::net::UdpSocket;

const BATCH: usize = 8;
const BUFFER_BYTES: usize = 64 * 1024;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Where one batch is received; all sockets of a thread have one.
pub struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch(vec![0; BATCH * BUFFER_BYTES])
    }
}

impl Scratch {
    /// Room for whatever else is read at once.
    pub fn room(&mut self) -> &mut [u8] {
        self.0.get_mut(..BUFFER_BYTES).unwrap_or_default()
    }
}

/// Two ends of a path, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// A socket of this thread's runtime.
pub struct Port {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl Port {
    /// Takes over a bound socket. Must be called within the runtime.
    pub fn new(socket: std::net::UdpSocket) -> Result<Port> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let state = UdpSocketState::new((&socket).into())?;
        // The kernel caps both at its own limits; less than asked for is no reason to stop.
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
        Ok(Port {
            udp: UdpSocket::from_std(socket)?,
            state,
            local,
        })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Until there may be packets.
    pub async fn readable(&self) {
        // An error is found by whoever reads.
        let _ = self.udp.readable().await;
    }

    /// Until packets may be sent again.
    pub async fn writable(&self) {
        let _ = self.udp.writable().await;
    }

    /// Receives one batch. Returns whether there may be more.
    pub fn receive(&self, scratch: &mut Scratch, mut each: impl FnMut(&mut [u8], Path)) -> bool {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut received = 0;
        let mut chunks = scratch.0.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let more = self.udp.try_io(Interest::READABLE, || {
            received = self
                .state
                .recv((&self.udp).into(), &mut slices, &mut meta)?;
            // Fewer than asked for: the queue is empty, so say so instead of asking once more.
            if received < BATCH {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        for (slice, meta) in slices.iter_mut().zip(&meta).take(received) {
            let local = meta
                .dst_ip
                .map_or(self.local, |ip| SocketAddr::new(ip, self.local.port()));
            let path = Path {
                local,
                peer: meta.addr,
            };
            let bytes = slice.get_mut(..meta.len).unwrap_or_default();
            for packet in bytes.chunks_mut(meta.stride.max(1)) {
                each(packet, path);
            }
        }
        // An error from the queue (ICMP) is not the end of the socket: look again.
        more.is_ok() || more.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    }

    /// False: the socket is full now.
    pub fn send(&self, load: Load<'_>, path: Path) -> bool {
        let send = || self.send_now(load, path);
        match self.udp.try_io(Interest::WRITABLE, send) {
            Err(error) => error.kind() != ErrorKind::WouldBlock,
            Ok(()) => true,
        }
    }

    /// Sends or loses it. A new socket takes packets already, though the runtime has not seen so.
    pub fn send_now(&self, load: Load<'_>, path: Path) -> Result<()> {
        let transmit = Transmit {
            destination: path.peer,
            ecn: None,
            contents: load.bytes,
            segment_size: load.segment,
            src_ip: self.source(path.local),
        };
        self.state.try_send((&self.udp).into(), &transmit)
    }

    /// On a wildcard socket the kernel must be told which address the other end talks to.
    fn source(&self, local: SocketAddr) -> Option<IpAddr> {
        (self.local.ip().is_unspecified() && !local.ip().is_unspecified()).then(|| local.ip())
    }
}

//! The UDP socket: batches in (recvmmsg, GRO), trains of equal datagrams out (GSO).

use super::settings::DATAGRAM_BYTES_MAX;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::io::{ErrorKind, IoSliceMut, Result};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

const BATCH: usize = 8;
const BUFFER_BYTES: usize = 64 * 1024;
/// Largest GSO payload over IPv4 and IPv6, with room to spare.
const TRAIN_BYTES_MAX: usize = 65_000;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Datagrams of equal size (the last may be shorter) from one address to another.
#[derive(Debug, Clone, Copy)]
struct Train {
    from: SocketAddr,
    to: SocketAddr,
    length: usize,
    segment: usize,
    count: usize,
}

/// How far a connection's packets went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It has nothing more to send now.
    All,
    /// Its quota for this turn is used up.
    Quota,
    /// The socket takes no more; what was taken from the connection is kept.
    Blocked,
}

/// Counted since the last look.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub datagrams_in: u64,
    pub batches_in: u64,
    pub datagrams_out: u64,
    pub trains_out: u64,
}

/// One UDP socket with its buffers.
pub(super) struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    buffers: Vec<u8>,
    out: Vec<u8>,
    blocked: Option<Train>,
    pub counts: Counts,
}

impl Socket {
    /// Takes over a bound socket. Must be called within the runtime.
    pub fn new(socket: std::net::UdpSocket) -> Result<Socket> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let state = UdpSocketState::new((&socket).into())?;
        // The kernel caps both at its own limits; less than asked for is no reason to stop.
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER_BYTES);
        let udp = UdpSocket::from_std(socket)?;
        let (buffers, out) = (vec![0; BATCH * BUFFER_BYTES], vec![0; TRAIN_BYTES_MAX]);
        Ok(Socket {
            udp,
            state,
            local,
            buffers,
            out,
            blocked: None,
            counts: Counts::default(),
        })
    }

    /// The local address.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether datagrams may be there.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> bool {
        matches!(self.udp.poll_recv_ready(context), Poll::Ready(Ok(())))
    }

    /// Whether a blocked train may go on; false when none waits.
    pub fn poll_unblocked(&self, context: &mut Context<'_>) -> bool {
        self.blocked.is_some() && self.udp.poll_send_ready(context).is_ready()
    }

    /// Whether a train waits for the socket.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Receives one batch and calls `each` with every datagram, its source and its destination.
    /// Returns whether there may be more.
    pub fn receive(&mut self, mut each: impl FnMut(&mut [u8], SocketAddr, SocketAddr)) -> bool {
        let mut meta = [RecvMeta::default(); BATCH];
        let mut received = 0;
        let (udp, state) = (&self.udp, &self.state);
        let mut chunks = self.buffers.chunks_exact_mut(BUFFER_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let more = udp.try_io(Interest::READABLE, || {
            received = state.recv(udp.into(), &mut slices, &mut meta)?;
            // Fewer than asked for: the queue is empty, so say so instead of asking once more.
            if received < BATCH {
                Err(ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        self.counts.batches_in += u64::from(received > 0);
        for (slice, meta) in slices.iter_mut().zip(&meta).take(received) {
            let to = meta
                .dst_ip
                .map_or(self.local, |ip| SocketAddr::new(ip, self.local.port()));
            let bytes = slice.get_mut(..meta.len).unwrap_or_default();
            for datagram in bytes.chunks_mut(meta.stride.max(1)) {
                self.counts.datagrams_in += 1;
                each(datagram, meta.addr, to);
            }
        }
        // An error from the queue (ICMP) is not the end of the socket: look again.
        more.is_ok() || more.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    }

    /// Sends one datagram that belongs to no connection; it may get lost like any other.
    pub fn send_once(&self, contents: &[u8], from: SocketAddr, to: SocketAddr) {
        let src_ip = self.source(from);
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: None,
            src_ip,
        };
        let send = || self.state.try_send((&self.udp).into(), &transmit);
        let _ = self.udp.try_io(Interest::WRITABLE, send);
    }

    /// Sends what waited for the socket. False: it still waits.
    pub fn send_blocked(&mut self) -> bool {
        match self.blocked.take() {
            Some(train) => self.send_train(train),
            None => true,
        }
    }

    /// Sends what `next` (quiche's `send`) produces, `trains_max` trains at most.
    pub fn send_from<F>(&mut self, trains_max: usize, mut next: F) -> Sent
    where
        F: FnMut(&mut [u8]) -> Option<(usize, SocketAddr, SocketAddr)>,
    {
        let segments_max = self.state.max_gso_segments().max(1);
        let mut carried: Option<Train> = None;
        for _ in 0..trains_max {
            let mut train = carried.take();
            let mut done = false;
            loop {
                let at = train.map_or(0, |train| train.length);
                let full = train.is_some_and(|train| train.count >= segments_max);
                if full || at + DATAGRAM_BYTES_MAX > self.out.len() {
                    break;
                }
                let space = self
                    .out
                    .get_mut(at..at + DATAGRAM_BYTES_MAX)
                    .unwrap_or_default();
                let Some((length, from, to)) = next(space) else {
                    done = true;
                    break;
                };
                let single = Train {
                    from,
                    to,
                    length,
                    segment: length,
                    count: 1,
                };
                match &mut train {
                    None => train = Some(single),
                    Some(train) if train.accepts(&single) => {
                        train.length += length;
                        train.count += 1;
                        if length < train.segment {
                            break;
                        }
                    }
                    Some(_) => {
                        carried = Some(single);
                        break;
                    }
                }
            }
            let Some(train) = train else { return Sent::All };
            if !self.send_train(train) {
                // A packet of the next train is lost here; QUIC repeats it.
                return Sent::Blocked;
            }
            if let Some(single) = carried {
                self.out
                    .copy_within(train.length..train.length + single.length, 0);
            } else if done {
                return Sent::All;
            }
        }
        match carried {
            Some(single) if !self.send_train(single) => Sent::Blocked,
            _ => Sent::Quota,
        }
    }

    /// False when the socket is full: the train is kept for `send_blocked`.
    fn send_train(&mut self, train: Train) -> bool {
        let contents = self.out.get(..train.length).unwrap_or_default();
        let segment_size = (train.count > 1).then_some(train.segment);
        let src_ip = self.source(train.from);
        let transmit = Transmit {
            destination: train.to,
            ecn: None,
            contents,
            segment_size,
            src_ip,
        };
        let send = || self.state.try_send((&self.udp).into(), &transmit);
        match self.udp.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = Some(train);
                false
            }
            // Any other error loses these datagrams, as a network may: QUIC repeats them.
            _ => {
                self.counts.trains_out += 1;
                self.counts.datagrams_out += train.count as u64;
                true
            }
        }
    }

    /// On a wildcard socket the kernel must be told which address the client talks to.
    fn source(&self, from: SocketAddr) -> Option<std::net::IpAddr> {
        (self.local.ip().is_unspecified() && !from.ip().is_unspecified()).then(|| from.ip())
    }
}

impl Train {
    fn accepts(&self, single: &Train) -> bool {
        single.to == self.to && single.from == self.from && single.length <= self.segment
    }
}

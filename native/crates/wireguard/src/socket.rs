//! The UDP socket of a device: one for both families where the machine has IPv6, with segmentation
//! offload where the kernel and the interface have it.

use bytes::BytesMut;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce, UdpGroSegment};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the kernel joins to one datagram at most (UDP_GRO_CNT_MAX and 64 kB).
pub const RECEIVE_BYTES: usize = 65_535;
/// What it cuts at most: the length of an IPv6 packet less its headers and some options.
const SEND_BYTES_MAX: usize = 65_000;
/// UDP_MAX_SEGMENTS of kernels before 6.9.
const SEGMENTS_MAX: usize = 64;
/// A burst of ten milliseconds at 5 Gbit/s; the kernel doubles it.
const BUFFER_BYTES: usize = 7 << 20;
/// When the queue of the interface is full this long, what waits is lost, as on any link.
const SEND_WAIT_MS: u8 = 20;

/// A datagram and where it goes.
pub struct Datagram {
    pub to: SocketAddr,
    pub bytes: BytesMut,
}

/// What arrived in one go: datagrams of `stride` bytes each, the last one maybe shorter.
pub struct Arrival {
    pub from: SocketAddr,
    pub length: usize,
    pub stride: usize,
}

pub struct UdpEnd {
    socket: Socket,
    port: u16,
    is_v6: bool,
    /// Goes to false for good when the kernel or the interface refuses.
    has_gso: AtomicBool,
}

impl UdpEnd {
    /// `mark` is what rules of routing know our own packets by.
    pub fn bind(port: u16, mark: Option<u32>) -> io::Result<Self> {
        let (socket, is_v6) = match Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)) {
            Ok(socket) => {
                socket.set_only_v6(false)?;
                (socket, true)
            }
            // A kernel without IPv6.
            Err(_) => {
                let udp = Some(Protocol::UDP);
                (Socket::new(Domain::IPV4, Type::DGRAM, udp)?, false)
            }
        };
        if let Some(mark) = mark {
            socket.set_mark(mark)?;
        }
        let any: IpAddr = if is_v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(any, port).into())?;
        enlarge(&socket);
        // A path may be narrower than both ends know and say nothing about it (filtered ICMP): who
        // has to cut our packets may, as those of the kernel's own WireGuard. Where it is refused,
        // a path has to speak.
        let _ = set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT);
        // Where it is refused each datagram arrives alone.
        let _ = setsockopt(&socket, UdpGroSegment, &true);
        let bound = socket.local_addr()?.as_socket();
        Ok(Self {
            socket,
            port: bound.map_or(port, |address| address.port()),
            is_v6,
            has_gso: AtomicBool::new(true),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has arrived; none when nothing has.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Arrival>> {
        let mut control = nix::cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let got =
            recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT);
        let got = match got {
            Ok(got) => got,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut stride = got.bytes;
        for message in got.cmsgs()? {
            if let ControlMessageOwned::UdpGroSegments(size) = message {
                stride = usize::try_from(size).unwrap_or(stride);
            }
        }
        Ok(got
            .address
            .as_ref()
            .and_then(address_of)
            .map(|from| Arrival {
                from,
                length: got.bytes,
                stride: stride.max(1),
            }))
    }

    /// Sends datagrams in their order; neighbours to one address in one go. What cannot be sent is
    /// lost, as on any link.
    pub fn send(&self, datagrams: &[Datagram]) {
        self.send_within(datagrams, SEND_WAIT_MS);
    }

    /// As `send`, and waits for nothing.
    pub fn send_at_once(&self, datagrams: &[Datagram]) {
        self.send_within(datagrams, 0);
    }

    fn send_within(&self, datagrams: &[Datagram], wait_ms: u8) {
        let mut rest = datagrams;
        while let Some(first) = rest.first() {
            let count = if self.has_gso.load(Ordering::Relaxed) {
                run(rest)
            } else {
                1
            };
            let (now, later) = rest.split_at(count.min(rest.len()));
            rest = later;
            if !self.send_run(first, now, wait_ms) {
                for datagram in now {
                    self.send_run(datagram, std::slice::from_ref(datagram), wait_ms);
                }
            }
        }
    }

    /// False when the run was refused as one and may go in parts.
    fn send_run(&self, first: &Datagram, run: &[Datagram], wait_ms: u8) -> bool {
        let parts: Vec<IoSlice> = run.iter().map(|one| IoSlice::new(&one.bytes)).collect();
        let size = first.bytes.len() as u16;
        let cut = [ControlMessage::UdpGsoSegments(&size)];
        let control: &[ControlMessage] = if run.len() > 1 { &cut } else { &[] };
        let to = SockaddrStorage::from(self.mapped(first.to));
        loop {
            let fd = self.socket.as_raw_fd();
            match sendmsg(fd, &parts, control, MsgFlags::MSG_DONTWAIT, Some(&to)) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    if !matches!(poll(&mut fds, PollTimeout::from(wait_ms)), Ok(1..)) {
                        return true;
                    }
                }
                // The interface cannot do checksums, or the kernel knows no UDP_SEGMENT.
                Err(Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) if run.len() > 1 => {
                    self.has_gso.store(false, Ordering::Relaxed);
                    return false;
                }
                // One of them does not fit into the path: alone it may be cut on its way.
                Err(Errno::EINVAL | Errno::EMSGSIZE) if run.len() > 1 => return false,
                _ => return true,
            }
        }
    }

    fn mapped(&self, to: SocketAddr) -> SocketAddr {
        match to.ip() {
            IpAddr::V4(v4) if self.is_v6 => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            _ => to,
        }
    }
}

impl AsFd for UdpEnd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Beyond the system's limit where we may.
fn enlarge(socket: &Socket) {
    if setsockopt(socket, RcvBufForce, &BUFFER_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    }
    if setsockopt(socket, SndBufForce, &BUFFER_BYTES).is_err() {
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    }
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6: std::net::SocketAddrV6 = (*address.as_sockaddr_in6()?).into();
    match v6.ip().to_ipv4_mapped() {
        Some(v4) => Some(SocketAddr::new(v4.into(), v6.port())),
        None => Some(v6.into()),
    }
}

/// How many from the first on go to one address in one size; the last of them may be smaller.
fn run(datagrams: &[Datagram]) -> usize {
    let Some(first) = datagrams.first() else {
        return 0;
    };
    let size = first.bytes.len();
    let mut bytes = 0;
    let mut count = 0;
    for datagram in datagrams.iter().take(SEGMENTS_MAX) {
        bytes += datagram.bytes.len();
        let fits = datagram.to == first.to
            && (1..=size).contains(&datagram.bytes.len())
            && bytes <= SEND_BYTES_MAX;
        if !fits {
            break;
        }
        count += 1;
        if datagram.bytes.len() < size {
            break;
        }
    }
    count.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn datagram(to: u16, size: usize) -> Datagram {
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to);
        let bytes = BytesMut::from(&vec![size as u8; size][..]);
        Datagram { to, bytes }
    }

    #[test]
    fn a_run_is_of_one_size_and_one_address() {
        let sizes = |sizes: &[usize]| -> Vec<Datagram> {
            sizes.iter().map(|&size| datagram(1, size)).collect()
        };
        assert_eq!(run(&sizes(&[100, 100, 50, 50])), 3);
        assert_eq!(run(&sizes(&[100, 101])), 1);
        assert_eq!(run(&sizes(&[100; 70])), SEGMENTS_MAX);
        assert_eq!(run(&sizes(&[1452; 64])), SEND_BYTES_MAX / 1452);
        assert_eq!(run(&[datagram(1, 9), datagram(2, 9)]), 1);
    }

    #[test]
    fn datagrams_of_many_sizes_arrive_whole_and_in_order() {
        let one = UdpEnd::bind(0, None).expect("a socket");
        let other = UdpEnd::bind(0, None).expect("a socket");
        let sizes = [1200, 1200, 1200, 40, 1200, 9, 9, 9, 1300];
        for has_gso in [true, false] {
            one.has_gso.store(has_gso, Ordering::Relaxed);
            let sent: Vec<_> = sizes
                .iter()
                .map(|&size| datagram(other.port(), size))
                .collect();
            one.send(&sent);
            let mut got = Vec::new();
            let mut buffer = vec![0; RECEIVE_BYTES];
            let until = Instant::now() + Duration::from_secs(5);
            while got.len() < sizes.len() && Instant::now() < until {
                let Some(arrival) = other.receive(&mut buffer).expect("a datagram") else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!(
                    arrival.from,
                    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), one.port())
                );
                got.extend(
                    buffer[..arrival.length]
                        .chunks(arrival.stride)
                        .map(<[u8]>::len),
                );
            }
            assert_eq!(got, sizes);
        }
    }

    #[test]
    fn a_port_that_is_taken_is_told() {
        let one = UdpEnd::bind(0, None).expect("a socket");
        let again = UdpEnd::bind(one.port(), None)
            .err()
            .map(|error| error.kind());
        assert_eq!(again, Some(io::ErrorKind::AddrInUse));
    }
}

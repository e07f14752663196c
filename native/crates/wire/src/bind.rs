//! Where the sockets of the listeners come from: systemd, a running program that shares its ports,
//! or the kernel.

use crate::config::{ListenerKind, WireConfig, WireListener};
use crate::handover::{self, Offer};
use crate::thread::Sockets;
use crate::wire::WireError;
use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, TcpListener, UdpSocket};

const BACKLOG: i32 = 4096;
/// Port 0 must be free for TCP and UDP: the kernel picks for TCP, UDP may be taken.
const PORT_ATTEMPTS: usize = 16;

/// What all listeners need, bound.
#[derive(Default)]
pub(crate) struct Bound {
    /// In the order of the listeners.
    pub addresses: Vec<SocketAddr>,
    /// By wire thread.
    pub threads: Vec<Sockets>,
    /// For the successors of this program.
    pub offers: Vec<Offer>,
}

/// The sockets of one listener.
struct Listener {
    address: SocketAddr,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    offer: Option<Offer>,
}

/// Binds or takes over every listener for every thread.
pub(crate) fn bind_all(config: &WireConfig) -> std::result::Result<Bound, WireError> {
    let threads = (0..config.threads).map(|_| Sockets::default()).collect();
    let mut bound = Bound {
        threads,
        ..Bound::default()
    };
    let mut given = Given::from_environment(&config.listeners).map_err(WireError)?;
    for (index, listener) in (0u32..).zip(&config.listeners) {
        let sockets = match given.take(index) {
            Some((tcp, udp)) => adopt(listener, tcp, udp, config.threads),
            None if config.shared_ports => share(listener, config.threads),
            None => probe(listener.address, is_https(listener))
                .and_then(|()| fresh(listener, config.threads)),
        };
        let sockets = sockets.map_err(|error| WireError(bind_failure(listener.address, &error)))?;
        bound.addresses.push(sockets.address);
        bound.offers.extend(sockets.offer);
        let spread = spread(sockets.tcp, config.threads)
            .map_err(|error| WireError(bind_failure(sockets.address, &error)))?;
        for (thread, tcp) in spread {
            if let Some(sockets) = bound.threads.get_mut(thread) {
                sockets.tcp.push((index, tcp));
            }
        }
        for (thread, udp) in (0..config.threads).cycle().zip(sockets.udp) {
            if let Some(sockets) = bound.threads.get_mut(thread) {
                sockets.udp.push((index, udp));
            }
        }
    }
    Ok(bound)
}

fn is_https(listener: &WireListener) -> bool {
    listener.kind == ListenerKind::Https
}

/// Every thread gets a listener and every listener a thread.
fn spread(listeners: Vec<TcpListener>, threads: usize) -> Result<Vec<(usize, TcpListener)>> {
    let mut spread = Vec::new();
    for (thread, listener) in (listeners.len()..threads).zip(listeners.iter().cycle()) {
        spread.push((thread, listener.try_clone()?));
    }
    for (index, listener) in listeners.into_iter().enumerate() {
        spread.push((index % threads, listener));
    }
    Ok(spread)
}

/// The sockets that systemd passed (sd_listen_fds(3)), by listener.
#[derive(Default)]
struct Given(Vec<(Option<u32>, Passed)>);

enum Passed {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Given {
    /// A socket belongs to the listener whose name it bears (`FileDescriptorName=`), else to the
    /// one whose address it is bound to. One that belongs to nobody is a mistake in the unit.
    fn from_environment(listeners: &[WireListener]) -> std::result::Result<Given, String> {
        let mut passed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = Given::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let (socket, address) = next_socket(&mut passed, index)
                .map_err(|error| format!("socket {index} ({name}) of systemd: {error}"))?;
            let owner = listeners
                .iter()
                .position(|listener| listener.name == name)
                .or_else(|| listeners.iter().position(|one| one.address == address))
                .ok_or_else(|| {
                    format!(
                        "socket {index} ({name}) of systemd is bound to {address}, which is the \
                         address of no listener; write FileDescriptorName=http or https"
                    )
                })?;
            given.0.push((u32::try_from(owner).ok(), socket));
        }
        Ok(given)
    }

    fn take(&mut self, listener: u32) -> Option<(Vec<TcpListener>, Vec<UdpSocket>)> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for (_, socket) in self.0.extract_if(.., |(owner, _)| *owner == Some(listener)) {
            match socket {
                Passed::Tcp(socket) => tcp.push(socket),
                Passed::Udp(socket) => udp.push(socket),
            }
        }
        (!tcp.is_empty() || !udp.is_empty()).then_some((tcp, udp))
    }
}

fn next_socket(passed: &mut ListenFd, index: usize) -> Result<(Passed, SocketAddr)> {
    if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        return Ok((Passed::Tcp(socket), address));
    }
    let socket = passed
        .take_udp_socket(index)?
        .ok_or_else(|| Error::other("it is there no more"))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((Passed::Udp(socket), address))
}

/// Takes what systemd passed; UDP that it did not pass is bound here.
fn adopt(
    listener: &WireListener,
    tcp: Vec<TcpListener>,
    mut udp: Vec<UdpSocket>,
    threads: usize,
) -> Result<Listener> {
    let Some(first) = tcp.first() else {
        let text = "systemd passed a datagram socket alone; add ListenStream= to the unit";
        return Err(Error::other(text));
    };
    let address = first.local_addr()?;
    if is_https(listener) && udp.is_empty() {
        for _ in 0..threads {
            udp.push(udp_socket(address)?);
        }
    }
    Ok(Listener {
        address,
        tcp,
        udp,
        offer: None,
    })
}

/// Takes the listeners of the running program, or binds and offers them to successors.
fn share(listener: &WireListener, threads: usize) -> Result<Listener> {
    if let Some((tcp, offer)) = handover::take(listener.address)? {
        let address = listener.address;
        let count = if is_https(listener) { threads } else { 0 };
        let udp = (0..count)
            .map(|_| udp_socket(address))
            .collect::<Result<_>>()?;
        return Ok(Listener {
            address,
            tcp,
            udp,
            offer: Some(offer),
        });
    }
    let mut bound = fresh(listener, threads)?;
    bound.offer = Offer::open(bound.address, &bound.tcp)?;
    Ok(bound)
}

/// Binds sockets of our own, one of each kind for every thread.
fn fresh(listener: &WireListener, threads: usize) -> Result<Listener> {
    let wanted = listener.address;
    let with_udp = is_https(listener);
    let attempts = if wanted.port() == 0 && with_udp {
        PORT_ATTEMPTS
    } else {
        1
    };
    let mut last_error = Error::other("no attempt");
    for _ in 0..attempts {
        let first = tcp_socket(wanted)?;
        let address = first.local_addr()?;
        let (mut tcp, mut udp) = (vec![first], Vec::new());
        if with_udp {
            match udp_socket(address) {
                Ok(socket) => udp.push(socket),
                Err(error) => {
                    last_error = error;
                    continue;
                }
            }
        }
        for _ in 1..threads {
            tcp.push(tcp_socket(address)?);
            if with_udp {
                udp.push(udp_socket(address)?);
            }
        }
        return Ok(Listener {
            address,
            tcp,
            udp,
            offer: None,
        });
    }
    Err(last_error)
}

/// The address, and the reason by the name that operators search for.
pub(crate) fn bind_failure(address: SocketAddr, error: &Error) -> String {
    let name = match error.kind() {
        ErrorKind::AddrInUse => "EADDRINUSE: ",
        ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL: ",
        ErrorKind::PermissionDenied => "EACCES: ",
        _ => "",
    };
    format!("cannot listen on {address}: {name}{error}")
}

/// Fails when anyone listens there: with SO_REUSEPORT alone, two processes would share the port
/// without a word, and each would get some of the connections.
fn probe(address: SocketAddr, with_udp: bool) -> Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    if with_udp {
        socket(address, Type::DGRAM, Protocol::UDP)?.bind(&address.into())?;
    }
    Ok(())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too, as on every Linux that was not told otherwise.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp_socket(address: SocketAddr) -> Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp_socket(address: SocketAddr) -> Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

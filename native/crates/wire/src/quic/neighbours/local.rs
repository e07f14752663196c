//! Other programs on the same port: while one edge takes over from another, the kernel gives each
//! the packets of some of the other's connections (SO_REUSEPORT goes by addresses). They are handed
//! over through abstract Unix sockets, named `quic-edge/<port>/<generation>`, and answered by the
//! owner from its own socket. A program that takes new connections has a second name, with `/open`
//! at its end: whoever leaves hands what begins to one of those.

use crate::quic::inbox::Datagram;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram as StdUnixDatagram};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;

/// Programs that may share a port; more than two only when restarts pile up.
const NEIGHBOURS_MAX: usize = 8;
/// How often at most to look for others.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The kernel's list is read this far.
const LIST_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Many datagrams travel in one message: the kernel queues few messages (max_dgram_qlen).
const MESSAGE_BYTES_MAX: usize = 60_000;
/// Ends the second name of a program that takes new connections.
const OPEN: &str = "/open";
/// Messages read in one turn.
const MESSAGES_PER_TURN: usize = 16;

/// The way to and from other programs on this endpoint's port.
pub(super) struct Local {
    port: u16,
    own: u16,
    incoming: Option<UnixDatagram>,
    /// Only its name matters.
    open: Option<StdUnixDatagram>,
    outgoing: Option<StdUnixDatagram>,
    others: Vec<Neighbour>,
    looked: Option<Instant>,
    buffer: Vec<u8>,
}

struct Neighbour {
    generation: u16,
    /// Takes new connections.
    open: bool,
    message: Vec<u8>,
}

impl Local {
    /// `receives`: this endpoint takes what others hand over (one endpoint of a port does).
    pub fn new(port: u16, own: u16, receives: bool) -> Local {
        let incoming = receives.then(|| bind(port, own)).flatten();
        let open = incoming.as_ref().and_then(|_| {
            let name = address(port, &format!("{own:04x}{OPEN}")).ok()?;
            StdUnixDatagram::bind_addr(&name).ok()
        });
        let outgoing = StdUnixDatagram::unbound().ok();
        let outgoing = outgoing.filter(|socket| socket.set_nonblocking(true).is_ok());
        let buffer = match incoming {
            Some(_) => vec![0; MESSAGE_BYTES_MAX * 2],
            None => Vec::new(),
        };
        Local {
            port,
            own,
            incoming,
            open,
            outgoing,
            others: Vec::new(),
            looked: None,
            buffer,
        }
    }

    /// Keeps a datagram for the program of `generation`. False: there is no such program.
    pub fn offer(&mut self, generation: u16, now: Instant, datagram: &Datagram) -> bool {
        let is_it = |other: &Neighbour| other.generation == generation;
        if !self.others.iter().any(is_it) {
            self.look_again(now);
        }
        self.keep(is_it, datagram)
    }

    /// Keeps a datagram that begins a connection for a program that takes new ones. False: there
    /// is none.
    pub fn offer_successor(&mut self, now: Instant, datagram: &Datagram) -> bool {
        // Looked at now and then: a successor may have one itself by now.
        self.look_again(now);
        self.keep(|other| other.open, datagram)
    }

    /// This program takes no more connections.
    pub fn leave(&mut self) {
        self.open = None;
        self.looked = None;
    }

    fn keep(&mut self, is_it: impl Fn(&Neighbour) -> bool, datagram: &Datagram) -> bool {
        let Some(other) = self.others.iter_mut().find(|other| is_it(other)) else {
            return false;
        };
        datagram.write(&mut other.message);
        if other.message.len() >= MESSAGE_BYTES_MAX {
            self.send();
        }
        true
    }

    fn look_again(&mut self, now: Instant) {
        let waited = self
            .looked
            .is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_INTERVAL);
        if waited {
            self.looked = Some(now);
            self.look();
        }
    }

    /// Sends what was kept. What a busy program does not take is lost, as a network may lose it; a
    /// program that ended is forgotten.
    pub fn send(&mut self) {
        let (port, outgoing) = (self.port, &self.outgoing);
        self.others.retain_mut(|other| {
            if other.message.is_empty() {
                return true;
            }
            let message = std::mem::take(&mut other.message);
            let (Some(outgoing), Ok(address)) = (outgoing, named(port, other.generation)) else {
                return false;
            };
            match outgoing.send_to_addr(&message, &address) {
                Err(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
                Ok(_) => true,
            }
        });
    }

    /// Calls `each` with every datagram that others handed over. Returns whether any may be left;
    /// if none, `context` is woken by the next.
    pub fn poll(&mut self, context: &mut Context<'_>, mut each: impl FnMut(Datagram)) -> bool {
        let Some(incoming) = &self.incoming else {
            return false;
        };
        for _ in 0..MESSAGES_PER_TURN {
            let mut buffer = tokio::io::ReadBuf::new(&mut self.buffer);
            match incoming.poll_recv(context, &mut buffer) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) => {
                    let mut message = buffer.filled();
                    while let Some(datagram) = Datagram::read(&mut message) {
                        each(datagram);
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        true
    }

    /// Finds the programs that have such a socket, in the kernel's list of them.
    fn look(&mut self) {
        let mut list = Vec::new();
        let Ok(file) = std::fs::File::open("/proc/net/unix") else {
            return;
        };
        if file.take(LIST_BYTES_MAX).read_to_end(&mut list).is_err() {
            return;
        }
        let (list, prefix) = (String::from_utf8_lossy(&list), self.name(""));
        let ends = list.lines().filter_map(|line| line.rsplit_once(&prefix));
        let ends: Vec<&str> = ends.map(|(_, end)| end).collect();
        self.others
            .retain(|other| ends.contains(&&*format!("{:04x}", other.generation)));
        for end in &ends {
            let Ok(generation) = u16::from_str_radix(end, 16) else {
                continue;
            };
            let open = ends.contains(&&*format!("{generation:04x}{OPEN}"));
            let known = |other: &&mut Neighbour| other.generation == generation;
            if let Some(other) = self.others.iter_mut().find(known) {
                other.open = open;
            } else if generation != self.own && self.others.len() < NEIGHBOURS_MAX {
                let message = Vec::new();
                self.others.push(Neighbour {
                    generation,
                    open,
                    message,
                });
            }
        }
    }

    /// As the kernel prints it.
    fn name(&self, generation: &str) -> String {
        format!(" @quic-edge/{}/{generation}", self.port)
    }
}

fn address(port: u16, end: &str) -> std::io::Result<UnixAddress> {
    UnixAddress::from_abstract_name(format!("quic-edge/{port}/{end}"))
}

fn named(port: u16, generation: u16) -> std::io::Result<UnixAddress> {
    address(port, &format!("{generation:04x}"))
}

/// `None` when another endpoint of this program has the name already: it receives for all.
fn bind(port: u16, own: u16) -> Option<UnixDatagram> {
    let socket = StdUnixDatagram::bind_addr(&named(port, own).ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    UnixDatagram::from_std(socket).ok()
}

//! The way to programs on the same node that have a network of their own: pods, one of which takes
//! over from the other. A flow that the node sends to the wrong one of them (a client behind a NAT
//! that rebinds) is handed on over UDP, and the answers come back the same way, so that the node
//! recognises them.

use super::book::{Book, Heard, Letter};
use super::flows::{Flow, Flows};
use super::message::{KEY_BYTES, MESSAGE_BYTES_MAX, Saying, Speaker};
use crate::quic::cid::random;
use crate::quic::inbox::Datagram;
use crate::shared::Shared;
use crate::thread::WireThread;
use serde::Deserialize;
use std::io::Result;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Hellos after the start, which find everybody behind a Service that picks one of two at random
/// but once in a million times; then they are seldom.
const FIRST_HELLOS: u32 = 20;
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
const INTERVAL: Duration = Duration::from_secs(15);
/// A datagram for an unknown program asks for a hello, this often at most.
const WANTED_INTERVAL: Duration = Duration::from_secs(1);
/// How often those that are known hear that this program is there.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Messages read before other tasks get their turn.
const MESSAGES_PER_TURN: usize = 64;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What is fixed from the start (proxy/wire-config.ts).
#[derive(Debug, Clone, Deserialize)]
pub struct NeighboursConfig {
    /// Where messages of other programs come.
    pub listen: SocketAddr,
    /// How they reach it, when `listen` is every address.
    pub address: Option<IpAddr>,
}

/// What may change: by what others are known, and where they are met.
#[derive(Debug, Clone, Deserialize)]
pub struct Acquaintance {
    /// 32 bytes, in base64.
    pub key: String,
    /// Addresses behind which one of the programs of this node is found, any of them.
    pub meet: Vec<SocketAddr>,
}

/// The other programs with a network of their own; shared by all threads.
pub(in crate::quic) struct Remote {
    config: NeighboursConfig,
    socket: OnceLock<UdpSocket>,
    state: Mutex<State>,
    /// Some client's answers go through another program.
    relays: AtomicBool,
    changed: Notify,
}

struct State {
    book: Book,
    meet: Vec<SocketAddr>,
    /// Clients whose datagrams were passed on: others may send to them from here.
    passed: Flows,
    /// Clients that others receive for this program.
    received: Flows,
    hellos: Hellos,
}

/// When the next hello is due.
struct Hellos {
    first: u32,
    said: Option<Instant>,
    next: Option<Instant>,
}

impl Remote {
    /// Not listening yet.
    pub fn new(config: NeighboursConfig, generation: u16) -> Remote {
        let ip = config.address.unwrap_or(config.listen.ip());
        let speaker = Speaker {
            generation,
            address: SocketAddr::new(ip, config.listen.port()),
            open: true,
        };
        let state = State {
            book: Book::new(speaker),
            meet: Vec::new(),
            passed: Flows::default(),
            received: Flows::default(),
            hellos: Hellos {
                first: FIRST_HELLOS,
                said: None,
                next: None,
            },
        };
        Remote {
            config,
            socket: OnceLock::new(),
            state: Mutex::new(state),
            relays: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Where it listens.
    pub fn listen(&self) -> SocketAddr {
        self.config.listen
    }

    /// Takes its port.
    pub fn bind(&self) -> Result<()> {
        let socket = UdpSocket::bind(self.config.listen)?;
        socket.set_nonblocking(true)?;
        let own = socket2::SockRef::from(&socket);
        // The kernel caps it at its own limit; less than asked for is no reason to stop.
        let _ = own.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
        let port = socket.local_addr()?.port();
        self.state().book.set_port(port);
        let _ = self.socket.set(socket);
        Ok(())
    }

    /// Takes over by what others are known and where they are met.
    pub fn acquaint(&self, key: [u8; KEY_BYTES], meet: Vec<SocketAddr>) {
        let now = Instant::now();
        let mut state = self.state();
        let is_other = state.book.set_key(key, now) || state.meet != meet;
        state.meet = meet;
        if is_other {
            state.hellos.first = FIRST_HELLOS;
            state.hellos.next = Some(now);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Hands a datagram to the program of `generation`. False: it is not known, or there is no
    /// room for another client.
    pub fn offer(&self, generation: u16, now: Instant, datagram: &Datagram) -> bool {
        let mut state = self.state();
        if !state.book.knows(generation) {
            if state.hellos.want(now) {
                self.changed.notify_one();
            }
            return false;
        }
        self.pass(state, generation, now, datagram)
    }

    /// Hands a datagram that begins a connection to a program that takes new ones, if there is one.
    pub fn offer_successor(&self, now: Instant, datagram: &Datagram) -> bool {
        let state = self.state();
        match state.book.successor() {
            Some(generation) => self.pass(state, generation, now, datagram),
            None => false,
        }
    }

    fn pass(
        &self,
        mut state: MutexGuard<'_, State>,
        generation: u16,
        now: Instant,
        datagram: &Datagram,
    ) -> bool {
        let flow = Flow {
            client: datagram.from,
            local: datagram.to,
        };
        if !state.passed.note(flow, generation, now) {
            return false;
        }
        let letter = state.book.say(generation, &Saying::Pass(datagram.clone()));
        drop(state);
        letter.is_some_and(|letter| self.send(&letter))
    }

    /// Sends an answer through the program that receives for that client. False: none does.
    pub fn give_back(&self, contents: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
        if !self.relays.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.state();
        let flow = Flow {
            client: to,
            local: from,
        };
        let Some(generation) = state.received.get(&flow, Instant::now()) else {
            return false;
        };
        let contents = contents.to_vec();
        let datagram = Datagram { contents, from, to };
        let letter = state.book.say(generation, &Saying::Return(datagram));
        drop(state);
        // What does not go is lost, as a network may lose it.
        if let Some(letter) = letter {
            self.send(&letter);
        }
        true
    }

    /// This program takes no more connections.
    pub fn close(&self) {
        let letters = self.state().book.set_open(false);
        self.send_all(&letters);
    }

    fn send(&self, letter: &Letter) -> bool {
        let socket = self.socket.get();
        socket.is_some_and(|socket| socket.send_to(&letter.message, letter.to).is_ok())
    }

    fn send_all(&self, letters: &[Letter]) {
        for letter in letters {
            self.send(letter);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says hello when it is time; when it is time again.
    fn greet(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let next = state.hellos.next?;
        if next > now {
            return Some(next);
        }
        state.hellos.plan(now);
        let next = state.hellos.next;
        for to in state.meet.clone() {
            let Some(message) = state.book.hello(now) else {
                break;
            };
            // From another port each time: the node picks anew whom a new flow leads to.
            let socket = UdpSocket::bind(SocketAddr::new(self.config.listen.ip(), 0));
            let _ = socket.and_then(|socket| {
                socket.set_nonblocking(true)?;
                socket.send_to(&message, to)
            });
        }
        next
    }

    /// Signs of life, and what is too old is forgotten.
    fn tick(&self, now: Instant) {
        let mut state = self.state();
        state.book.expire(now);
        state.passed.expire(now);
        state.received.expire(now);
        let relays = !state.received.is_empty();
        self.relays.store(relays, Ordering::Relaxed);
        let letters = state.book.alive();
        drop(state);
        self.send_all(&letters);
    }

    /// Takes a message. False: it was refused.
    fn hear(&self, message: &[u8], thread: &WireThread) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let shared = &thread.shared;
        let heard = state.book.hear(message, now);
        let met = std::mem::take(&mut state.book.met);
        if met > 0 {
            shared.stats.quic_add("metNeighbours", met);
        }
        match heard {
            Heard::Refused => return false,
            Heard::Nothing => {}
            Heard::Reply(letter) => {
                drop(state);
                self.send(&letter);
            }
            Heard::Pass(generation, datagram) => {
                let flow = Flow {
                    client: datagram.from,
                    local: datagram.to,
                };
                if !state.received.note(flow, generation, now) {
                    return false;
                }
                self.relays.store(true, Ordering::Relaxed);
                drop(state);
                let is_taken = shared.quic.receive(datagram, shared.config.threads);
                count(shared, "receivedNeighbours", is_taken);
            }
            Heard::Return(generation, datagram) => {
                let flow = Flow {
                    client: datagram.to,
                    local: datagram.from,
                };
                // It speaks for this program only to clients that this program sent to it.
                if state.passed.get(&flow, now) != Some(generation) {
                    return false;
                }
                drop(state);
                let is_taken = shared.quic.send_from_here(datagram);
                count(shared, "returnedNeighbours", is_taken);
            }
        }
        true
    }
}

impl Hellos {
    /// One was said: when the next one is due.
    fn plan(&mut self, now: Instant) {
        self.said = Some(now);
        self.first = self.first.saturating_sub(1);
        let mean = if self.first > 0 {
            FIRST_INTERVAL
        } else {
            INTERVAL
        };
        // Between three quarters and five: programs that began together do not stay together.
        let part = u32::from(random::<1>().map_or(128, |[part]| part));
        self.next = Some(now + mean * 3 / 4 + mean * part / 512);
    }

    /// Somebody unknown is wanted. Whether the next hello is due sooner for it.
    fn want(&mut self, now: Instant) -> bool {
        let (Some(said), Some(next)) = (self.said, self.next) else {
            return false;
        };
        let soon = now.max(said + WANTED_INTERVAL);
        let is_sooner = soon < next;
        if is_sooner {
            self.next = Some(soon);
        }
        is_sooner
    }
}

/// Listens to other programs until dropped, and says goodbye then.
pub(crate) async fn run(thread: Rc<WireThread>) {
    let Some(remote) = thread.shared.quic.remote() else {
        return;
    };
    let copy = remote.socket.get().map(UdpSocket::try_clone);
    let Some(Ok(Ok(socket))) = copy.map(|copy| copy.map(tokio::net::UdpSocket::from_std)) else {
        return;
    };
    let _farewell = Farewell(remote);
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut draining = Box::pin(thread.shared.drain_begun());
    let mut is_open = true;
    let mut alive = tokio::time::interval(ALIVE_INTERVAL);
    loop {
        let next = remote.greet(Instant::now());
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = socket.readable() => {
                if ready.is_ok() {
                    read(remote, &socket, &mut message, &thread);
                }
                // One busy neighbour must not keep this thread from its connections.
                tokio::task::yield_now().await;
            }
            () = due => {}
            () = remote.changed.notified() => {}
            _ = alive.tick() => remote.tick(Instant::now()),
            () = &mut draining, if is_open => {
                is_open = false;
                remote.close();
            }
        }
    }
}

fn read(remote: &Remote, socket: &tokio::net::UdpSocket, message: &mut [u8], thread: &WireThread) {
    let mut refused = 0;
    for _ in 0..MESSAGES_PER_TURN {
        // An error is that of an earlier message, whose receiver is gone.
        let length = match socket.try_recv(message) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            Err(_) => continue,
        };
        let heard = remote.hear(message.get(..length).unwrap_or_default(), thread);
        refused += u64::from(!heard);
    }
    if refused > 0 {
        thread.shared.stats.quic_add("refusedNeighbours", refused);
    }
}

/// Counts a datagram by name, or that there was no room for it: QUIC repairs that, as any loss.
fn count(shared: &Shared, name: &'static str, is_taken: bool) {
    let name = if is_taken { name } else { "droppedNeighbours" };
    shared.stats.quic_add(name, 1);
}

struct Farewell<'a>(&'a Remote);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        let letters = self.0.state().book.leave();
        self.0.send_all(&letters);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hellos_are_many_at_first_then_seldom_unless_somebody_is_wanted() {
        let mut now = Instant::now();
        let mut hellos = Hellos {
            first: FIRST_HELLOS,
            said: None,
            next: None,
        };
        assert!(!hellos.want(now), "nobody is met anywhere");
        for _ in 1..FIRST_HELLOS {
            hellos.plan(now);
            let pause = hellos.next.unwrap() - now;
            assert!(pause < FIRST_INTERVAL * 5 / 4, "{pause:?}");
            now += pause;
        }
        hellos.plan(now);
        let pause = hellos.next.unwrap() - now;
        assert!(pause >= INTERVAL * 3 / 4 && pause < INTERVAL * 5 / 4);
        assert!(hellos.want(now));
        assert_eq!(hellos.next, Some(now + WANTED_INTERVAL));
        assert!(!hellos.want(now), "it is due already");
    }
}

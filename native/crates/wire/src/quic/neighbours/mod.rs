//! Other programs that serve the same clients: those on this port (`local`), and those on this node
//! with a network of their own (`remote`). What belongs to one of them is handed on.

mod book;
mod flows;
mod local;
mod message;
mod remote;
mod session;

use super::cid::Owner;
use super::inbox::Datagram;
use local::Local;
pub(super) use message::KEY_BYTES;
pub(super) use remote::Remote;
pub(crate) use remote::run;
pub use remote::{Acquaintance, NeighboursConfig};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

/// The ways from one endpoint to other programs, the shorter one first.
pub(super) struct Neighbours {
    local: Local,
    remote: Option<Arc<Remote>>,
}

/// How a datagram went to another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Local,
    Remote,
}

impl Way {
    /// The counter of datagrams that went this way.
    pub fn counter(self) -> &'static str {
        match self {
            Way::Local => "forwardedPrograms",
            Way::Remote => "forwardedNeighbours",
        }
    }
}

impl Neighbours {
    /// Those of the endpoint that `own` names. The first thread's takes what programs on its port
    /// hand over.
    pub fn new(port: u16, own: Owner, remote: Option<Arc<Remote>>) -> Neighbours {
        let local = Local::new(port, own.generation, own.thread == 0);
        Neighbours { local, remote }
    }

    /// Hands a datagram to the program of `generation`. `None`: there is no such program.
    pub fn offer(&mut self, generation: u16, now: Instant, datagram: &Datagram) -> Option<Way> {
        if self.local.offer(generation, now, datagram) {
            return Some(Way::Local);
        }
        let remote = self.remote.as_ref();
        let passed = remote.is_some_and(|remote| remote.offer(generation, now, datagram));
        passed.then_some(Way::Remote)
    }

    /// Hands a datagram that begins a connection to a program that takes new ones.
    pub fn offer_successor(&mut self, now: Instant, datagram: &Datagram) -> Option<Way> {
        if self.local.offer_successor(now, datagram) {
            return Some(Way::Local);
        }
        let remote = self.remote.as_ref();
        let passed = remote.is_some_and(|remote| remote.offer_successor(now, datagram));
        passed.then_some(Way::Remote)
    }

    /// Whether the client's datagrams come through another program: then the answer went there.
    pub fn give_back(&self, contents: &[u8], from: SocketAddr, to: SocketAddr) -> bool {
        let remote = self.remote.as_ref();
        remote.is_some_and(|remote| remote.give_back(contents, from, to))
    }

    /// This program takes no more connections.
    pub fn leave(&mut self) {
        self.local.leave();
    }

    /// Sends what was kept for programs on this port.
    pub fn send(&mut self) {
        self.local.send();
    }

    /// Calls `each` with every datagram that programs on this port handed over. Returns whether any
    /// may be left; if none, `context` is woken by the next.
    pub fn poll(&mut self, context: &mut Context<'_>, each: impl FnMut(Datagram)) -> bool {
        self.local.poll(context, each)
    }
}

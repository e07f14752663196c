//! What all QUIC endpoints of this program share: its generation, its keys, the way to one another,
//! and the handshakes under way.

use super::cid::{Cid, destination, random};
use super::handshakes::Handshakes;
use super::inbox::{Datagram, Inbox, Parcel};
use super::neighbours::{KEY_BYTES, NeighboursConfig, Remote};
use super::reset;
use super::token::Tokens;
use std::io::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// One endpoint of the program.
struct Place {
    thread: usize,
    address: SocketAddr,
    inbox: Arc<Inbox>,
}

impl Place {
    fn listens(&self, to: SocketAddr) -> bool {
        let any = self.address.ip().is_unspecified();
        self.address.port() == to.port() && (any || self.address.ip() == to.ip())
    }
}

/// Shared by the QUIC endpoints of all threads.
pub struct Host {
    /// Named in connection ids; random at each start.
    pub(super) generation: u16,
    pub(super) handshakes: Arc<Handshakes>,
    tokens: Option<Tokens>,
    reset_key: Mutex<Option<[u8; reset::KEY_BYTES]>>,
    places: Mutex<Vec<Place>>,
    remote: Option<Arc<Remote>>,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            generation: u16::from_be_bytes(random().unwrap_or_default()),
            handshakes: Arc::default(),
            tokens: Tokens::new(),
            reset_key: Mutex::new(random()),
            places: Mutex::default(),
            remote: None,
        }
    }
}

impl Host {
    /// With the way to programs that have a network of their own, where there is one.
    pub fn new(neighbours: Option<NeighboursConfig>) -> Host {
        let mut host = Host::default();
        let generation = host.generation;
        host.remote = neighbours.map(|config| Arc::new(Remote::new(config, generation)));
        host
    }

    /// Takes over by what other programs are known, and where they are met.
    pub fn acquaint(&self, key: [u8; KEY_BYTES], meet: Vec<SocketAddr>) {
        if let Some(remote) = &self.remote {
            remote.acquaint(key, meet);
        }
    }

    /// Takes the port for messages of programs with a network of their own, if there is one.
    pub(crate) fn bind_neighbours(&self) -> Result<(), (SocketAddr, Error)> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        remote.bind().map_err(|error| (remote.listen(), error))
    }

    /// The way to programs with a network of their own.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Replaces the key that reset tokens are derived from, for connections that begin later.
    /// Programs that share it can end each other's connections after a crash.
    pub fn set_reset_key(&self, key: [u8; reset::KEY_BYTES]) {
        *self.lock_reset_key() = Some(key);
    }

    /// The reset token of `cid`.
    pub(super) fn reset_token(&self, cid: &Cid) -> Option<u128> {
        let key = *self.lock_reset_key();
        key.and_then(|key| reset::token(&key, cid))
    }

    /// The key of Retry tokens; `None`: there were no random bytes.
    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Makes the endpoint of `thread` at `address` known to the others.
    pub(super) fn register(&self, thread: usize, address: SocketAddr) -> Arc<Inbox> {
        let inbox = Arc::<Inbox>::default();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // An endpoint that panicked has left its place.
        places.retain(|place| (place.thread, place.address) != (thread, address));
        places.push(Place {
            thread,
            address,
            inbox: inbox.clone(),
        });
        inbox
    }

    /// Gives a datagram to the endpoint of `thread` that listens where it was sent to. False: there
    /// is none, or it is too busy.
    pub(super) fn pass(&self, thread: usize, datagram: Datagram) -> bool {
        let to = datagram.to;
        let is_it = |place: &Place| place.thread == thread && place.listens(to);
        self.put(is_it, Parcel::Received(datagram))
    }

    /// The same for what a program with a network of its own received for this one, at an address
    /// that is none of this program's.
    pub(super) fn receive(&self, datagram: Datagram, threads: usize) -> bool {
        let Some(thread) = self.thread_of(&datagram, threads) else {
            return false;
        };
        self.put(|place| place.thread == thread, Parcel::Received(datagram))
    }

    /// Sends what another program answers to a client that talks to this one.
    pub(super) fn send_from_here(&self, datagram: Datagram) -> bool {
        let from = datagram.from;
        self.put(|place| place.listens(from), Parcel::ToSend(datagram))
    }

    /// The thread for a datagram that another program hands over. What is ours names its thread;
    /// what begins a connection goes to any, but all packets of one to the same.
    pub(super) fn thread_of(&self, datagram: &Datagram, threads: usize) -> Option<usize> {
        let cid = destination(&datagram.contents)?;
        let owner = cid.owner();
        let owner = owner.filter(|owner| owner.generation == self.generation);
        Some(owner.map_or(cid.spread(threads), |owner| usize::from(owner.thread)))
    }

    fn put(&self, is_it: impl Fn(&Place) -> bool, parcel: Parcel) -> bool {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.iter().find(|place| is_it(place));
        let inbox = place.map(|place| place.inbox.clone());
        drop(places);
        inbox.is_some_and(|inbox| inbox.push(parcel))
    }

    fn lock_reset_key(&self) -> std::sync::MutexGuard<'_, Option<[u8; reset::KEY_BYTES]>> {
        self.reset_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_finds_its_thread_and_listener() {
        let host = Host::default();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let datagram = |to: &str| Datagram {
            contents: vec![1],
            from: at("192.0.2.1:9"),
            to: at(to),
        };
        let one = host.register(1, at("127.0.0.1:443"));
        let any = host.register(1, at("[::]:8443"));
        assert!(host.pass(1, datagram("127.0.0.1:443")));
        assert!(host.pass(1, datagram("192.0.2.7:8443")));
        assert!(!host.pass(1, datagram("127.0.0.2:443")));
        assert!(!host.pass(0, datagram("127.0.0.1:443")));
        assert_eq!((one.take().len(), any.take().len()), (1, 1));
        let answer = Datagram {
            from: at("127.0.0.1:443"),
            ..datagram("192.0.2.1:9")
        };
        assert!(host.send_from_here(answer.clone()));
        assert_eq!(one.take(), [Parcel::ToSend(answer)]);
        assert!(!host.send_from_here(datagram("192.0.2.1:9")));
    }
}

//! What all QUIC endpoints of this program share: its generation, its keys, the way to one another,
//! and the handshakes under way.

use super::cid::{Cid, random};
use super::handshakes::Handshakes;
use super::inbox::{Datagram, Inbox};
use super::reset;
use super::token::Tokens;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// One endpoint of the program.
struct Place {
    thread: usize,
    address: SocketAddr,
    inbox: Arc<Inbox>,
}

/// Shared by the QUIC endpoints of all threads.
pub struct Host {
    /// Named in connection ids; random at each start.
    pub(super) generation: u16,
    pub(super) handshakes: Arc<Handshakes>,
    tokens: Option<Tokens>,
    reset_key: Mutex<Option<[u8; reset::KEY_BYTES]>>,
    places: Mutex<Vec<Place>>,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            generation: u16::from_be_bytes(random().unwrap_or_default()),
            handshakes: Arc::default(),
            tokens: Tokens::new(),
            reset_key: Mutex::new(random()),
            places: Mutex::default(),
        }
    }
}

impl Host {
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
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let to = datagram.to;
        let listens = |address: SocketAddr| {
            let any = address.ip().is_unspecified();
            address.port() == to.port() && (any || address.ip() == to.ip())
        };
        let place = places
            .iter()
            .find(|place| place.thread == thread && listens(place.address));
        let inbox = place.map(|place| place.inbox.clone());
        drop(places);
        inbox.is_some_and(|inbox| inbox.push(datagram))
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
    }
}

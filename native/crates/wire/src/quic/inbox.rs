//! Datagrams that reached a thread or a program other than the one that owns their connection.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// Datagrams that wait for one endpoint; beyond it they are lost, as a network may lose them.
const WAITING_MAX: usize = 2048;
/// Largest UDP payload, and so largest datagram here.
const DATAGRAM_BYTES_MAX: usize = 65_527;

/// A datagram with the client's address and the one it was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datagram {
    pub contents: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

impl Datagram {
    /// Appends it to a message for another program: length, both addresses, contents.
    pub fn write(&self, message: &mut Vec<u8>) {
        let length = u16::try_from(self.contents.len()).unwrap_or(0);
        message.extend_from_slice(&length.to_be_bytes());
        for address in [self.from, self.to] {
            write_address(message, address);
        }
        let contents = self.contents.get(..usize::from(length));
        message.extend_from_slice(contents.unwrap_or_default());
    }

    /// Takes the first datagram off a message. `None` at the end, or when it is not one of ours.
    pub fn read(message: &mut &[u8]) -> Option<Datagram> {
        let length = usize::from(u16::from_be_bytes(take(message)?));
        let (from, to) = (take_address(message)?, take_address(message)?);
        let (contents, rest) = message.split_at_checked(length)?;
        *message = rest;
        let contents = contents.to_vec();
        let fits = (1..=DATAGRAM_BYTES_MAX).contains(&length);
        fits.then_some(Datagram { contents, from, to })
    }
}

fn take<const N: usize>(message: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = message.split_first_chunk::<N>()?;
    *message = rest;
    Some(*bytes)
}

/// Appends an address: the version of IP, the address, the port.
pub(super) fn write_address(message: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            message.push(4);
            message.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            message.push(6);
            message.extend_from_slice(&ip.octets());
        }
    }
    message.extend_from_slice(&address.port().to_be_bytes());
}

/// Takes an address off a message.
pub(super) fn take_address(message: &mut &[u8]) -> Option<SocketAddr> {
    let ip = match take::<1>(message)? {
        [4] => IpAddr::from(take::<4>(message)?),
        [6] => IpAddr::from(take::<16>(message)?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(take(message)?)))
}

/// What another thread or program has for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parcel {
    /// A client's datagram.
    Received(Datagram),
    /// An answer of another program, to be sent from this endpoint's socket.
    ToSend(Datagram),
}

/// What waits for one endpoint.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<VecDeque<Parcel>>,
    waker: Mutex<Option<Waker>>,
}

impl Inbox {
    /// Adds a datagram and wakes the endpoint. False: there is no room.
    pub fn push(&self, parcel: Parcel) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            return false;
        }
        waiting.push_back(parcel);
        drop(waiting);
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waker.take() {
            waker.wake();
        }
        true
    }

    /// Whether anything waits; if not, `context` is woken by the next.
    pub fn poll(&self, context: &Context<'_>) -> bool {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        *waker = Some(context.waker().clone());
        drop(waker);
        // Looked at after the waker is there: what comes later wakes.
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        !waiting.is_empty()
    }

    /// Everything that waits.
    pub fn take(&self) -> VecDeque<Parcel> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_survive_the_message_and_nonsense_ends_it() {
        let datagram = |text: &[u8], from: &str| Datagram {
            contents: text.to_vec(),
            from: from.parse().unwrap(),
            to: "127.0.0.1:443".parse().unwrap(),
        };
        let all = [
            datagram(b"one", "192.0.2.1:5"),
            datagram(&[7; 1500], "[2001:db8::1]:6"),
        ];
        let mut message = Vec::new();
        all.iter().for_each(|one| one.write(&mut message));
        let mut rest = &message[..];
        for one in &all {
            assert_eq!(Datagram::read(&mut rest).as_ref(), Some(one));
        }
        assert_eq!(Datagram::read(&mut rest), None);
        for cut in 0..message.len() - 1500 {
            let mut short = message.get(..cut).unwrap();
            while Datagram::read(&mut short).is_some() {}
        }
        assert_eq!(Datagram::read(&mut &[0, 1, 9, 9, 9][..]), None);
    }

    #[test]
    fn an_inbox_is_bounded() {
        let inbox = Inbox::default();
        let parcel = Parcel::Received(Datagram {
            contents: vec![1],
            from: "192.0.2.1:5".parse().unwrap(),
            to: "127.0.0.1:443".parse().unwrap(),
        });
        assert!((0..WAITING_MAX).all(|_| inbox.push(parcel.clone())));
        assert!(!inbox.push(parcel));
        assert_eq!(inbox.take().len(), WAITING_MAX);
        assert!(inbox.take().is_empty());
    }
}

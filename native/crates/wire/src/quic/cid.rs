//! Connection ids: ours are 16 bytes. Behind a balancer that routes by them they have the form of
//! draft-ietf-quic-load-balancers §5 without encryption: an octet whose three high bits are the
//! configuration (0) and whose others are random, the server id of 8 bytes, and 7 bytes of nonce.
//! Without a balancer the first nine are random. The nonce begins with the wire thread's index and
//! two bytes for the generation of the program, so that a packet finds the thread and the program
//! that own its connection. These are the same for many clients, so they tell an observer little
//! that the server's address does not (RFC 9000 §5.1); four bytes more are random.
//!
//! AWS' Network Load Balancer takes ids of exactly 16 bytes with a server id of 8.

use quiche::ConnectionId;

/// Length of the ids we choose.
pub(super) const CID_BYTES: usize = 16;
/// Where the nonce begins.
const NONCE_AT: usize = 1 + SERVER_ID_BYTES;
/// Length of a server id.
const SERVER_ID_BYTES: usize = 8;
/// Of the first octet: all but the number of the balancer's configuration, which is 0.
const FIRST_RANDOM_BITS: u8 = 0x1f;

/// By what a balancer finds this program (`quic.serverId`).
pub(super) type ServerId = [u8; SERVER_ID_BYTES];

/// The wire thread that issued an id, and the generation of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub thread: u8,
    pub generation: u16,
}

/// A connection id as a map key, without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cid {
    length: u8,
    bytes: [u8; quiche::MAX_CONN_ID_LEN],
}

impl Cid {
    /// `None` when longer than QUIC v1 allows.
    pub fn new(id: &[u8]) -> Option<Cid> {
        let mut bytes = [0; quiche::MAX_CONN_ID_LEN];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Cid {
            length: u8::try_from(id.len()).ok()?,
            bytes,
        })
    }

    /// A fresh id that names `owner`, and the server to balancers.
    pub fn random(owner: Owner, server: Option<&ServerId>) -> Option<Cid> {
        let mut bytes: [u8; CID_BYTES] = random()?;
        let (routed, nonce) = bytes.split_at_mut(NONCE_AT);
        if let (Some(server), [first, id @ ..]) = (server, routed) {
            *first &= FIRST_RANDOM_BITS;
            id.copy_from_slice(server);
        }
        let [high, low] = owner.generation.to_be_bytes();
        nonce
            .get_mut(..3)?
            .copy_from_slice(&[owner.thread, high, low]);
        Cid::new(&bytes)
    }

    /// Whom the id names, if it is one of ours (or looks like it).
    pub fn owner(&self) -> Option<Owner> {
        match self.as_slice().get(NONCE_AT..)? {
            [thread, high, low, rest @ ..] if rest.len() == CID_BYTES - NONCE_AT - 3 => {
                Some(Owner {
                    thread: *thread,
                    generation: u16::from_be_bytes([*high, *low]),
                })
            }
            _ => None,
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// One of so many, always the same for one id.
    pub fn spread(&self, count: usize) -> usize {
        let sum: usize = self.as_slice().iter().map(|byte| usize::from(*byte)).sum();
        sum % count.max(1)
    }

    /// The same for quiche.
    pub fn id(&self) -> ConnectionId<'_> {
        ConnectionId::from_ref(self.as_slice())
    }
}

/// Random bytes from BoringSSL.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    boring::rand::rand_bytes(&mut bytes).ok()?;
    Some(bytes)
}

/// The destination of a packet, read without an allocation (RFC 8999 §5).
pub(super) fn destination(packet: &[u8]) -> Option<Cid> {
    if is_long(packet) {
        let length = usize::from(*packet.get(5)?);
        Cid::new(packet.get(6..6 + length)?)
    } else {
        Cid::new(packet.get(1..1 + CID_BYTES)?)
    }
}

/// Whether the packet has a long header.
pub(super) fn is_long(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first & 0x80 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_thread_and_generation() {
        let owner = Owner {
            thread: 3,
            generation: 0xbeef,
        };
        let cid = Cid::random(owner, None).unwrap();
        assert_eq!(cid.as_slice().get(9..12), Some(&[3, 0xbe, 0xef][..]));
        assert_eq!(cid.owner(), Some(owner));
        assert_ne!(Cid::random(owner, None), Some(cid));
        assert_eq!(Cid::new(&[1; 8]).unwrap().owner(), None);
        assert_eq!(Cid::new(&[1; 20]).unwrap().owner(), None);
    }

    #[test]
    fn an_id_names_its_server_to_balancers_and_still_its_owner() {
        let owner = Owner {
            thread: 200,
            generation: 7,
        };
        let server = [0x2c, 0xf0, 0x60, 0x77, 0x71, 0x8e, 0x08, 0xca];
        let firsts: Vec<u8> = (0..64)
            .map(|_| {
                let cid = Cid::random(owner, Some(&server)).unwrap();
                assert_eq!(cid.as_slice().len(), 16);
                assert_eq!(cid.as_slice().get(1..9), Some(&server[..]));
                assert_eq!(cid.owner(), Some(owner));
                cid.as_slice()[0]
            })
            .collect();
        assert!(
            firsts.iter().all(|first| first >> 5 == 0),
            "configuration 0"
        );
        assert!(firsts.iter().any(|first| *first != firsts[0]));
    }
}

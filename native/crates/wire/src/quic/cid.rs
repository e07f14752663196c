//! Connection ids: ours are 16 bytes, the wire thread's index, two bytes for the generation of the
//! program, and 13 random ones, so that a packet finds the thread and the program that own its
//! connection. The first three are the same for many clients, so they tell an observer little that
//! the server's address does not (RFC 9000 §5.1).

use quiche::ConnectionId;

/// Length of the ids we choose.
pub(super) const CID_BYTES: usize = 16;

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

    /// A fresh id that names `owner`.
    pub fn random(owner: Owner) -> Option<Cid> {
        let random: [u8; CID_BYTES - 3] = random()?;
        let [high, low] = owner.generation.to_be_bytes();
        Cid::new(&[&[owner.thread, high, low], &random[..]].concat())
    }

    /// Whom the id names, if it is one of ours (or looks like it).
    pub fn owner(&self) -> Option<Owner> {
        match self.as_slice() {
            [thread, high, low, rest @ ..] if rest.len() == CID_BYTES - 3 => Some(Owner {
                thread: *thread,
                generation: u16::from_be_bytes([*high, *low]),
            }),
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_thread_and_generation() {
        let owner = Owner {
            thread: 3,
            generation: 0xbeef,
        };
        let cid = Cid::random(owner).unwrap();
        assert_eq!(cid.as_slice().get(..3), Some(&[3, 0xbe, 0xef][..]));
        assert_eq!(cid.owner(), Some(owner));
        assert_ne!(Cid::random(owner), Some(cid));
        assert_eq!(Cid::new(&[1; 8]).unwrap().owner(), None);
    }
}

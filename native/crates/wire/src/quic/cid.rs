//! Connection ids: ours are 16 random bytes whose first is the wire thread's index, so that packets
//! can be routed to the thread that owns the connection.

use quiche::ConnectionId;

/// Length of the ids we choose.
pub(super) const CID_BYTES: usize = 16;

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

    /// A fresh id of wire thread `thread`.
    pub fn random(thread: usize) -> Option<Cid> {
        let mut id: [u8; CID_BYTES] = random()?;
        if let Some(first) = id.first_mut() {
            *first = (thread & 0xff) as u8;
        }
        Cid::new(&id)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
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

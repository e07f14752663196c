//! Who the peers of a device are and which addresses are theirs, as it is at one moment.
//!
//! A packet never waits for a change: a change is made to a copy, which takes the place of the
//! table by a pointer, and a packet path that meets the moment of the exchange goes on with the
//! table that it has. Copies share all that is alike (trie.rs).

use crate::envelope::Id;
use crate::keys::OwnKeys;
use crate::peer::Peer;
use crate::trie::Trie;
use gotatun::x25519::PublicKey;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bits of a public key.
const KEY_BITS: u16 = 256;
/// Bits of it that name a peer in messages beside WireGuard's.
const ID_BITS: u16 = 64;
/// So long the one who changed much waits for the packet paths to let go of the old table, since
/// who lets go last frees its nodes. A path that sleeps does it at its next packet.
const LET_GO_STEP: Duration = Duration::from_millis(1);
const LET_GO_STEPS_MAX: u32 = 5;
/// The nodes of fewer changes are freed in some microseconds, whoever does it.
const LET_GO_CHANGES_MIN: usize = 100;

#[derive(Clone)]
pub struct Table {
    pub keys: OwnKeys,
    by_key: Trie<32, Arc<Peer>>,
    v4: Trie<4, Arc<Peer>>,
    v6: Trie<16, Arc<Peer>>,
}

impl Table {
    pub fn new(keys: OwnKeys) -> Self {
        Self {
            keys,
            by_key: Trie::default(),
            v4: Trie::default(),
            v6: Trie::default(),
        }
    }

    pub fn peer(&self, key: &PublicKey) -> Option<&Arc<Peer>> {
        self.by_key.get(key.as_bytes(), KEY_BITS)
    }

    /// The peer of a key that begins with these bytes.
    pub fn named(&self, id: Id) -> Option<&Arc<Peer>> {
        let mut bits = [0; 32];
        for (to, from) in bits.iter_mut().zip(id) {
            *to = from;
        }
        self.by_key.under(&bits, ID_BITS)
    }

    pub fn name(&mut self, key: &PublicKey, peer: &Arc<Peer>) {
        self.by_key
            .insert(key.as_bytes(), KEY_BITS, Arc::clone(peer));
    }

    pub fn forget(&mut self, key: &PublicKey) {
        self.by_key.remove(key.as_bytes(), KEY_BITS, |_| true);
    }

    /// Whose an address is: the peer of the longest prefix.
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        match address {
            IpAddr::V4(v4) => self.v4.longest(&v4.octets()),
            IpAddr::V6(v6) => self.v6.longest(&v6.octets()),
        }
    }

    /// A prefix goes to a peer, whoever had it.
    pub fn allow(&mut self, network: &IpNetwork, peer: &Arc<Peer>) {
        let (length, peer) = (u16::from(network.prefix()), Arc::clone(peer));
        match network.network() {
            IpAddr::V4(v4) => self.v4.insert(&v4.octets(), length, peer),
            IpAddr::V6(v6) => self.v6.insert(&v6.octets(), length, peer),
        };
    }

    /// Takes a prefix from a peer; not from another one that has it by now.
    pub fn disallow(&mut self, network: &IpNetwork, peer: &Arc<Peer>) {
        let length = u16::from(network.prefix());
        let is_meant = |owner: &Arc<Peer>| Arc::ptr_eq(owner, peer);
        match network.network() {
            IpAddr::V4(v4) => self.v4.remove(&v4.octets(), length, is_meant),
            IpAddr::V6(v6) => self.v6.remove(&v6.octets(), length, is_meant),
        }
    }

    /// Calls `each` with every peer, once for each of its keys.
    pub fn for_each<'a>(&'a self, each: impl FnMut(&'a [u8; 32], &'a Arc<Peer>)) {
        self.by_key.for_each(each);
    }
}

/// The table that is in force.
pub struct Current {
    version: AtomicU64,
    table: Mutex<Arc<Table>>,
}

impl Current {
    pub fn new(table: Table) -> Self {
        Self {
            version: AtomicU64::new(0),
            table: Mutex::new(Arc::new(table)),
        }
    }

    pub fn get(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock())
    }

    /// Puts another one in force, which has so many changes.
    pub fn set(&self, table: Table, changes: usize) {
        let old = std::mem::replace(&mut *self.table.lock(), Arc::new(table));
        self.version.fetch_add(1, Ordering::Release);
        if changes < LET_GO_CHANGES_MIN {
            return;
        }
        for _ in 0..LET_GO_STEPS_MAX {
            if Arc::strong_count(&old) == 1 {
                break;
            }
            std::thread::sleep(LET_GO_STEP);
        }
    }
}

/// The table as a packet path knows it.
pub struct Reader {
    version: u64,
    table: Arc<Table>,
}

impl Reader {
    pub fn new(current: &Current) -> Self {
        let version = current.version.load(Ordering::Acquire);
        let table = current.get();
        Self { version, table }
    }

    /// The newest one that can be had without waiting.
    pub fn table(&mut self, current: &Current) -> &Arc<Table> {
        let version = current.version.load(Ordering::Acquire);
        if version != self.version
            && let Some(table) = current.table.try_lock()
        {
            self.table = Arc::clone(&table);
            self.version = version;
        }
        &self.table
    }
}

//! Who the peers of a device are and which addresses are theirs, as it is at one moment.
//!
//! A packet never waits for a change: a change is made to a copy, which takes the place of the
//! table by a pointer, and a packet path that meets the moment of the exchange goes on with the
//! table that it has. Copies share all that is alike (trie.rs, by_key.rs).

use crate::by_key::ByKey;
use crate::envelope::Id;
use crate::keys::OwnKeys;
use crate::own::Own;
use crate::peer::Peer;
use crate::prefixes::Prefixes;
use crate::trie::Trie;
use gotatun::x25519::PublicKey;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bits of a peer's number.
const NUMBER_BITS: u16 = 32;
/// So long the one who changed much waits for the packet paths to let go of the old table, since
/// who lets go last frees its nodes. A path that sleeps does it at its next packet.
const LET_GO_STEP: Duration = Duration::from_millis(1);
const LET_GO_STEPS_MAX: u32 = 5;
/// The nodes of fewer changes are freed in some microseconds, whoever does it.
const LET_GO_CHANGES_MIN: usize = 100;

#[derive(Clone)]
pub struct Table {
    pub keys: OwnKeys,
    pub own: Arc<Own>,
    /// Whether packets of one peer go on to another one.
    pub forwards: bool,
    by_key: ByKey<Arc<Peer>>,
    by_prefix: Prefixes<Arc<Peer>>,
    /// Prefixes of others from which a peer may send as well, sorted, by its number.
    standby: Trie<4, Arc<[IpNetwork]>>,
}

impl Table {
    pub fn new(keys: OwnKeys) -> Self {
        Self {
            keys,
            own: Arc::default(),
            forwards: false,
            by_key: ByKey::default(),
            by_prefix: Prefixes::default(),
            standby: Trie::default(),
        }
    }

    pub fn peer(&self, key: &PublicKey) -> Option<&Arc<Peer>> {
        self.by_key.get(key.as_bytes())
    }

    /// The peer of a key that begins with these bytes.
    pub fn named(&self, id: Id) -> Option<&Arc<Peer>> {
        self.by_key.under(id)
    }

    pub fn name(&mut self, key: &PublicKey, peer: &Arc<Peer>) {
        self.by_key.insert(key.as_bytes(), Arc::clone(peer));
    }

    pub fn forget(&mut self, key: &PublicKey) {
        self.by_key.remove(key.as_bytes());
    }

    /// Whose an address is: the peer of the longest prefix.
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.by_prefix.longest(address).map(|(_, peer)| peer)
    }

    /// The peer that packets to an address go on to; none when it is this node's or nobody's.
    pub fn next(&self, destination: IpAddr) -> Option<&Arc<Peer>> {
        let (length, peer) = self.by_prefix.longest(destination)?;
        let is_own = self.own.longest(destination) >= Some(length);
        (!is_own).then_some(peer)
    }

    /// Whether a peer may send from an address: the one of the longest prefix around it, and who
    /// stands by for exactly that one. So nobody speaks for a node by standing by for its location.
    pub fn may_send(&self, peer: &Arc<Peer>, source: IpAddr) -> bool {
        let own = self.own.longest(source);
        match self.by_prefix.longest(source) {
            Some((length, owner)) if own <= Some(length) => {
                Arc::ptr_eq(owner, peer) || self.stands_by(peer, source, length)
            }
            _ => own.is_some_and(|length| self.stands_by(peer, source, length)),
        }
    }

    fn stands_by(&self, peer: &Peer, address: IpAddr, length: u16) -> bool {
        let number = peer.number.to_be_bytes();
        let Some(standby) = self.standby.get(&number, NUMBER_BITS) else {
            return false;
        };
        let around = IpNetwork::new(address, length as u8);
        let around = around.and_then(|one| IpNetwork::new(one.network(), one.prefix()));
        around.is_ok_and(|around| standby.binary_search(&around).is_ok())
    }

    /// A peer stands by for these prefixes and no others.
    pub fn let_stand_by(&mut self, peer: &Peer, networks: &[IpNetwork]) {
        let number = peer.number.to_be_bytes();
        if networks.is_empty() {
            self.standby.remove(&number, NUMBER_BITS, |_| true);
            return;
        }
        let mut sorted: Arc<[IpNetwork]> = networks.into();
        if let Some(sorted) = Arc::get_mut(&mut sorted) {
            sorted.sort_unstable();
        }
        self.standby.insert(&number, NUMBER_BITS, sorted);
    }

    /// A prefix goes to a peer, whoever had it.
    pub fn allow(&mut self, network: &IpNetwork, peer: &Arc<Peer>) {
        let owner = self.by_prefix.get(network);
        // Of a long list most have not changed: nothing is copied for those.
        if owner.is_none_or(|owner| !Arc::ptr_eq(owner, peer)) {
            self.by_prefix.insert(network, Arc::clone(peer));
        }
    }

    /// Takes a prefix from a peer; not from another one that has it by now.
    pub fn disallow(&mut self, network: &IpNetwork, peer: &Arc<Peer>) {
        self.by_prefix
            .remove(network, |owner| Arc::ptr_eq(owner, peer));
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

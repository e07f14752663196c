//! The map that all workers share: shards behind their own locks, and limits over all of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use crate::entry::{Applied, Change, Entry, EntryLimits, Facts};
use crate::shard::{Growth, Shard};

const SHARDS: usize = 16;
/// Entries that one write may have to remove: enough to bring a store down to lowered limits soon,
/// and little enough that the write does not wait for it.
const EVICTIONS_PER_WRITE: usize = 64;

/// How much the store may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Collections of all kinds.
    pub entries: usize,
    /// Memory, counted by the texts and a fixed part for each entry and member.
    pub memory_bytes: usize,
    /// One value, and one member's name.
    pub value_bytes: usize,
    /// Members of one collection.
    pub members: usize,
}

/// Who changes what, when.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub key: &'a str,
    pub name: &'a str,
    /// How long a collection lives that this write begins.
    pub timeout_ms: u64,
    pub now_ms: u64,
    /// The transaction's first write to this collection.
    pub first: bool,
}

/// One collection for the file; without a record it is gone.
#[derive(Debug)]
pub struct Saved {
    pub key: String,
    pub record: Option<String>,
    pub updated_ms: u64,
    pub expires_ms: u64,
}

/// What the store holds and what it had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub entries: u64,
    pub bytes: u64,
    pub expired: u64,
    pub evicted: u64,
    pub values_refused: u64,
    pub members_refused: u64,
}

#[derive(Default)]
struct Counters {
    entries: AtomicIsize,
    bytes: AtomicIsize,
    expired: AtomicU64,
    evicted: AtomicU64,
    values_refused: AtomicU64,
    members_refused: AtomicU64,
}

/// The persistent collections of a program.
pub struct Store {
    shards: Vec<Mutex<Shard>>,
    // Keyed anew in each process: a client that chooses keys cannot make them meet in one shard.
    hasher: RandomState,
    limits: RwLock<Limits>,
    sequence: AtomicU64,
    counters: Counters,
}

impl Store {
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits: RwLock::new(limits),
            sequence: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    /// Other limits from now on; what is too much goes with the writes that follow.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// What the collection knows of itself; none when nothing was ever written there.
    pub fn facts(&self, key: &str, now_ms: u64) -> Option<Facts> {
        self.with_live(key, now_ms, |entry| entry.facts())
    }

    /// One member's value. Names are lower-case.
    pub fn read(&self, key: &str, name: &str, now_ms: u64) -> Option<String> {
        self.with_live(key, now_ms, |entry| entry.read(name, now_ms))
            .flatten()
    }

    /// All members with a value, by name.
    pub fn read_all(&self, key: &str, now_ms: u64) -> Vec<(String, String)> {
        self.with_live(key, now_ms, |entry| entry.read_all(now_ms))
            .unwrap_or_default()
    }

    /// Changes one member, in one step: no other worker's change can come between.
    pub fn write(&self, write: Write<'_>, change: Change<'_>) -> Applied {
        let limits = self.limits();
        let applied = self.apply(write, change, limits);
        match applied {
            Applied::ValueTooLong => self.counters.values_refused.fetch_add(1, Relaxed),
            Applied::TooManyMembers => self.counters.members_refused.fetch_add(1, Relaxed),
            Applied::Done | Applied::Nothing => 0,
        };
        if applied == Applied::Done {
            self.make_room(limits, write.now_ms);
        }
        applied
    }

    /// Removes what is over, at most `max` collections; how many it removed.
    pub fn sweep(&self, now_ms: u64, max: usize) -> usize {
        let mut removed = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            while removed < max
                && let Some(growth) = shard.remove_over(now_ms)
            {
                self.grown(growth);
                self.counters.expired.fetch_add(1, Relaxed);
                removed += 1;
            }
        }
        removed
    }

    /// From now on changes are noted for `take_changes`; what is there already counts as changed.
    pub fn keep_changes(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.files = true;
            shard.mark_unfiled();
        }
    }

    /// Collections that changed since they were taken last, at most `max` of them.
    pub fn take_changes(&self, max: usize) -> Vec<Saved> {
        let mut changes = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            for (key, entry) in shard.take_unfiled(max - changes.len()) {
                let facts = entry.map(Entry::facts);
                changes.push(Saved {
                    key: key.to_string(),
                    record: entry.and_then(|entry| serde_json::to_string(entry).ok()),
                    updated_ms: facts.map_or(0, |facts| facts.updated_ms),
                    expires_ms: entry.map_or(0, Entry::expires_ms),
                });
            }
            if changes.len() >= max {
                break;
            }
        }
        changes
    }

    /// Puts a collection back as a file had it; false when the record is none or is over.
    pub fn load(&self, key: &str, record: &str, now_ms: u64) -> bool {
        let Ok(entry) = serde_json::from_str::<Entry>(record) else {
            return false;
        };
        if entry.expires_ms() <= now_ms {
            return false;
        }
        let mut shard = lock(self.shard(key));
        let growth = shard.place(key, entry, self.next());
        shard.mark_filed(key);
        drop(shard);
        self.grown(growth);
        self.make_room(self.limits(), now_ms);
        true
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            entries: unsigned(&counters.entries),
            bytes: unsigned(&counters.bytes),
            expired: counters.expired.load(Relaxed),
            evicted: counters.evicted.load(Relaxed),
            values_refused: counters.values_refused.load(Relaxed),
            members_refused: counters.members_refused.load(Relaxed),
        }
    }

    fn apply(&self, write: Write<'_>, change: Change<'_>, limits: Limits) -> Applied {
        let Write { key, now_ms, .. } = write;
        let limits = EntryLimits {
            value_bytes: limits.value_bytes,
            members: limits.members,
        };
        let mut shard = lock(self.shard(key));
        let (known, growth) = shard.live(key, now_ms);
        let is_new = known.is_none();
        let mut fresh = Entry::new(write.timeout_ms, now_ms);
        let entry = known.unwrap_or(&mut fresh);
        let applied = entry.apply(write.name, change, (now_ms, write.first), limits);
        self.over(growth);
        if applied != Applied::Done {
            return applied;
        }
        let sequence = self.next();
        let growth = if is_new {
            shard.place(key, fresh, sequence)
        } else {
            shard.reorder(key, sequence)
        };
        drop(shard);
        self.grown(growth);
        applied
    }

    fn with_live<T>(&self, key: &str, now_ms: u64, run: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut shard = lock(self.shard(key));
        let (entry, growth) = shard.live(key, now_ms);
        let result = entry.map(run);
        drop(shard);
        self.over(growth);
        result
    }

    /// Over a limit: what is over goes first, then what was updated longest ago.
    fn make_room(&self, limits: Limits, now_ms: u64) {
        for _ in 0..EVICTIONS_PER_WRITE {
            let Stats { entries, bytes, .. } = self.stats();
            let entries_max = u64::try_from(limits.entries).unwrap_or(u64::MAX);
            let bytes_max = u64::try_from(limits.memory_bytes).unwrap_or(u64::MAX);
            if (entries <= entries_max && bytes <= bytes_max) || !self.evict(now_ms) {
                return;
            }
        }
    }

    fn evict(&self, now_ms: u64) -> bool {
        let mut oldest: Option<(u64, &Mutex<Shard>)> = None;
        for place in &self.shards {
            let mut shard = lock(place);
            if let Some(growth) = shard.remove_over(now_ms) {
                drop(shard);
                self.over(growth);
                return true;
            }
            if let Some(sequence) = shard.oldest()
                && oldest.is_none_or(|(least, _)| sequence < least)
            {
                oldest = Some((sequence, place));
            }
        }
        let Some(growth) = oldest.and_then(|(_, place)| lock(place).remove_oldest()) else {
            return false;
        };
        self.grown(growth);
        self.counters.evicted.fetch_add(1, Relaxed);
        true
    }

    /// Counts what a lazy removal took away.
    fn over(&self, growth: Growth) {
        if growth.entries < 0 {
            self.counters.expired.fetch_add(1, Relaxed);
            self.grown(growth);
        }
    }

    fn grown(&self, growth: Growth) {
        self.counters.entries.fetch_add(growth.entries, Relaxed);
        self.counters.bytes.fetch_add(growth.bytes, Relaxed);
    }

    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Relaxed)
    }

    #[allow(clippy::indexing_slicing)] // a remainder of the length
    fn shard(&self, key: &str) -> &Mutex<Shard> {
        let shards = self.shards.len() as u64;
        let index = self.hasher.hash_one(key) % shards;
        &self.shards[usize::try_from(index).unwrap_or(0)]
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic leaves at worst one entry half ordered; the rest of the map stays right.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unsigned(counter: &AtomicIsize) -> u64 {
    u64::try_from(counter.load(Relaxed)).unwrap_or(0)
}

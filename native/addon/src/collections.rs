//! The persistent collections' part of the addon: conversions only. Times are milliseconds since
//! the epoch, which JavaScript's numbers hold exactly.

use std::sync::{Arc, LazyLock};

use edge_collections::{Applied, Change, Limits, Store, Write};
use napi_derive::napi;

/// Before the program says what it may hold: what tests and tools without a configuration get.
const DEFAULT_LIMITS: Limits = Limits {
    entries: 100_000,
    memory_bytes: 32 << 20,
    value_bytes: 4096,
    members: 64,
};

/// The program's own, found by every worker.
static SHARED: LazyLock<Arc<Store>> = LazyLock::new(|| Arc::new(Store::new(DEFAULT_LIMITS)));

/// How much a store may hold.
#[napi(object)]
pub struct CollectionLimits {
    pub entries_max: u32,
    pub memory_bytes_max: f64,
    pub value_bytes_max: u32,
    pub members_max: u32,
}

/// What a store holds and what it had to do.
#[napi(object)]
pub struct CollectionStats {
    pub entries: f64,
    pub bytes: f64,
    pub expired: f64,
    pub evicted: f64,
    pub values_refused: f64,
    pub members_refused: f64,
}

/// What a collection knows of itself.
#[napi(object)]
pub struct CollectionFacts {
    pub created_ms: f64,
    pub updated_ms: f64,
    pub timeout_ms: f64,
    pub updates: f64,
}

/// One collection for the file; without a record it is gone.
#[napi(object)]
pub struct CollectionRecord {
    pub key: String,
    pub record: Option<String>,
    pub updated_ms: f64,
    pub expires_ms: f64,
}

/// Who changes what, when.
#[napi(object)]
pub struct CollectionWrite {
    pub key: String,
    pub name: String,
    pub timeout_ms: f64,
    pub now_ms: f64,
    pub first: bool,
}

/// A store of persistent collections.
#[napi]
pub struct CollectionStore {
    inner: Arc<Store>,
}

#[napi]
impl CollectionStore {
    #[napi(constructor)]
    pub fn new(shared: bool) -> Self {
        let inner = if shared {
            Arc::clone(&SHARED)
        } else {
            Arc::new(Store::new(DEFAULT_LIMITS))
        };
        Self { inner }
    }

    #[napi]
    pub fn set_limits(&self, limits: CollectionLimits) {
        self.inner.set_limits(Limits {
            entries: limits.entries_max as usize,
            memory_bytes: unsigned(limits.memory_bytes_max) as usize,
            value_bytes: limits.value_bytes_max as usize,
            members: limits.members_max as usize,
        });
    }

    #[napi]
    pub fn facts(&self, key: String, now_ms: f64) -> Option<CollectionFacts> {
        let facts = self.inner.facts(&key, unsigned(now_ms))?;
        Some(CollectionFacts {
            created_ms: facts.created_ms as f64,
            updated_ms: facts.updated_ms as f64,
            timeout_ms: facts.timeout_ms as f64,
            updates: facts.updates as f64,
        })
    }

    #[napi]
    pub fn read(&self, key: String, name: String, now_ms: f64) -> Option<String> {
        self.inner.read(&key, &name, unsigned(now_ms))
    }

    #[napi]
    pub fn read_all(&self, key: String, now_ms: f64) -> Vec<String> {
        let members = self.inner.read_all(&key, unsigned(now_ms));
        members
            .into_iter()
            .flat_map(|(name, value)| [name, value])
            .collect()
    }

    #[napi]
    pub fn set(&self, write: CollectionWrite, value: String) -> bool {
        self.write(&write, Change::Set(&value))
    }

    #[napi]
    pub fn add(&self, write: CollectionWrite, amount: f64) -> bool {
        self.write(&write, Change::Add(amount as i64))
    }

    #[napi]
    pub fn remove(&self, write: CollectionWrite) -> bool {
        self.write(&write, Change::Remove)
    }

    #[napi]
    pub fn expire(&self, write: CollectionWrite, end_ms: f64) -> bool {
        self.write(&write, Change::Expire(unsigned(end_ms)))
    }

    #[napi]
    pub fn decay(
        &self,
        write: CollectionWrite,
        amount: f64,
        interval_ms: f64,
        seen_ms: f64,
    ) -> bool {
        let change = Change::Decay {
            amount: amount as i64,
            interval_ms: unsigned(interval_ms),
            seen_ms: unsigned(seen_ms),
        };
        self.write(&write, change)
    }

    #[napi]
    pub fn sweep(&self, now_ms: f64, max: u32) -> u32 {
        let removed = self.inner.sweep(unsigned(now_ms), max as usize);
        u32::try_from(removed).unwrap_or(u32::MAX)
    }

    #[napi]
    pub fn keep_changes(&self) {
        self.inner.keep_changes();
    }

    #[napi]
    pub fn take_changes(&self, max: u32) -> Vec<CollectionRecord> {
        let changes = self.inner.take_changes(max as usize).into_iter();
        changes
            .map(|saved| CollectionRecord {
                key: saved.key,
                record: saved.record,
                updated_ms: saved.updated_ms as f64,
                expires_ms: saved.expires_ms as f64,
            })
            .collect()
    }

    #[napi]
    pub fn load(&self, key: String, record: String, now_ms: f64) -> bool {
        self.inner.load(&key, &record, unsigned(now_ms))
    }

    #[napi]
    pub fn stats(&self) -> CollectionStats {
        let stats = self.inner.stats();
        CollectionStats {
            entries: stats.entries as f64,
            bytes: stats.bytes as f64,
            expired: stats.expired as f64,
            evicted: stats.evicted as f64,
            values_refused: stats.values_refused as f64,
            members_refused: stats.members_refused as f64,
        }
    }

    fn write(&self, write: &CollectionWrite, change: Change<'_>) -> bool {
        let write = Write {
            key: &write.key,
            name: &write.name,
            timeout_ms: unsigned(write.timeout_ms),
            now_ms: unsigned(write.now_ms),
            first: write.first,
        };
        self.inner.write(write, change) == Applied::Done
    }
}

/// A cast saturates, and what is no number is 0.
fn unsigned(number: f64) -> u64 {
    number as u64
}

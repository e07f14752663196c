//! A part of the map behind one lock, with its entries in two orders: by their end and by their
//! last update.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::entry::Entry;

/// An entry at its place.
pub struct Placed {
    pub entry: Entry,
    bytes: usize,
    expires_ms: u64,
    /// Counts updates of the whole store: the smallest is the least recently updated.
    sequence: u64,
    /// Whether the file may hold it, so that its end must be written there.
    filed: bool,
}

/// How much the shard grew or shrank.
#[derive(Clone, Copy, Default)]
pub struct Growth {
    pub entries: isize,
    pub bytes: isize,
}

#[derive(Default)]
pub struct Shard {
    entries: HashMap<Arc<str>, Placed>,
    by_end: BTreeMap<(u64, u64), Arc<str>>,
    by_update: BTreeMap<u64, Arc<str>>,
    /// Keys whose state the file does not have yet; kept only while there is a file.
    unfiled: HashSet<Arc<str>>,
    pub files: bool,
}

impl Shard {
    /// The entry as it lives now; one that is over is removed.
    pub fn live(&mut self, key: &str, now_ms: u64) -> (Option<&mut Entry>, Growth) {
        let over = self
            .entries
            .get(key)
            .is_some_and(|placed| placed.expires_ms <= now_ms);
        if over {
            return (None, self.remove(key));
        }
        let entry = self.entries.get_mut(key).map(|placed| &mut placed.entry);
        (entry, Growth::default())
    }

    /// Puts a new entry there.
    pub fn place(&mut self, key: &str, entry: Entry, sequence: u64) -> Growth {
        let before = self.remove(key);
        let key: Arc<str> = Arc::from(key);
        let placed = Placed {
            bytes: entry.bytes(&key),
            expires_ms: entry.expires_ms(),
            sequence,
            // What was here before is written over, and its row with it.
            filed: self.unfiled.contains(&key),
            entry,
        };
        let growth = Growth {
            entries: before.entries + 1,
            bytes: before.bytes + signed(placed.bytes),
        };
        self.order(&key, &placed);
        self.entries.insert(key, placed);
        growth
    }

    /// An entry was changed where it is: its places in both orders follow.
    pub fn reorder(&mut self, key: &str, sequence: u64) -> Growth {
        let Some((key, mut placed)) = self.entries.remove_entry(key) else {
            return Growth::default();
        };
        self.unorder(&placed);
        let before = placed.bytes;
        placed.bytes = placed.entry.bytes(&key);
        placed.expires_ms = placed.entry.expires_ms();
        placed.sequence = sequence;
        let bytes = signed(placed.bytes) - signed(before);
        self.order(&key, &placed);
        self.entries.insert(key, placed);
        Growth { entries: 0, bytes }
    }

    /// Removes an entry, if it is there.
    pub fn remove(&mut self, key: &str) -> Growth {
        let Some((key, old)) = self.entries.remove_entry(key) else {
            return Growth::default();
        };
        self.unorder(&old);
        if self.files && old.filed {
            self.unfiled.insert(key);
        } else {
            // The file never heard of it.
            self.unfiled.remove(&key);
        }
        Growth {
            entries: -1,
            bytes: -signed(old.bytes),
        }
    }

    /// Removes the first entry that is over.
    pub fn remove_over(&mut self, now_ms: u64) -> Option<Growth> {
        let (&(expires_ms, _), key) = self.by_end.first_key_value()?;
        if expires_ms > now_ms {
            return None;
        }
        let key = key.clone();
        Some(self.remove(&key))
    }

    /// The sequence of the least recently updated entry.
    pub fn oldest(&self) -> Option<u64> {
        self.by_update
            .first_key_value()
            .map(|(sequence, _)| *sequence)
    }

    /// Removes the least recently updated entry.
    pub fn remove_oldest(&mut self) -> Option<Growth> {
        let key = self.by_update.first_key_value()?.1.clone();
        Some(self.remove(&key))
    }

    /// Keys whose state the file does not have, with that state; at most `max` of them.
    pub fn take_unfiled(&mut self, max: usize) -> Vec<(Arc<str>, Option<&Entry>)> {
        let keys: Vec<Arc<str>> = self.unfiled.iter().take(max).cloned().collect();
        for key in &keys {
            self.unfiled.remove(key);
            if let Some(placed) = self.entries.get_mut(key) {
                placed.filed = true;
            }
        }
        let entries = &self.entries;
        let state = |key: &Arc<str>| entries.get(key).map(|placed| &placed.entry);
        keys.iter().map(|key| (key.clone(), state(key))).collect()
    }

    /// Says that the file has this entry as it is.
    pub fn mark_filed(&mut self, key: &str) {
        self.unfiled.remove(key);
        if let Some(placed) = self.entries.get_mut(key) {
            placed.filed = true;
        }
    }

    /// Says that the file has none of the entries.
    pub fn mark_unfiled(&mut self) {
        self.unfiled.extend(self.entries.keys().cloned());
    }

    fn order(&mut self, key: &Arc<str>, placed: &Placed) {
        let Placed {
            expires_ms,
            sequence,
            ..
        } = *placed;
        self.by_end.insert((expires_ms, sequence), key.clone());
        self.by_update.insert(sequence, key.clone());
        if self.files {
            self.unfiled.insert(key.clone());
        }
    }

    fn unorder(&mut self, old: &Placed) {
        self.by_end.remove(&(old.expires_ms, old.sequence));
        self.by_update.remove(&old.sequence);
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

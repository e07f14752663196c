//! Values by public keys, in a table of which a copy costs a pointer.
//!
//! Keys look like chance, so their first byte shares them out: a change copies one share of 256,
//! and only once as long as nobody else has the copy. A trie would take four times the memory.

use crate::envelope::Id;
use std::sync::Arc;

const SHARES: usize = 256;

type Key = [u8; 32];
/// In the order of the keys.
type Share<V> = Vec<(Key, V)>;

#[derive(Clone)]
pub struct ByKey<V> {
    shares: Arc<[Arc<Share<V>>; SHARES]>,
}

impl<V> Default for ByKey<V> {
    fn default() -> Self {
        Self {
            shares: Arc::new(std::array::from_fn(|_| Arc::default())),
        }
    }
}

impl<V: Clone> ByKey<V> {
    pub fn get(&self, key: &Key) -> Option<&V> {
        let share = self.share(key[0])?;
        let at = place(share, key).ok()?;
        share.get(at).map(|(_, value)| value)
    }

    /// The value of the first key that begins with these bytes.
    pub fn under(&self, id: Id) -> Option<&V> {
        let share = self.share(id[0])?;
        let at = share.partition_point(|(key, _)| key.as_slice() < id.as_slice());
        let (key, value) = share.get(at)?;
        key.starts_with(&id).then_some(value)
    }

    pub fn insert(&mut self, key: &Key, value: V) {
        let Some(share) = self.share_mut(key[0]) else {
            return;
        };
        match place(share, key) {
            Ok(at) => {
                if let Some(known) = share.get_mut(at) {
                    known.1 = value;
                }
            }
            Err(at) => {
                share.reserve_exact(1);
                share.insert(at, (*key, value));
            }
        }
    }

    pub fn remove(&mut self, key: &Key) {
        // Nothing is copied for what is not there.
        if self.get(key).is_none() {
            return;
        }
        if let Some(share) = self.share_mut(key[0]) {
            share.retain(|(known, _)| known != key);
            share.shrink_to_fit();
        }
    }

    /// Calls `each` with every key and its value.
    pub fn for_each<'a>(&'a self, mut each: impl FnMut(&'a Key, &'a V)) {
        let all = self.shares.iter().flat_map(|share| share.iter());
        all.for_each(|(key, value)| each(key, value));
    }

    fn share(&self, first: u8) -> Option<&Share<V>> {
        self.shares.get(usize::from(first)).map(Arc::as_ref)
    }

    fn share_mut(&mut self, first: u8) -> Option<&mut Share<V>> {
        let shares = Arc::make_mut(&mut self.shares);
        shares.get_mut(usize::from(first)).map(Arc::make_mut)
    }
}

/// Where a key is in its share, or belongs.
fn place<V>(share: &Share<V>, key: &Key) -> Result<usize, usize> {
    share.binary_search_by(|(known, _)| known.cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8, last: u8) -> Key {
        let mut key = [first; 32];
        key[31] = last;
        key
    }

    #[test]
    fn each_key_has_its_value_and_a_copy_stays_as_it_was() {
        let mut table = ByKey::default();
        for first in [0, 7, 255] {
            for last in [9, 3, 6] {
                table.insert(&key(first, last), (first, last));
            }
        }
        let copy = table.clone();
        table.insert(&key(7, 3), (0, 0));
        table.insert(&key(7, 4), (7, 4));
        table.remove(&key(7, 9));
        table.remove(&key(8, 9));
        assert_eq!(table.get(&key(7, 3)), Some(&(0, 0)));
        assert_eq!(table.get(&key(7, 4)), Some(&(7, 4)));
        assert_eq!(table.get(&key(7, 9)), None);
        assert_eq!(copy.get(&key(7, 3)), Some(&(7, 3)));
        assert_eq!(copy.get(&key(7, 4)), None);
        let mut all = Vec::new();
        copy.for_each(|key, value| all.push((key[0], key[31]) == *value));
        assert_eq!(all, [true; 9]);
    }

    #[test]
    fn a_value_is_found_by_the_first_bytes_of_its_key() {
        let mut table = ByKey::default();
        table.insert(&key(7, 1), 1);
        table.insert(&key(9, 1), 2);
        assert_eq!(table.under([7; 8]), Some(&1));
        assert_eq!(table.under([9; 8]), Some(&2));
        assert_eq!(table.under([8; 8]), None);
        assert_eq!(table.under([7, 7, 7, 7, 7, 7, 7, 8]), None);
    }
}

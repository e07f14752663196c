//! Bit strings and what belongs to them: a binary trie with joined paths.
//!
//! A copy shares every node with its original until one of the two changes, and a change copies the
//! nodes on its way only, once. So a table of ten thousand peers is taken as it is at one moment
//! for the price of a pointer, and a delta of many peers pays for each node at most one copy.

use std::sync::Arc;

/// Values by prefixes of strings of `N` bytes.
#[derive(Clone)]
pub struct Trie<const N: usize, V> {
    root: Link<N, V>,
}

type Link<const N: usize, V> = Option<Arc<Node<N, V>>>;

#[derive(Clone)]
struct Node<const N: usize, V> {
    bits: [u8; N],
    length: u16,
    value: Option<V>,
    /// Longer ones that go on with a zero, or with a one.
    zero: Link<N, V>,
    one: Link<N, V>,
}

impl<const N: usize, V> Default for Trie<N, V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<const N: usize, V: Clone> Trie<N, V> {
    /// The length of the longest prefix of `bits`, and its value.
    pub fn longest(&self, bits: &[u8; N]) -> Option<(u16, &V)> {
        let mut best = None;
        let mut link = &self.root;
        while let Some(node) = link {
            if shared(&node.bits, bits) < node.length {
                break;
            }
            if let Some(value) = &node.value {
                best = Some((node.length, value));
            }
            link = node.towards(bits);
        }
        best
    }

    /// The value of exactly this prefix.
    pub fn get(&self, bits: &[u8; N], length: u16) -> Option<&V> {
        let mut link = &self.root;
        while let Some(node) = link {
            if node.length > length || shared(&node.bits, bits) < node.length {
                return None;
            }
            if node.length == length {
                return node.value.as_ref();
            }
            link = node.towards(bits);
        }
        None
    }

    /// Sets the value of a prefix; gives the one that it had.
    pub fn insert(&mut self, bits: &[u8; N], length: u16, value: V) -> Option<V> {
        insert(&mut self.root, Node::leaf(bits, length, value))
    }

    /// Takes a prefix out, if its value is the one that is meant.
    pub fn remove(&mut self, bits: &[u8; N], length: u16, is_meant: impl Fn(&V) -> bool) {
        // Nothing is copied for what is not there.
        if self.get(bits, length).is_some_and(is_meant) {
            remove(&mut self.root, bits, length);
        }
    }
}

impl<const N: usize, V> Node<N, V> {
    fn leaf(bits: &[u8; N], length: u16, value: V) -> Self {
        Self {
            bits: *bits,
            length,
            value: Some(value),
            zero: None,
            one: None,
        }
    }

    /// The branch of a string that this node is a prefix of.
    fn towards(&self, bits: &[u8; N]) -> &Link<N, V> {
        if is_set(bits, self.length) {
            &self.one
        } else {
            &self.zero
        }
    }

    fn towards_mut(&mut self, bits: &[u8; N]) -> &mut Link<N, V> {
        if is_set(bits, self.length) {
            &mut self.one
        } else {
            &mut self.zero
        }
    }
}

fn insert<const N: usize, V: Clone>(link: &mut Link<N, V>, leaf: Node<N, V>) -> Option<V> {
    let Some(node) = link.take() else {
        *link = Some(Arc::new(leaf));
        return None;
    };
    let bits = leaf.bits;
    let common = shared(&node.bits, &bits).min(node.length).min(leaf.length);
    if common == node.length {
        let node = Arc::make_mut(link.insert(node));
        if node.length == leaf.length {
            return std::mem::replace(&mut node.value, leaf.value);
        }
        return insert(node.towards_mut(&bits), leaf);
    }
    let mut above = if common == leaf.length {
        leaf
    } else {
        let mut fork = Node {
            bits,
            length: common,
            value: None,
            zero: None,
            one: None,
        };
        *fork.towards_mut(&bits) = Some(Arc::new(leaf));
        fork
    };
    let below = node.bits;
    *above.towards_mut(&below) = Some(node);
    *link = Some(Arc::new(above));
    None
}

fn remove<const N: usize, V: Clone>(link: &mut Link<N, V>, bits: &[u8; N], length: u16) {
    let Some(shared) = link else { return };
    let node = Arc::make_mut(shared);
    if node.length == length {
        node.value = None;
    } else {
        remove(node.towards_mut(bits), bits, length);
    }
    if node.value.is_some() {
        return;
    }
    // A node without a value is there to fork, or not at all.
    match (node.zero.take(), node.one.take()) {
        (Some(zero), Some(one)) => {
            node.zero = Some(zero);
            node.one = Some(one);
        }
        (only, None) | (None, only) => *link = only,
    }
}

/// How many bits two strings have in common from their beginning.
fn shared<const N: usize>(one: &[u8; N], other: &[u8; N]) -> u16 {
    let mut bits = 0;
    for (left, right) in one.iter().zip(other) {
        let differing = left ^ right;
        if differing != 0 {
            return bits + differing.leading_zeros() as u16;
        }
        bits += 8;
    }
    bits
}

/// A bit by its place; what is beyond the end is not set.
fn is_set<const N: usize>(bits: &[u8; N], place: u16) -> bool {
    let byte = bits.get(usize::from(place / 8)).copied().unwrap_or(0);
    byte & (0x80 >> (place % 8)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn masked(bits: u32, length: u16) -> [u8; 4] {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        (bits & mask).to_be_bytes()
    }

    /// Numbers that look like chance and are the same each time (xorshift).
    fn numbers() -> impl FnMut() -> u32 {
        let mut state = 0x2545_f491_u32;
        move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        }
    }

    fn longest_of(model: &HashMap<([u8; 4], u16), u32>, address: u32) -> Option<(u16, u32)> {
        let at = |length| model.get(&(masked(address, length), length));
        (0..=32)
            .rev()
            .find_map(|length| Some((length, *at(length)?)))
    }

    #[test]
    fn it_answers_as_a_plain_search_over_all_prefixes_does() {
        let mut next = numbers();
        let mut trie = Trie::<4, u32>::default();
        let mut model = HashMap::new();
        for round in 0..20_000_u32 {
            // Few distinct bits, so that prefixes meet and cover each other.
            let length = (next() % 33) as u16;
            let bits = masked(next() & 0xc3c0_00f0, length);
            if next().is_multiple_of(3) {
                trie.remove(&bits, length, |_| true);
                model.remove(&(bits, length));
            } else {
                assert_eq!(
                    trie.insert(&bits, length, round),
                    model.insert((bits, length), round)
                );
            }
            let address = next() & 0xc3c0_00f0;
            let found = trie.longest(&address.to_be_bytes());
            let found = found.map(|(length, value)| (length, *value));
            assert_eq!(found, longest_of(&model, address));
        }
        for ((bits, length), value) in &model {
            assert_eq!(trie.get(bits, *length), Some(value));
        }
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut trie = Trie::<16, u8>::default();
        let wide = [0xfd; 16];
        trie.insert(&wide, 8, 1);
        let copy = trie.clone();
        trie.insert(&wide, 128, 2);
        trie.remove(&wide, 8, |_| true);
        assert_eq!(copy.longest(&wide), Some((8, &1)));
        assert_eq!(trie.longest(&wide), Some((128, &2)));
        assert_eq!(trie.get(&wide, 8), None);
    }

    #[test]
    fn only_the_value_that_is_meant_is_taken_out() {
        let mut trie = Trie::<4, u8>::default();
        trie.insert(&[10, 0, 0, 0], 8, 1);
        trie.remove(&[10, 0, 0, 0], 8, |&value| value == 2);
        assert_eq!(trie.longest(&[10, 9, 9, 9]), Some((8, &1)));
        trie.remove(&[10, 0, 0, 0], 8, |&value| value == 1);
        assert_eq!(trie.longest(&[10, 9, 9, 9]), None);
    }
}

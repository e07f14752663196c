//! A hierarchical timing wheel on plain numbers: setting, dropping and firing a deadline cost the
//! same however many there are. Time comes in as ticks.

use slab::Slab;
use std::task::Waker;

const BITS: u32 = 6;
const SLOTS: u64 = 1 << BITS;
const LEVELS: usize = 4;
/// No list, or the end of one.
const NONE: u32 = u32::MAX;

struct Entry {
    due: u64,
    /// Index into `Wheel::heads`; `NONE` once it fired.
    list: u32,
    before: u32,
    after: u32,
    waker: Option<Waker>,
}

/// Deadlines by key. Level 0 has a slot for each tick, every further one for 64 times as many.
pub struct Wheel {
    entries: Slab<Entry>,
    heads: [u32; LEVELS << BITS],
    /// A bit for each slot that holds something.
    occupied: [u64; LEVELS],
    now: u64,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel {
            entries: Slab::new(),
            heads: [NONE; LEVELS << BITS],
            occupied: [0; LEVELS],
            now: 0,
        }
    }
}

impl Wheel {
    /// Sets a deadline at tick `due` (the next tick, if that has passed).
    pub fn insert(&mut self, due: u64) -> u32 {
        let entry = Entry {
            due: due.max(self.now + 1),
            list: NONE,
            before: NONE,
            after: NONE,
            waker: None,
        };
        let key = u32::try_from(self.entries.insert(entry)).unwrap_or(NONE);
        self.link(key);
        key
    }

    /// Forgets a deadline.
    pub fn remove(&mut self, key: u32) {
        self.unlink(key);
        self.entries.try_remove(key as usize);
    }

    /// Whether the deadline fired; if not, `waker` is woken when it does.
    pub fn poll(&mut self, key: u32, waker: &Waker) -> bool {
        let Some(entry) = self.entries.get_mut(key as usize) else {
            return true;
        };
        if entry.list == NONE {
            return true;
        }
        match &mut entry.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// The tick at which `advance` next has something to do.
    pub fn next(&self) -> Option<u64> {
        self.next_slot().map(|(_, tick)| tick)
    }

    /// Fires everything due at tick `to`.
    pub fn advance(&mut self, to: u64) {
        while let Some((list, tick)) = self.next_slot().filter(|(_, tick)| *tick <= to) {
            self.now = self.now.max(tick);
            while let Some(key) = self.first(list) {
                self.unlink(key);
                let Some(entry) = self.entries.get_mut(key as usize) else {
                    continue;
                };
                if entry.due > self.now {
                    self.link(key);
                } else if let Some(waker) = entry.waker.take() {
                    waker.wake();
                }
            }
        }
        self.now = self.now.max(to);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The first slot in time that holds something, and the tick at which it begins.
    fn next_slot(&self) -> Option<(u32, u64)> {
        (0u32..).zip(&self.occupied).find_map(|(level, occupied)| {
            if *occupied == 0 {
                return None;
            }
            let shift = level * BITS;
            let current = self.now >> shift;
            let turned = occupied.rotate_right(u32::try_from(current % SLOTS).unwrap_or(0));
            let slot = current + u64::from(turned.trailing_zeros());
            let index = u32::try_from(slot % SLOTS).unwrap_or(0);
            Some(((level << BITS) + index, slot << shift))
        })
    }

    fn first(&self, list: u32) -> Option<u32> {
        let head = self.heads.get(list as usize).copied();
        head.filter(|head| *head != NONE)
    }

    /// Puts an entry into the slot of its deadline: the level is that of the highest digit (base
    /// 64) in which deadline and now differ.
    fn link(&mut self, key: u32) {
        let Some(due) = self.entries.get(key as usize).map(|entry| entry.due) else {
            return;
        };
        let span = SLOTS.pow(LEVELS as u32) - SLOTS.pow(LEVELS as u32 - 1);
        let placed = due.min(self.now + span);
        let differing = (placed ^ self.now) | (SLOTS - 1);
        let level = ((63 - differing.leading_zeros()) / BITS).min(LEVELS as u32 - 1);
        let slot = (placed >> (level * BITS)) % SLOTS;
        let list = (level << BITS) + u32::try_from(slot).unwrap_or(0);
        let Some(head) = self.heads.get_mut(list as usize) else {
            return;
        };
        let after = std::mem::replace(head, key);
        if let Some(occupied) = self.occupied.get_mut(level as usize) {
            *occupied |= 1 << slot;
        }
        if let Some(follower) = self.entries.get_mut(after as usize) {
            follower.before = key;
        }
        if let Some(entry) = self.entries.get_mut(key as usize) {
            (entry.list, entry.before, entry.after) = (list, NONE, after);
        }
    }

    fn unlink(&mut self, key: u32) {
        let Some(entry) = self.entries.get_mut(key as usize) else {
            return;
        };
        let list = std::mem::replace(&mut entry.list, NONE);
        if list == NONE {
            return;
        }
        let (before, after) = (entry.before, entry.after);
        if let Some(follower) = self.entries.get_mut(after as usize) {
            follower.before = before;
        }
        if let Some(leader) = self.entries.get_mut(before as usize) {
            leader.after = after;
            return;
        }
        if let Some(head) = self.heads.get_mut(list as usize) {
            *head = after;
        }
        let level = self.occupied.get_mut((list >> BITS) as usize);
        if let Some(occupied) = level.filter(|_| after == NONE) {
            *occupied &= !(1 << (u64::from(list) % SLOTS));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn fired(wheel: &mut Wheel, key: u32) -> bool {
        wheel.poll(key, Waker::noop())
    }

    #[test]
    fn each_deadline_fires_at_its_tick_and_not_before() {
        for start in [0, 1, 63, 64, 4095, 1 << 20] {
            for wait in [1, 2, 63, 64, 65, 4000, 4096, 300_000, 20_000_000] {
                let mut wheel = Wheel::default();
                wheel.advance(start);
                let key = wheel.insert(start + wait);
                while let Some(next) = wheel.next().filter(|next| *next < start + wait) {
                    wheel.advance(next);
                    assert!(!fired(&mut wheel, key), "{wait} after {start}: early");
                }
                wheel.advance(start + wait);
                assert!(fired(&mut wheel, key), "{wait} after {start}: late");
                wheel.remove(key);
                assert_eq!((wheel.next(), wheel.len()), (None, 0));
            }
        }
    }

    /// Against a sorted map, with a fixed sequence of pseudo-random steps.
    #[test]
    fn agrees_with_a_sorted_map() {
        let (mut wheel, mut model) = (Wheel::default(), BTreeMap::new());
        let (mut seed, mut now) = (1u64, 0);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = seed >> 33;
            match roll % 4 {
                0 | 1 => {
                    let due = now + 1 + roll / 4 % 10_000;
                    model.insert(wheel.insert(due), due);
                }
                2 => {
                    now += roll / 4 % 500;
                    wheel.advance(now);
                    for (key, due) in &model {
                        assert_eq!(fired(&mut wheel, *key), *due <= now);
                    }
                    model.retain(|key, due| {
                        let keep = *due > now;
                        (!keep).then(|| wheel.remove(*key));
                        keep
                    });
                }
                _ => {
                    if let Some(key) = model.keys().nth(roll as usize / 4 % 7).copied() {
                        model.remove(&key);
                        wheel.remove(key);
                    }
                }
            }
            let earliest = model.values().min().copied();
            assert!(wheel.next().is_none_or(|next| Some(next) <= earliest));
            assert_eq!(wheel.len(), model.len());
        }
    }
}

//! Places for connections: `connectionsMax` in all, `connectionsPerAddressMax` for one client.

use crate::error_code::ErrorCode;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Locks are taken twice in a connection's life and for a map operation only: few shards do.
const SHARDS: usize = 64;
/// Descriptors kept back for endpoints, logs and the runtime: at least, at most.
const RESERVED_DESCRIPTORS: (usize, usize) = (64, 1024);

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is what one customer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    /// The client behind `peer`.
    pub fn of(peer: IpAddr) -> Origin {
        match peer.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let prefix = address.to_bits() >> 64;
                Origin::V6(u64::try_from(prefix).unwrap_or(u64::MAX))
            }
        }
    }
}

/// What [`Places`] holds connections to.
#[derive(Debug, Clone, Copy)]
pub struct PlaceLimits {
    /// Connections of all clients.
    pub connections_max: usize,
    /// Connections of one client.
    pub per_origin_max: usize,
    /// Share of the places from which there is pressure.
    pub pressure_percent: u32,
}

/// The open connections of all threads, in all and by client.
pub struct Places {
    open: AtomicUsize,
    max: AtomicUsize,
    per_origin_max: AtomicUsize,
    /// From so many on there is pressure.
    pressure_from: AtomicUsize,
    pressure: watch::Sender<bool>,
    hasher: RandomState,
    shards: [Mutex<HashMap<Origin, usize>>; SHARDS],
}

impl Places {
    pub fn new(limits: PlaceLimits) -> Places {
        let places = Places {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            per_origin_max: AtomicUsize::new(0),
            pressure_from: AtomicUsize::new(usize::MAX),
            pressure: watch::Sender::new(false),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        };
        places.set_limits(limits);
        places
    }

    /// Takes new limits over; connections that are open stay.
    pub fn set_limits(&self, limits: PlaceLimits) {
        // Beyond the process's descriptors nothing can be accepted or connected: then better a
        // refusal that is visible.
        let max = limits.connections_max.min(descriptors_usable());
        let from = max.saturating_mul(limits.pressure_percent as usize) / 100;
        self.max.store(max, Ordering::Relaxed);
        self.per_origin_max
            .store(limits.per_origin_max, Ordering::Relaxed);
        self.pressure_from.store(from.max(1), Ordering::Relaxed);
        self.tell_pressure();
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether `pressurePercent` of the places are taken.
    pub fn pressure(&self) -> bool {
        self.open() >= self.pressure_from.load(Ordering::Relaxed)
    }

    /// Follows [`Places::pressure`].
    pub fn watch_pressure(&self) -> watch::Receiver<bool> {
        self.pressure.subscribe()
    }

    /// Takes a place for `peer`.
    pub fn take(&self, peer: IpAddr) -> Result<(), ErrorCode> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |open: usize| (open < max).then_some(open + 1);
        let before = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| ErrorCode::TooManyConnections)?;
        let origin = Origin::of(peer);
        let crowded = {
            let mut shard = self.shard(origin);
            let count = shard.entry(origin).or_insert(0);
            let crowded = *count >= self.per_origin_max.load(Ordering::Relaxed);
            *count += usize::from(!crowded);
            crowded
        };
        if crowded {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(ErrorCode::AddressConnectionsExceeded);
        }
        if before + 1 == self.pressure_from.load(Ordering::Relaxed) {
            self.tell_pressure();
        }
        Ok(())
    }

    /// Gives the place of `peer` back.
    pub fn give_back(&self, peer: IpAddr) {
        let origin = Origin::of(peer);
        let mut shard = self.shard(origin);
        if let Some(count) = shard.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&origin);
            }
        }
        drop(shard);
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        if before == self.pressure_from.load(Ordering::Relaxed) {
            self.tell_pressure();
        }
    }

    /// Two threads may cross the mark at once: whoever comes last tells what is true then.
    fn tell_pressure(&self) {
        self.pressure.send_if_modified(|told| {
            let now = self.pressure();
            std::mem::replace(told, now) != now
        });
    }

    fn shard(&self, origin: Origin) -> MutexGuard<'_, HashMap<Origin, usize>> {
        let index = self.hasher.hash_one(origin) % SHARDS as u64;
        let [first, ..] = &self.shards;
        let index = usize::try_from(index).unwrap_or(0);
        let shard = self.shards.get(index).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors that connections of clients may take, as far as the system tells.
fn descriptors_usable() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    usable_of(&limits).unwrap_or(usize::MAX)
}

fn usable_of(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let soft: usize = line.split_whitespace().next()?.parse().ok()?;
    let (least, most) = RESERVED_DESCRIPTORS;
    Some(soft.saturating_sub((soft / 4).clamp(least, most)).max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn places(max: usize, per_address: usize) -> Places {
        Places::new(PlaceLimits {
            connections_max: max,
            per_origin_max: per_address,
            pressure_percent: 50,
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_own_limit_and_gets_its_places_back() {
        let places = places(10, 2);
        for _ in 0..2 {
            places.take(ip("192.0.2.1")).unwrap();
        }
        let refused = places.take(ip("::ffff:192.0.2.1"));
        assert_eq!(refused, Err(ErrorCode::AddressConnectionsExceeded));
        places.take(ip("192.0.2.2")).unwrap();
        assert_eq!(places.open(), 3);
        places.give_back(ip("192.0.2.1"));
        places.take(ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let places = places(10, 1);
        places.take(ip("2001:db8::1")).unwrap();
        let refused = places.take(ip("2001:db8::ffff:2"));
        assert_eq!(refused, Err(ErrorCode::AddressConnectionsExceeded));
        places.take(ip("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn pressure_begins_and_ends_with_the_share_taken() {
        let places = places(4, 4);
        let told = places.watch_pressure();
        places.take(ip("192.0.2.1")).unwrap();
        assert!(!places.pressure() && !*told.borrow());
        places.take(ip("192.0.2.1")).unwrap();
        assert!(places.pressure() && *told.borrow());
        places.take(ip("192.0.2.1")).unwrap();
        places.take(ip("192.0.2.1")).unwrap();
        let refused = places.take(ip("192.0.2.9"));
        assert_eq!(refused, Err(ErrorCode::TooManyConnections));
        for _ in 0..3 {
            places.give_back(ip("192.0.2.1"));
        }
        assert!(!places.pressure() && !*told.borrow());
        assert_eq!(places.open(), 1);
    }

    #[test]
    fn descriptors_are_kept_back() {
        let line = |soft| format!("Max open files            {soft}   4096    files \n");
        assert_eq!(usable_of(&line("256")), Some(192));
        assert_eq!(usable_of(&line("20000")), Some(18_976));
        assert_eq!(usable_of(&line("unlimited")), None);
    }
}

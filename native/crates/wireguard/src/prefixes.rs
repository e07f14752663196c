//! Prefixes of both families, and what belongs to them.

use crate::trie::Trie;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

#[derive(Clone)]
pub struct Prefixes<V> {
    v4: Trie<4, V>,
    v6: Trie<16, V>,
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self {
            v4: Trie::default(),
            v6: Trie::default(),
        }
    }
}

impl<V: Clone> Prefixes<V> {
    /// The length of the longest prefix around an address, and its value.
    pub fn longest(&self, address: IpAddr) -> Option<(u16, &V)> {
        match address {
            IpAddr::V4(v4) => self.v4.longest(&v4.octets()),
            IpAddr::V6(v6) => self.v6.longest(&v6.octets()),
        }
    }

    /// The value of exactly this prefix.
    pub fn get(&self, network: &IpNetwork) -> Option<&V> {
        let length = u16::from(network.prefix());
        match network.network() {
            IpAddr::V4(v4) => self.v4.get(&v4.octets(), length),
            IpAddr::V6(v6) => self.v6.get(&v6.octets(), length),
        }
    }

    pub fn insert(&mut self, network: &IpNetwork, value: V) {
        let length = u16::from(network.prefix());
        match network.network() {
            IpAddr::V4(v4) => self.v4.insert(&v4.octets(), length, value),
            IpAddr::V6(v6) => self.v6.insert(&v6.octets(), length, value),
        };
    }

    /// Takes a prefix out, if its value is the one that is meant.
    pub fn remove(&mut self, network: &IpNetwork, is_meant: impl Fn(&V) -> bool) {
        let length = u16::from(network.prefix());
        match network.network() {
            IpAddr::V4(v4) => self.v4.remove(&v4.octets(), length, is_meant),
            IpAddr::V6(v6) => self.v6.remove(&v6.octets(), length, is_meant),
        }
    }
}

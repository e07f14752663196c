//! What the kernel's device has by what it was told, and the steps from there to what a delta asks
//! for. Values only.
//!
//! A prefix is never without its peer on the way: a peer gets what is new for it, which takes it
//! from whoever had it, and what it shall have no longer is given to a peer that is removed at
//! once. Replacing a peer's whole list, the kernel's own word for it, would leave a gap in which
//! packets are lost.
//!
//! A peer that changes its key is two peers for the kernel, and only one of them can have its
//! addresses: what the other one sends is lost. So the next one stands behind a bolt, a shared key
//! that nobody has. Its first handshake is counted and comes to nothing, and who sent it keeps its
//! packets until there is a session (the kernel 128 of them). By then the addresses are with it.

use super::messages::{DeviceState, Key, PeerState, PeerStep};
use crate::delta::{Delta, PeerChange};
use gotatun::x25519::PublicKey;
use ipnetwork::IpNetwork;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Nobody's shared key: a peer that has it is heard, and no session with it comes about.
const BOLT: Key = *b"quic-proxy-waf mesh: not at once";
const NO_SHARED_KEY: Key = [0; 32];

#[derive(Default)]
struct Known {
    /// As it was told; packets may have taught the kernel another.
    endpoint: Option<SocketAddr>,
    allowed: HashSet<IpNetwork>,
}

#[derive(Default)]
pub struct Peers {
    known: HashMap<Key, Known>,
    owners: HashMap<IpNetwork, Key>,
    /// Next keys, and the ones before that still have the addresses.
    changing: HashMap<Key, Key>,
    /// Of a program before this one, until a delta says which of them stay; whether packets found
    /// them just now.
    adopted: Option<HashMap<Key, bool>>,
}

impl Peers {
    /// What a device has that was made by a program before this one.
    pub fn adopted(state: &DeviceState, is_heard: impl Fn(&PeerState) -> bool) -> Self {
        let mut peers = Self::default();
        peers.reread(state);
        let all = state.peers.iter();
        peers.adopted = Some(all.map(|peer| (peer.key, is_heard(peer))).collect());
        peers
    }

    /// What a device has after steps that went wrong halfway.
    pub fn reread(&mut self, state: &DeviceState) {
        self.known.clear();
        self.owners.clear();
        for peer in &state.peers {
            let known = self.known.entry(peer.key).or_default();
            known.endpoint = peer.endpoint;
            known.allowed.extend(&peer.allowed);
            let owned = peer.allowed.iter().map(|&network| (network, peer.key));
            self.owners.extend(owned);
        }
        let known = &self.known;
        self.changing
            .retain(|next, before| known.contains_key(next) && known.contains_key(before));
    }

    /// Next keys whose addresses are still with the ones before.
    pub fn changing(&self) -> impl Iterator<Item = (&Key, &Key)> {
        self.changing.iter()
    }

    pub fn endpoints(&self, keys: Option<&[PublicKey]>) -> Vec<IpAddr> {
        let address = |known: &Known| known.endpoint.map(|endpoint| endpoint.ip());
        match keys {
            Some(keys) => {
                let known = keys.iter().filter_map(|key| self.known.get(key.as_bytes()));
                known.filter_map(address).collect()
            }
            None => self.known.values().filter_map(address).collect(),
        }
    }

    /// The steps to bring a delta about. `passing` is the key of a peer that exists for a moment.
    pub fn steps(&mut self, delta: &Delta, passing: Key) -> Vec<PeerStep> {
        let mut steps = Vec::new();
        let mut unwanted = Vec::new();
        for change in &delta.peers {
            self.change(change, &mut steps, &mut unwanted);
        }
        let removed = delta.remove_peers.iter().map(|key| *key.as_bytes());
        for key in removed.chain(self.left_over(delta)) {
            self.remove(key, &mut steps);
        }
        self.disown(&unwanted, passing, &mut steps);
        steps
    }

    /// Peers of the program before that the first whole delta does not name. Only a delta with the
    /// node's own addresses is whole.
    fn left_over(&mut self, delta: &Delta) -> Vec<Key> {
        if delta.add_addresses.is_empty() {
            return Vec::new();
        }
        let Some(mut left) = self.adopted.take() else {
            return Vec::new();
        };
        for change in &delta.peers {
            left.remove(change.public_key.as_bytes());
            if let Some(key) = change.previous_key {
                left.remove(key.as_bytes());
            }
        }
        left.into_keys().collect()
    }

    fn change(
        &mut self,
        change: &PeerChange,
        steps: &mut Vec<PeerStep>,
        unwanted: &mut Vec<(Key, IpNetwork)>,
    ) {
        let key = *change.public_key.as_bytes();
        let before = change.previous_key.map(|key| *key.as_bytes());
        let carries = |key: &Key| self.known.get(key).is_some_and(|at| !at.allowed.is_empty());
        if let Some(before) = before.filter(|before| carries(before) && !carries(&key)) {
            self.changing.insert(key, before);
        }
        // Where packets found it is where it is.
        let is_heard = self.adopted.as_ref().and_then(|all| all.get(&key));
        let endpoint = change.endpoint.filter(|_| is_heard != Some(&true));
        let known = self.known.entry(key).or_default();
        known.endpoint = endpoint.or(known.endpoint);
        let is_next = self.changing.contains_key(&key);
        steps.push(PeerStep {
            key,
            endpoint,
            keepalive_s: change.keepalive_s,
            shared_key: Some(if is_next { BOLT } else { NO_SHARED_KEY }),
            ..PeerStep::default()
        });
        let Some(wanted) = &change.allowed_ips else {
            return;
        };
        let holder = self.holder(key);
        let kept: HashSet<_> = wanted.iter().collect();
        let held = self.known.get(&holder).map(|known| &known.allowed);
        let gone = held.into_iter().flatten().filter(|one| !kept.contains(one));
        unwanted.extend(gone.map(|&network| (holder, network)));
        let new = wanted
            .iter()
            .filter(|one| self.owners.get(one) != Some(&holder));
        let new: Vec<_> = new.copied().collect();
        self.give(holder, new, steps);
    }

    /// Whose addresses a peer's packets have.
    fn holder(&self, key: Key) -> Key {
        let mut holder = key;
        // No more steps than changes, so that no ring of keys holds us.
        for _ in 0..self.changing.len() {
            match self.changing.get(&holder) {
                Some(before) => holder = *before,
                None => break,
            }
        }
        holder
    }

    fn give(&mut self, key: Key, allow: Vec<IpNetwork>, steps: &mut Vec<PeerStep>) {
        if allow.is_empty() {
            return;
        }
        for &network in &allow {
            let owner = self.owners.insert(network, key);
            if let Some(known) = owner.and_then(|owner| self.known.get_mut(&owner)) {
                known.allowed.remove(&network);
            }
        }
        self.known.entry(key).or_default().allowed.extend(&allow);
        match steps.last_mut() {
            Some(last) if last.key == key && !last.is_removed => last.allow.extend(allow),
            _ => steps.push(PeerStep {
                key,
                allow,
                ..PeerStep::default()
            }),
        }
    }

    fn remove(&mut self, key: Key, steps: &mut Vec<PeerStep>) {
        let next = self.changing.iter().find(|(_, before)| **before == key);
        if let Some((&next, _)) = next {
            self.take_over(next, None, steps);
        }
        self.changing.remove(&key);
        let Some(known) = self.known.remove(&key) else {
            return;
        };
        for network in known.allowed {
            self.owners.remove(&network);
        }
        steps.push(PeerStep {
            key,
            is_removed: true,
            ..PeerStep::default()
        });
    }

    /// What is still with them goes to a peer that goes.
    fn disown(&mut self, unwanted: &[(Key, IpNetwork)], passing: Key, steps: &mut Vec<PeerStep>) {
        let left = unwanted.iter();
        let left = left.filter(|(key, network)| self.owners.get(network) == Some(key));
        let left: Vec<_> = left.map(|(_, network)| *network).collect();
        self.give(passing, left, steps);
        if self.known.contains_key(&passing) {
            self.remove(passing, steps);
        }
    }

    /// The addresses of a peer go to its next key, and the bolt is gone. The kernel begins no
    /// handshake for five seconds after it answered one, even in vain; a peer that is made anew
    /// does, and with it the packets that wait at both ends pass. `found` is what is made anew.
    pub fn take_over(&mut self, next: Key, found: Option<&PeerState>, steps: &mut Vec<PeerStep>) {
        let Some(before) = self.changing.remove(&next) else {
            return;
        };
        if found.is_some() {
            steps.push(PeerStep {
                key: next,
                is_removed: true,
                ..PeerStep::default()
            });
        }
        let interval = found.map(|peer| peer.keepalive_s);
        steps.push(PeerStep {
            key: next,
            endpoint: found.and_then(|peer| peer.endpoint),
            // One that was off and is on is sent at once.
            keepalive_s: interval.map(|seconds| seconds.max(1)),
            shared_key: Some(NO_SHARED_KEY),
            ..PeerStep::default()
        });
        let held = self.known.get(&before).map(|known| &known.allowed);
        let held = held.into_iter().flatten().copied().collect();
        self.give(next, held, steps);
        steps.push(PeerStep {
            key: next,
            keepalive_s: interval,
            ..PeerStep::default()
        });
    }
}

#[cfg(test)]
mod tests;

//! A device with its interface, and the deltas that change it while packets flow.

use crate::applying::{Tunnel, apply};
use crate::delta::{Delta, Mode, Options, OwnKeyChange, PeerChange};
use crate::error::{Code, Error};
use crate::keys::OwnKeys;
use crate::network::Network;
use crate::paths::Doubt;
use crate::peer::{Peer, Seen};
use crate::plane::Plane;
use crate::routes::Routes;
use crate::socket::UdpEnd;
use crate::table::Table;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::x25519::PublicKey;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Runtime};

/// Of 32 bytes in base64.
const KEY_CHARACTERS: usize = 44;
/// Threads that carry the streams of a stack.
const STACK_THREADS: usize = 2;

/// One WireGuard device of this program.
pub struct Device {
    plane: Arc<Plane>,
    paths: Vec<JoinHandle<()>>,
    /// Changes are made one after the other, by who has the routes.
    routes: Mutex<Routes>,
    network: Option<Network>,
    /// For netlink, and for the streams of a stack.
    runtime: Option<Runtime>,
}

/// What is told of a peer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStats {
    #[serde(serialize_with = "base64")]
    pub public_key: PublicKey,
    pub endpoint: Option<SocketAddr>,
    /// How long ago; none before the first one.
    pub last_handshake_ms: Option<u64>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// Packets still take a session of a key that was replaced, its own or this device's.
    pub is_on_previous_key: bool,
    pub path: &'static str,
    pub why_not_direct: Option<&'static str>,
    #[serde(serialize_with = "base64_of_some")]
    pub relay: Option<PublicKey>,
    pub seen_as: Option<SocketAddr>,
    /// It is in use as a relay, or has relays, and nothing comes back directly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_silent: bool,
    /// For how long packets were sent to it and nothing authentic came back, by any way; none:
    /// nothing waits for a word.
    pub unanswered_ms: Option<u64>,
    /// What this node forwarded for it, and packets that it did not.
    #[serde(skip_serializing_if = "is_zero")]
    pub forwarded_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub refused_packets: u64,
}

impl Device {
    /// Makes the interface and opens the port; without peers and addresses.
    pub fn open(options: Options) -> Result<Self, Error> {
        let runtime = if options.mode == Mode::Netstack {
            Builder::new_multi_thread()
                .worker_threads(STACK_THREADS)
                .thread_name("netstack")
                .enable_all()
                .build()
        } else {
            Builder::new_current_thread().enable_io().build()
        };
        let runtime = runtime.map_err(|error| Error::system("a runtime", &error))?;
        let (network, end) = runtime.block_on(Network::open(&options))?;
        let udp = UdpEnd::bind(options.port, options.mark)
            .map_err(|error| udp_fault(options.port, &error))?;
        let keys = OwnKeys::new(options.private_key, options.previous_private_key);
        let fault = |error| Error::system("the packet paths", &error);
        let plane =
            Arc::new(Plane::new((end, udp), options.mtu, options.relay, keys).map_err(fault)?);
        let paths = plane.start().map_err(|error| {
            plane.stop(); // those that did start
            fault(error)
        })?;
        Ok(Self {
            plane,
            paths,
            routes: Mutex::default(),
            network: Some(network),
            runtime: Some(runtime),
        })
    }

    /// See `chosen.rs`.
    pub fn apply(&self, delta: Delta) -> Result<String, Error> {
        let mut routes = self.routes.lock();
        let (runtime, network) = self.parts()?;
        let faults = runtime.block_on(apply(&*self.plane, network, &mut routes, delta))?;
        json(&faults)
    }

    /// See `chosen.rs`.
    pub fn stats(&self) -> Result<String, Error> {
        let (runtime, network) = self.parts()?;
        if !runtime.block_on(network.is_there())? {
            return Err(gone());
        }
        json(&stats(&self.plane.current.get()))
    }

    /// Takes the interface away, and with it its addresses and routes.
    pub fn close(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if let Some(network) = &self.network {
            runtime.block_on(network.close());
        }
        self.plane.stop();
        for path in self.paths.drain(..) {
            let _ = path.join();
        }
        {
            let _inside = runtime.enter();
            self.network = None;
        }
        runtime.shutdown_background();
    }

    fn parts(&self) -> Result<(&Runtime, &Network), Error> {
        match (&self.runtime, &self.network) {
            (Some(runtime), Some(network)) => Ok((runtime, network)),
            _ => Err(gone()),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.close();
    }
}

fn gone() -> Error {
    Error::new(Code::InterfaceGone, "the interface")
}

fn udp_fault(port: u16, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::new(Code::PortTaken, port.to_string()),
        _ => Error::system("the UDP port", error),
    }
}

impl Tunnel for Plane {
    fn change(&self, delta: &Delta) -> Result<(), Error> {
        change_table(self, delta);
        Ok(())
    }

    fn endpoints(&self, keys: Option<&[PublicKey]>) -> Vec<IpAddr> {
        let table = self.current.get();
        let mut endpoints = Vec::new();
        let mut look = |peer: &Peer| endpoints.extend(peer.endpoint().map(|place| place.ip()));
        match keys {
            Some(keys) => keys
                .iter()
                .filter_map(|key| table.peer(key))
                .for_each(|peer| look(peer)),
            None => table.for_each(|_, peer| look(peer)),
        }
        endpoints
    }
}

/// All peers and keys of a delta come into force at one moment.
pub fn change_table(plane: &Plane, delta: &Delta) {
    let before = plane.current.get();
    let own = before.own.after(delta);
    let has_peers = !delta.peers.is_empty() || !delta.remove_peers.is_empty();
    if own.is_none() && delta.keys.is_none() && delta.forwards.is_none() && !has_peers {
        return;
    }
    let mut table = Table::clone(&before);
    drop(before);
    table.own = own.map_or(table.own, Arc::new);
    table.forwards = delta.forwards.unwrap_or(table.forwards);
    if let Some(OwnKeyChange { current, previous }) = &delta.keys {
        table.keys = table.keys.changed(current, previous.as_ref());
    }
    // A prefix that moves goes to its new peer before the old one loses it.
    for change in &delta.peers {
        change_peer(plane, &mut table, change);
    }
    // Each may be the relay of another one in the same delta.
    for change in &delta.peers {
        change_relays(&table, change);
    }
    for key in &delta.remove_peers {
        remove_peer(plane, &mut table, key);
    }
    let changes = delta.peers.len() + delta.remove_peers.len();
    plane.current.set(table, changes);
    plane.welcome();
}

fn change_peer(plane: &Plane, table: &mut Table, change: &PeerChange) {
    let key = &change.public_key;
    let peer = match table.peer(key) {
        Some(peer) => Arc::clone(peer),
        None => {
            let before = change
                .previous_key
                .and_then(|key| table.peer(&key).cloned());
            let peer = match before {
                Some(peer) => {
                    peer.renew(plane, *key);
                    peer
                }
                None => Peer::new(plane.serial(), *key),
            };
            table.name(key, &peer);
            peer
        }
    };
    if let Some(wanted) = &change.allowed_ips {
        let mut allowed = peer.allowed.lock();
        if !allowed.is_empty() {
            let kept: HashSet<_> = wanted.iter().collect();
            for network in allowed.iter().filter(|network| !kept.contains(network)) {
                table.disallow(network, &peer);
            }
        }
        for network in wanted {
            table.allow(network, &peer);
        }
        *allowed = wanted.as_slice().into();
    }
    if let Some(networks) = &change.standby_ips {
        table.let_stand_by(&peer, networks);
    }
    if let Some(candidates) = &change.candidates {
        peer.look_at(candidates);
    }
    peer.configure(plane, change);
}

fn change_relays(table: &Table, change: &PeerChange) {
    if let (Some(keys), Some(peer)) = (&change.relays, table.peer(&change.public_key)) {
        let others = keys.iter().filter(|key| **key != change.public_key);
        let relays: Vec<_> = others.filter_map(|key| table.peer(key).cloned()).collect();
        peer.reach_through(&relays);
    }
}

fn remove_peer(plane: &Plane, table: &mut Table, key: &PublicKey) {
    let Some(peer) = table.peer(key).cloned() else {
        return;
    };
    table.forget(key);
    if peer.forget(plane, key) {
        for network in std::mem::take(&mut *peer.allowed.lock()) {
            table.disallow(&network, &peer);
        }
        table.let_stand_by(&peer, &[]);
    }
}

fn stats(table: &Table) -> Vec<PeerStats> {
    let mut stats = Vec::new();
    table.for_each(|key, peer| {
        if !peer.is_in_use() {
            return;
        }
        // A peer between two keys stands in the table with both.
        let seen = peer.seen();
        stats.extend(seen.filter(|seen| seen.key.as_bytes() == key).map(stats_of));
    });
    stats
}

fn stats_of(seen: Seen) -> PeerStats {
    let ms = |ago: std::time::Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    let reason = seen.doubt.and_then(|doubt| match doubt {
        Doubt::NoEndpoint => Some("no endpoint"),
        Doubt::Unproven => Some("unproven"),
        Doubt::Silent => Some("silent"),
        Doubt::Idle => None, // both until it answers, which it did last
    });
    PeerStats {
        public_key: seen.key,
        endpoint: seen.endpoint,
        last_handshake_ms: seen.last_handshake.map(ms),
        received_bytes: seen.received_bytes as u64,
        sent_bytes: seen.sent_bytes as u64,
        is_on_previous_key: seen.is_on_previous_key,
        path: if reason.is_some() { "relay" } else { "direct" },
        why_not_direct: reason,
        relay: seen.relay.filter(|_| reason.is_some()),
        seen_as: seen.seen_as,
        is_silent: seen.is_silent,
        unanswered_ms: seen.unanswered.map(ms),
        forwarded_bytes: seen.served.forwarded_bytes,
        refused_packets: seen.served.refused_packets,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// As `base64`.
fn base64_of_some<S: Serializer>(
    key: &Option<PublicKey>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match key {
        Some(key) => base64(key, serializer),
        None => serializer.serialize_none(),
    }
}

/// Without a text of its own for each of ten thousand.
fn base64<S: Serializer>(key: &PublicKey, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = [0; KEY_CHARACTERS];
    let written = STANDARD.encode_slice(key.as_bytes(), &mut text);
    let text = text.get(..written.unwrap_or(0)).map(str::from_utf8);
    serializer.serialize_str(text.and_then(Result::ok).unwrap_or_default())
}

pub fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::System, error.to_string()))
}

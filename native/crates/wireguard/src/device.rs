//! A device with its interface, and the deltas that change it while packets flow.

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
use std::io;
use std::net::SocketAddr;
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerStats {
    #[serde(serialize_with = "base64")]
    public_key: PublicKey,
    endpoint: Option<SocketAddr>,
    /// How long ago; none before the first one.
    last_handshake_ms: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
    /// Packets still take a session of a key that was replaced, its own or this device's.
    is_on_previous_key: bool,
    path: &'static str,
    why_not_direct: Option<&'static str>,
    #[serde(serialize_with = "base64_of_some")]
    relay: Option<PublicKey>,
    seen_as: Option<SocketAddr>,
    /// It is in use as a relay, or has relays, and nothing comes back directly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_silent: bool,
    /// What this node forwarded for it, and packets that it did not.
    #[serde(skip_serializing_if = "is_zero")]
    forwarded_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    refused_packets: u64,
}

#[derive(Serialize)]
struct Fault {
    network: String,
    error: String,
}

impl Device {
    /// Makes the interface and opens the port; without peers and addresses.
    pub fn open(options: Options) -> Result<Self, Error> {
        let runtime = match options.mode {
            Mode::Tun => Builder::new_current_thread().enable_io().build(),
            Mode::Netstack => Builder::new_multi_thread()
                .worker_threads(STACK_THREADS)
                .thread_name("netstack")
                .enable_all()
                .build(),
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

    /// Brings a delta about; gives the addresses and routes that the kernel refused, as JSON. They
    /// can be tried again, everything else is in force.
    pub fn apply(&self, delta: Delta) -> Result<String, Error> {
        let mut routes = self.routes.lock();
        let (runtime, network) = self.parts()?;
        let faults = runtime.block_on(apply(&self.plane, network, &mut routes, delta))?;
        json(&faults)
    }

    /// Every peer as JSON; fails when somebody took the interface away.
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

async fn apply(
    plane: &Plane,
    network: &Network,
    routes: &mut Routes,
    delta: Delta,
) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    for &address in &delta.add_addresses {
        let added = network.add_address(address).await;
        note(&mut faults, address, added)?;
    }
    change_table(plane, &delta);
    for range in delta.remove_routes {
        let removed = network.remove_route(range).await;
        note(&mut faults, range, removed)?;
        routes.remove(range);
    }
    for &range in &delta.add_routes {
        let added = network.add_route(range).await;
        if note(&mut faults, range, added)? {
            routes.add(range);
        }
    }
    let moved = delta
        .peers
        .iter()
        .filter(|change| change.endpoint.is_some());
    let moved: Vec<_> = moved.map(|change| change.public_key).collect();
    // A new route can be around any endpoint, an old one around a new endpoint only.
    let suspects = delta.add_routes.is_empty().then_some(&moved[..]);
    for (endpoint, range) in routes.doubtful(&plane.current.get(), suspects) {
        if network.leads_to(endpoint).await {
            network.remove_route(range).await?;
            routes.remove(range);
            let text = format!("{endpoint}, where a peer is, lies inside {range}");
            note(&mut faults, range, Err(Error::new(Code::RouteLoop, text)))?;
        }
    }
    for address in delta.remove_addresses {
        let removed = network.remove_address(address).await;
        note(&mut faults, address, removed)?;
    }
    Ok(faults)
}

/// All peers and keys of a delta come into force at one moment.
pub fn change_table(plane: &Plane, delta: &Delta) {
    if delta.keys.is_none() && delta.peers.is_empty() && delta.remove_peers.is_empty() {
        return;
    }
    let mut table = Table::clone(&plane.current.get());
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
}

/// What one prefix is refused for does not keep the others; without the interface nothing goes on.
/// False when it was refused.
fn note(
    faults: &mut Vec<Fault>,
    network: ipnetwork::IpNetwork,
    done: Result<(), Error>,
) -> Result<bool, Error> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.code == Code::InterfaceGone => Err(error),
        Err(error) => {
            faults.push(Fault {
                network: network.to_string(),
                error: error.to_string(),
            });
            Ok(false)
        }
    }
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
                None => Peer::new(*key),
            };
            table.name(key, &peer);
            peer
        }
    };
    if let Some(wanted) = &change.allowed_ips {
        let mut allowed = peer.allowed.lock();
        for network in allowed.iter().filter(|network| !wanted.contains(network)) {
            table.disallow(network, &peer);
        }
        for network in wanted {
            table.allow(network, &peer);
        }
        allowed.clone_from(wanted);
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
    }
}

fn stats(table: &Table) -> Vec<PeerStats> {
    let mut stats = Vec::new();
    table.for_each(|key, peer| {
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

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::System, error.to_string()))
}

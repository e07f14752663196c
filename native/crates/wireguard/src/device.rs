//! A device with its interface, and the deltas that change it while packets flow.

use crate::delta::{Delta, Options, PeerChange};
use crate::ends::{In, Out};
use crate::error::{Code, Error};
use crate::network::Network;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::device::{self, DeviceBuilder, Peer};
use gotatun::udp::socket::UdpSocketFactory;
use gotatun::x25519::PublicKey;
use serde::Serialize;
use std::io;
use tokio::runtime::{Builder, Runtime};

/// Each change waits for packets under way and holds up those that come: so many in one go.
const CHANGES_AT_ONCE: usize = 16;
/// Threads that encrypt and decrypt.
const THREADS: usize = 2;

type Tunnel = device::Device<(UdpSocketFactory, Out, In)>;

/// One WireGuard device of this program.
pub struct Device {
    // Before the runtime, since it ends its tasks there.
    tunnel: Option<Tunnel>,
    network: Option<Network>,
    runtime: Option<Runtime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerStats {
    public_key: String,
    endpoint: Option<String>,
    /// How long ago; none before the first one.
    last_handshake_ms: Option<u64>,
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Serialize)]
struct Fault {
    network: String,
    error: String,
}

impl Device {
    /// Makes the interface and opens the port; without peers and addresses.
    pub fn open(options: Options) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("wireguard")
            .enable_all()
            .build()
            .map_err(|error| Error::system("a runtime", &error))?;
        let (tunnel, network) = runtime.block_on(open(options))?;
        Ok(Self {
            tunnel: Some(tunnel),
            network: Some(network),
            runtime: Some(runtime),
        })
    }

    /// Brings a delta about; gives the addresses and routes that the kernel refused, as JSON. They
    /// can be tried again, everything else is in force.
    pub fn apply(&self, delta: Delta) -> Result<String, Error> {
        let (runtime, tunnel, network) = self.parts()?;
        let faults = runtime.block_on(apply(tunnel, network, delta))?;
        json(&faults)
    }

    /// Every peer as JSON; fails when somebody took the interface away.
    pub fn stats(&self) -> Result<String, Error> {
        let (runtime, tunnel, network) = self.parts()?;
        let peers = runtime.block_on(async {
            if network.is_there().await? {
                return Ok(tunnel.peers().await);
            }
            Err(gone())
        })?;
        json(&peers.iter().map(stats_of).collect::<Vec<_>>())
    }

    /// Takes the interface away, and with it its addresses and routes.
    pub fn close(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if let Some(network) = &self.network {
            runtime.block_on(network.close());
        }
        if let Some(tunnel) = self.tunnel.take() {
            runtime.block_on(tunnel.stop());
        }
        {
            let _inside = runtime.enter();
            self.network = None;
        }
        runtime.shutdown_background();
    }

    fn parts(&self) -> Result<(&Runtime, &Tunnel, &Network), Error> {
        match (&self.runtime, &self.tunnel, &self.network) {
            (Some(runtime), Some(tunnel), Some(network)) => Ok((runtime, tunnel, network)),
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

async fn open(options: Options) -> Result<(Tunnel, Network), Error> {
    let (network, out, input) = Network::open(&options).await?;
    let tunnel = DeviceBuilder::new()
        .with_default_udp()
        .with_ip_pair(out, input)
        .with_listen_port(options.port)
        .build()
        .await
        .map_err(|error| device_fault(options.port, error))?;
    // Setting the key is what binds the socket of a device that has no peers yet.
    let bound = tunnel.set_private_key(options.private_key).await;
    bound.map_err(|error| device_fault(options.port, error))?;
    Ok((tunnel, network))
}

fn device_fault(port: u16, error: device::Error) -> Error {
    match error {
        device::Error::Bind(error, _) if error.kind() == io::ErrorKind::AddrInUse => {
            Error::new(Code::PortTaken, port.to_string())
        }
        device::Error::Bind(error, _) => Error::system("the UDP port", &error),
        other => Error::new(Code::System, other.to_string()),
    }
}

async fn apply(tunnel: &Tunnel, network: &Network, delta: Delta) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    for address in delta.add_addresses {
        note(&mut faults, address, network.add_address(address).await)?;
    }
    // A prefix that moves goes to its new peer before the old one loses it.
    for chunk in delta.peers.chunks(CHANGES_AT_ONCE) {
        let changed = tunnel.write(async |device| change_peers(device, chunk).await);
        changed.await.map_err(|error| device_fault(0, error))?;
    }
    for chunk in delta.remove_peers.chunks(CHANGES_AT_ONCE) {
        let removed = tunnel.write(async |device| remove_peers(device, chunk).await);
        removed.await.map_err(|error| device_fault(0, error))?;
    }
    for range in delta.remove_routes {
        note(&mut faults, range, network.remove_route(range).await)?;
    }
    for range in delta.add_routes {
        note(&mut faults, range, network.add_route(range).await)?;
    }
    for address in delta.remove_addresses {
        note(&mut faults, address, network.remove_address(address).await)?;
    }
    Ok(faults)
}

/// What one prefix is refused for does not keep the others; without the interface nothing goes on.
fn note(
    faults: &mut Vec<Fault>,
    network: ipnetwork::IpNetwork,
    done: Result<(), Error>,
) -> Result<(), Error> {
    match done {
        Ok(()) => Ok(()),
        Err(error) if error.code == Code::InterfaceGone => Err(error),
        Err(error) => {
            faults.push(Fault {
                network: network.to_string(),
                error: error.to_string(),
            });
            Ok(())
        }
    }
}

type Writing<'a> = device::configure::DeviceWrite<'a, (UdpSocketFactory, Out, In)>;

async fn change_peers(device: &mut Writing<'_>, changes: &[PeerChange]) {
    for change in changes {
        let known = device.modify_peer(&change.public_key, |peer| {
            if let Some(allowed) = &change.allowed_ips {
                peer.clear_allowed_ips();
                peer.add_allowed_ips(allowed.iter().copied());
            }
            if let Some(endpoint) = change.endpoint {
                peer.set_endpoint(Some(endpoint));
            }
            if let Some(seconds) = change.keepalive_s {
                peer.set_keepalive(Some(seconds).filter(|&seconds| seconds > 0));
            }
        });
        if !known.await {
            device.add_peer(new_peer(change));
        }
    }
}

fn new_peer(change: &PeerChange) -> Peer {
    let mut peer = Peer::new(change.public_key);
    peer.allowed_ips = change.allowed_ips.clone().unwrap_or_default();
    peer.endpoint = change.endpoint;
    peer.keepalive = change.keepalive_s.filter(|&seconds| seconds > 0);
    peer
}

async fn remove_peers(device: &mut Writing<'_>, keys: &[PublicKey]) {
    for key in keys {
        device.remove_peer(key).await;
    }
}

fn stats_of(peer: &device::configure::PeerStats) -> PeerStats {
    let ago = peer.stats.last_handshake;
    PeerStats {
        public_key: STANDARD.encode(peer.peer.public_key.as_bytes()),
        endpoint: peer.peer.endpoint.map(|endpoint| endpoint.to_string()),
        last_handshake_ms: ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        received_bytes: peer.stats.rx_bytes as u64,
        sent_bytes: peer.stats.tx_bytes as u64,
    }
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(Code::System, error.to_string()))
}

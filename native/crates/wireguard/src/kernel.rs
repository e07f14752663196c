//! The kernel's own WireGuard: it carries the packets, this program only tells it what to have.
//!
//! Unlike a TUN interface, the kernel's one stays when its program is killed, and goes on carrying
//! packets. The next program knows it by its private key, which nobody else has, and takes it over
//! as it is; with every other interface of that name it has nothing to do.

mod attributes;
mod messages;
mod peers;
mod silence;
mod socket;
mod tunnel;

use crate::applying::apply;
use crate::default_route::{DefaultRoutes, is_default};
use crate::delta::{Delta, Options};
use crate::device::json;
use crate::error::{Code, Error};
use crate::links::Links;
use crate::network::Network;
use crate::routes::Routes;
use gotatun::x25519::StaticSecret;
use ipnetwork::IpNetwork;
use messages::{DeviceState, OwnStep};
use nix::errno::Errno;
use parking_lot::Mutex;
use peers::Peers;
use socket::WireguardSocket;
use std::collections::HashSet;
use tokio::runtime::{Builder, Runtime};
use tunnel::{KernelTunnel, fault, is_heard};

/// One device of the kernel.
pub struct KernelDevice {
    tunnel: KernelTunnel,
    /// Changes are made one after the other, by who has these.
    ranges: Mutex<Ranges>,
    network: Network,
    index: u32,
    /// For netlink; none once the device is closed.
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Ranges {
    routes: Routes,
    /// Of a program before this one, until a delta says which of them stay.
    adopted: Option<Adopted>,
}

#[derive(Default)]
struct Adopted {
    addresses: Vec<IpNetwork>,
    routes: Vec<IpNetwork>,
}

impl KernelDevice {
    /// Makes the interface, or takes over the one that an earlier program with this key left.
    pub fn open(options: Options) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(|error| Error::system("a runtime", &error))?;
        let (links, index, (tunnel, adopted)) = runtime.block_on(async {
            let links = Links::connect()?;
            let name = &options.interface;
            if let Some(index) = links.index_of(name).await? {
                let parts = adopt(&links, index, &options).await?;
                return Ok::<_, Error>((links, index, parts));
            }
            let index = links.add_wireguard(name).await?;
            match set_up(&links, index, &options).await {
                Ok(tunnel) => Ok((links, index, (tunnel, None))),
                Err(error) => {
                    links.remove(index).await?;
                    Err(error)
                }
            }
        })?;
        let routes = Routes::default();
        let defaults = DefaultRoutes::new(&options);
        Ok(Self {
            tunnel,
            ranges: Mutex::new(Ranges { routes, adopted }),
            network: Network::Interface(links, index, defaults),
            index,
            runtime: Some(runtime),
        })
    }

    /// See `chosen.rs`.
    pub fn apply(&self, mut delta: Delta) -> Result<String, Error> {
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let mut ranges = self.ranges.lock();
        ranges.settle(&mut delta);
        let routes = &mut ranges.routes;
        let faults = runtime.block_on(apply(&self.tunnel, &self.network, routes, delta))?;
        json(&faults)
    }

    /// See `chosen.rs`.
    pub fn stats(&self) -> Result<String, Error> {
        self.runtime.as_ref().ok_or_else(gone)?;
        json(&self.tunnel.stats()?)
    }

    /// Takes the interface away.
    pub fn close(&mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        runtime.block_on(self.network.close());
        if let Network::Interface(links, ..) = &self.network {
            // Who took it away before has done what was to be done.
            let _ = runtime.block_on(links.remove(self.index));
        }
        runtime.shutdown_background();
    }
}

impl Drop for KernelDevice {
    fn drop(&mut self) {
        self.close();
    }
}

impl Ranges {
    /// The first whole delta, one with the node's own addresses, says what of an adopted interface
    /// stays: what is there already is not made again, and what it does not name goes.
    fn settle(&mut self, delta: &mut Delta) {
        if delta.add_addresses.is_empty() {
            return;
        }
        let Some(adopted) = self.adopted.take() else {
            return;
        };
        let wanted: HashSet<_> = delta.add_routes.iter().copied().collect();
        let there: HashSet<_> = adopted.routes.iter().copied().collect();
        // A default route has rules beside it, which may be gone.
        let is_whole = |range: &IpNetwork| there.contains(range) && !is_default(*range);
        delta.add_routes.retain(|range| !is_whole(range));
        for &range in there.intersection(&wanted) {
            self.routes.add(range);
        }
        delta.remove_routes.extend(there.difference(&wanted));
        let strange = adopted.addresses.into_iter();
        let strange = strange.filter(|address| !delta.add_addresses.contains(address));
        delta.remove_addresses.extend(strange);
    }
}

async fn set_up(links: &Links, index: u32, options: &Options) -> Result<KernelTunnel, Error> {
    let name = &options.interface;
    let mut socket = WireguardSocket::open().map_err(|errno| match errno {
        Errno::ENOENT => Error::new(Code::NoModule, "wireguard"),
        _ => fault(name, errno),
    })?;
    configure(&mut socket, index, options)?;
    // Here it takes its port.
    links.bring_up(index, options.mtu).await?;
    let peers = Peers::default();
    Ok(KernelTunnel::new(
        socket,
        index,
        peers,
        &options.private_key,
    ))
}

/// Refuses an interface that is not ours, and leaves it as it is.
async fn adopt(
    links: &Links,
    index: u32,
    options: &Options,
) -> Result<(KernelTunnel, Option<Adopted>), Error> {
    let name = &options.interface;
    let taken = || Error::new(Code::InterfaceTaken, name);
    // Without its family there is no interface of WireGuard either.
    let mut socket = WireguardSocket::open().map_err(|_| taken())?;
    let state = socket.device(index).map_err(|errno| match errno {
        Errno::EOPNOTSUPP => taken(),
        errno => fault(name, errno),
    })?;
    if !is_ours(&state, options) {
        return Err(taken());
    }
    configure(&mut socket, index, options)?;
    links.bring_up(index, options.mtu).await?;
    let adopted = Adopted {
        addresses: links.addresses(index).await?,
        routes: links.routes(index).await?,
    };
    let peers = Peers::adopted(&state, is_heard);
    let tunnel = KernelTunnel::new(socket, index, peers, &options.private_key);
    Ok((tunnel, Some(adopted)))
}

fn is_ours(state: &DeviceState, options: &Options) -> bool {
    let own = [
        Some(&options.private_key),
        options.previous_private_key.as_ref(),
    ];
    let mut own = own.into_iter().flatten().map(StaticSecret::to_bytes);
    // The kernel keeps a key as it computes with it (RFC 7748 §5), and may not have it as written.
    state
        .private_key
        .is_some_and(|key| own.any(|own| clamped(own) == clamped(key)))
}

fn clamped(mut key: messages::Key) -> messages::Key {
    let [first, .., last] = &mut key;
    *first &= 248;
    *last = *last & 127 | 64;
    key
}

fn configure(socket: &mut WireguardSocket, index: u32, options: &Options) -> Result<(), Error> {
    let own = OwnStep {
        private_key: Some(options.private_key.to_bytes()),
        port: Some(options.port),
        mark: Some(options.mark.unwrap_or_default()),
    };
    let done = socket.tell(index, &own, &[]);
    done.map_err(|errno| fault(&options.interface, errno))
}

fn gone() -> Error {
    Error::new(Code::InterfaceGone, "the interface")
}

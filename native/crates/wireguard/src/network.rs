//! The node's side of a device: its addresses and routes in the system, or in the stack that is in
//! this program.

use crate::default_route::{DefaultRoutes, is_default};
use crate::delta::{Mode, Options};
use crate::ends::End;
use crate::error::{Code, Error};
use crate::links::Links;
use crate::tun::TunEnd;
use edge_netstack::{Netstack, door, forward};
use ipnetwork::IpNetwork;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// What a device's packets come from.
pub enum Network {
    /// An interface, by its index, and its default routes.
    Interface(Links, u32, DefaultRoutes),
    /// No interface, and no privilege.
    Stack(Netstack),
}

impl Network {
    /// Makes it, and the end of its packets.
    pub async fn open(options: &Options) -> Result<(Self, End), Error> {
        if options.mode == Mode::Netstack {
            open_stack(options)
        } else {
            open_interface(options).await
        }
    }

    /// False: somebody took it away.
    pub async fn is_there(&self) -> Result<bool, Error> {
        match self {
            Self::Interface(links, index, _) => links.has(*index).await,
            Self::Stack(_) => Ok(true),
        }
    }

    pub async fn add_address(&self, address: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index, _) => links.add_address(*index, address).await,
            Self::Stack(netstack) => {
                netstack.add_address(address.ip());
                Ok(())
            }
        }
    }

    pub async fn remove_address(&self, address: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index, _) => links.remove_address(*index, address).await,
            Self::Stack(netstack) => {
                netstack.remove_address(address.ip());
                Ok(())
            }
        }
    }

    pub async fn add_route(&self, network: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index, defaults) if is_default(network) => {
                defaults.add(links, *index, network).await
            }
            Self::Interface(links, index, _) => links.add_route(*index, network).await,
            Self::Stack(netstack) => {
                netstack.add_route(network);
                Ok(())
            }
        }
    }

    pub async fn remove_route(&self, network: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index, defaults) if is_default(network) => {
                defaults.remove(links, *index, network).await
            }
            Self::Interface(links, index, _) => links.remove_route(*index, network).await,
            Self::Stack(netstack) => {
                netstack.remove_route(network);
                Ok(())
            }
        }
    }

    /// Whether the machine reaches an address through this interface.
    pub async fn leads_to(&self, address: IpAddr) -> bool {
        match self {
            // An address that cannot be reached is not reached through the tunnel either.
            Self::Interface(links, index, _) => {
                let through = links.interface_to(address).await;
                through.unwrap_or_default() == Some(*index)
            }
            // The device's own packets never come by the stack.
            Self::Stack(_) => false,
        }
    }

    /// Before the tunnel ends: what is to be said through it, and what does not go with it.
    pub async fn close(&self) {
        match self {
            // What cannot be taken away, nobody uses: its table is empty then.
            Self::Interface(links, index, defaults) => {
                let _ = defaults.clear(links, *index).await;
            }
            Self::Stack(netstack) => netstack.close().await,
        }
    }
}

async fn open_interface(options: &Options) -> Result<(Network, End), Error> {
    let links = Links::connect()?;
    let name = &options.interface;
    // The kernel would give us a persistent one that somebody else made.
    if links.index_of(name).await?.is_some() {
        return Err(Error::new(Code::InterfaceTaken, name));
    }
    let end = TunEnd::create(name).map_err(|error| tun_fault(name, &error))?;
    let missing = || Error::new(Code::InterfaceGone, name);
    let index = links.index_of(name).await?.ok_or_else(missing)?;
    links.bring_up(index, options.mtu).await?;
    let defaults = DefaultRoutes::new(options);
    Ok((Network::Interface(links, index, defaults), End::Tun(end)))
}

fn open_stack(options: &Options) -> Result<(Network, End), Error> {
    let settings = edge_netstack::Options {
        packet_bytes_max: usize::from(options.mtu),
        served: options.serve.clone(),
    };
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
    let told =
        EventFd::from_flags(flags).map_err(|error| Error::system("eventfd", &error.into()))?;
    let told = Arc::new(told);
    let signal = Arc::clone(&told);
    let (netstack, incoming) = Netstack::open(settings, move || {
        let _ = signal.write(1);
    });
    tokio::spawn(forward::forward(incoming));
    if let Some(path) = &options.door {
        let listener = door::bind(Path::new(path));
        let listener = listener.map_err(|error| Error::system(path, &error))?;
        tokio::spawn(door::serve(listener, netstack.clone()));
    }
    let end = End::Stack(netstack.clone(), told);
    Ok((Network::Stack(netstack), end))
}

fn tun_fault(name: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(Code::NoTun, "/dev/net/tun"),
        io::ErrorKind::ResourceBusy => Error::new(Code::InterfaceTaken, name),
        _ => Error::system("/dev/net/tun", error),
    }
}

//! The node's side of a device: its addresses and routes in the system, or in the stack that is in
//! this program.

use crate::delta::{Mode, Options};
use crate::ends::{In, Out, Source};
use crate::error::{Code, Error};
use crate::links::Links;
use crate::tun::TunEnd;
use edge_netstack::{Netstack, door, forward};
use ipnetwork::IpNetwork;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;

/// What a device's packets come from.
pub enum Network {
    /// An interface, by its index.
    Interface(Links, u32),
    /// No interface, and no privilege.
    Stack(Netstack),
}

impl Network {
    /// Makes it, and both directions of its packets.
    pub async fn open(options: &Options) -> Result<(Self, Out, In), Error> {
        match options.mode {
            Mode::Tun => open_interface(options).await,
            Mode::Netstack => open_stack(options),
        }
    }

    /// False: somebody took it away.
    pub async fn is_there(&self) -> Result<bool, Error> {
        match self {
            Self::Interface(links, index) => links.has(*index).await,
            Self::Stack(_) => Ok(true),
        }
    }

    pub async fn add_address(&self, address: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index) => links.add_address(*index, address).await,
            Self::Stack(netstack) => {
                netstack.add_address(address.ip());
                Ok(())
            }
        }
    }

    pub async fn remove_address(&self, address: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index) => links.remove_address(*index, address).await,
            Self::Stack(netstack) => {
                netstack.remove_address(address.ip());
                Ok(())
            }
        }
    }

    pub async fn add_route(&self, network: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index) => links.add_route(*index, network).await,
            Self::Stack(netstack) => {
                netstack.add_route(network);
                Ok(())
            }
        }
    }

    pub async fn remove_route(&self, network: IpNetwork) -> Result<(), Error> {
        match self {
            Self::Interface(links, index) => links.remove_route(*index, network).await,
            Self::Stack(netstack) => {
                netstack.remove_route(network);
                Ok(())
            }
        }
    }

    /// Before the tunnel ends: what is to be said through it.
    pub async fn close(&self) {
        if let Self::Stack(netstack) = self {
            netstack.close().await;
        }
    }
}

async fn open_interface(options: &Options) -> Result<(Network, Out, In), Error> {
    let links = Links::connect()?;
    let name = &options.interface;
    // The kernel would give us a persistent one that somebody else made.
    if links.index_of(name).await?.is_some() {
        return Err(Error::new(Code::InterfaceTaken, name));
    }
    let end = TunEnd::create(name, options.mtu).map_err(|error| tun_fault(name, &error))?;
    let missing = || Error::new(Code::InterfaceGone, name);
    let index = links.index_of(name).await?.ok_or_else(missing)?;
    links.bring_up(index, options.mtu).await?;
    let input = In::new(Source::Tun(end.clone()), options.mtu);
    Ok((Network::Interface(links, index), Out::Tun(end), input))
}

fn open_stack(options: &Options) -> Result<(Network, Out, In), Error> {
    let settings = edge_netstack::Options {
        packet_bytes_max: usize::from(options.mtu),
        served: options.serve.clone(),
    };
    let told = Arc::new(Notify::new());
    let signal = Arc::clone(&told);
    let (netstack, incoming) = Netstack::open(settings, move || signal.notify_one());
    tokio::spawn(forward::forward(incoming));
    if let Some(path) = &options.door {
        let listener = door::bind(Path::new(path));
        let listener = listener.map_err(|error| Error::system(path, &error))?;
        tokio::spawn(door::serve(listener, netstack.clone()));
    }
    let input = In::new(Source::Stack(netstack.clone(), told), options.mtu);
    let out = Out::Stack(netstack.clone());
    Ok((Network::Stack(netstack), out, input))
}

fn tun_fault(name: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(Code::NoTun, "/dev/net/tun"),
        io::ErrorKind::ResourceBusy => Error::new(Code::InterfaceTaken, name),
        _ => Error::system("/dev/net/tun", error),
    }
}

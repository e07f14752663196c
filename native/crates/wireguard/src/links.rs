//! Interfaces, addresses and routes, by netlink.

use crate::default_route::TABLE;
use crate::error::{Code, Error};
use futures::StreamExt;
use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, LinkWireguard, RouteMessageBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::task::JoinHandle;

// Linux errno values that decide what is said.
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EACCES: i32 = 13;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EOPNOTSUPP: i32 = 95;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

/// A netlink socket.
pub struct Links {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Links {
    /// Needs a tokio runtime around it.
    pub fn connect() -> Result<Self, Error> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| Error::system("netlink", &error))?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// The index of an interface; none when there is no such one.
    pub async fn index_of(&self, name: &str) -> Result<Option<u32>, Error> {
        let found = self.handle.link().get().match_name(name).execute();
        let link = first(found, &format!("the interface {name}")).await?;
        Ok(link.map(|link| link.header.index))
    }

    /// Whether the interface is still there.
    pub async fn has(&self, index: u32) -> Result<bool, Error> {
        let found = self.handle.link().get().match_index(index).execute();
        Ok(first(found, "the interface").await?.is_some())
    }

    /// Makes an interface of the kernel's WireGuard, down and without anything; its index.
    pub async fn add_wireguard(&self, name: &str) -> Result<u32, Error> {
        let request = self.handle.link().add(LinkWireguard::new(name).build());
        request
            .execute()
            .await
            .map_err(|error| match errno(&error) {
                Some(EEXIST) => Error::new(Code::InterfaceTaken, name),
                Some(EOPNOTSUPP) => Error::new(Code::NoModule, "wireguard"),
                _ => fault(&format!("the interface {name}"), &error),
            })?;
        let missing = || Error::new(Code::InterfaceGone, name);
        self.index_of(name).await?.ok_or_else(missing)
    }

    /// Takes an interface away; one that is gone is no fault.
    pub async fn remove(&self, index: u32) -> Result<(), Error> {
        let done = self.handle.link().del(index).execute().await;
        accept(done, ENODEV, "the interface")
    }

    /// The addresses of an interface, but for those that the kernel gives to every link.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNetwork>, Error> {
        let request = self.handle.address().get().set_link_index_filter(index);
        let mut found = Box::pin(request.execute());
        let mut addresses = Vec::new();
        while let Some(message) = found.next().await {
            let message = message.map_err(|error| fault("the addresses", &error))?;
            if message.header.scope == AddressScope::Link {
                continue;
            }
            let length = message.header.prefix_len;
            let address = message.attributes.iter().find_map(|one| match one {
                AddressAttribute::Local(ip) | AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            });
            addresses.extend(address.and_then(|ip| IpNetwork::new(ip, length).ok()));
        }
        Ok(addresses)
    }

    /// The routes through an interface that look as those which are made here.
    pub async fn routes(&self, index: u32) -> Result<Vec<IpNetwork>, Error> {
        let mut routes = Vec::new();
        let wanted = [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ];
        for wanted in wanted {
            let mut found = Box::pin(self.handle.route().get(wanted).execute());
            while let Some(route) = found.next().await {
                let route = route.map_err(|error| fault("the routes", &error))?;
                routes.extend(range_of(&route, index));
            }
        }
        Ok(routes)
    }

    pub async fn bring_up(&self, index: u32, mtu: u16) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index)
            .mtu(u32::from(mtu))
            .up()
            .build();
        let done = self.handle.link().set(message).execute().await;
        done.map_err(|error| fault("the interface", &error))
    }

    pub async fn add_address(&self, index: u32, address: IpNetwork) -> Result<(), Error> {
        let request = self
            .handle
            .address()
            .add(index, address.ip(), address.prefix());
        accept(
            request.execute().await,
            EEXIST,
            &format!("the address {address}"),
        )
    }

    pub async fn remove_address(&self, index: u32, address: IpNetwork) -> Result<(), Error> {
        let request = self.handle.address().del(address_message(index, address));
        let gone = EADDRNOTAVAIL;
        accept(
            request.execute().await,
            gone,
            &format!("the address {address}"),
        )
    }

    /// Refuses where there is one to the same network already: it is somebody else's.
    pub async fn add_route(&self, index: u32, network: IpNetwork) -> Result<(), Error> {
        let message = route(RouteHeader::RT_TABLE_MAIN, index, network)?;
        self.put_route(message, network).await
    }

    /// As `add_route`, in a table that is ours: one through this interface may be there already.
    pub async fn add_route_in(
        &self,
        table: u8,
        index: u32,
        network: IpNetwork,
    ) -> Result<(), Error> {
        let message = route(table, index, network)?;
        match self.put_route(message, network).await {
            Err(error) if error.code == Code::RouteTaken => {
                let own = self.routes(index).await?;
                own.contains(&network).then_some(()).ok_or(error)
            }
            other => other,
        }
    }

    async fn put_route(&self, message: RouteMessage, network: IpNetwork) -> Result<(), Error> {
        let done = self.handle.route().add(message).execute().await;
        done.map_err(|error| match errno(&error) {
            Some(EEXIST) => Error::new(Code::RouteTaken, network.to_string()),
            _ => fault(&format!("the route to {network}"), &error),
        })
    }

    /// Names our interface, so that it can only hit ours.
    pub async fn remove_route(&self, index: u32, network: IpNetwork) -> Result<(), Error> {
        self.remove_route_in(RouteHeader::RT_TABLE_MAIN, index, network)
            .await
    }

    /// As `remove_route`, in that table.
    pub async fn remove_route_in(
        &self,
        table: u8,
        index: u32,
        network: IpNetwork,
    ) -> Result<(), Error> {
        let message = route(table, index, network)?;
        let request = self.handle.route().del(message);
        accept(
            request.execute().await,
            ESRCH,
            &format!("the route to {network}"),
        )
    }

    /// One that is there already, of a program that was killed, is as good.
    pub async fn add_rule(&self, rule: RuleMessage) -> Result<(), Error> {
        let mut request = self.handle.rule().add();
        *request.message_mut() = rule;
        accept(request.execute().await, EEXIST, "a rule of routing")
    }

    pub async fn remove_rule(&self, rule: RuleMessage) -> Result<(), Error> {
        let request = self.handle.rule().del(rule);
        accept(request.execute().await, ENOENT, "a rule of routing")
    }

    /// The interface through which the machine reaches an address; none without a route.
    pub async fn interface_to(&self, address: IpAddr) -> Result<Option<u32>, Error> {
        let network = IpNetwork::from(address);
        let wanted = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(network.ip(), network.prefix())
            .map_err(|error| Error::new(Code::NetworkInvalid, error.to_string()))?
            .build();
        let routes = self.handle.route().get(wanted).execute();
        let Some(route) = first(routes, "the route").await? else {
            return Ok(None);
        };
        let mut attributes = route.attributes.iter();
        Ok(attributes.find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        }))
    }

    /// The MTU of that interface.
    async fn mtu_to(&self, address: IpAddr) -> Result<Option<u32>, Error> {
        let Some(index) = self.interface_to(address).await? else {
            return Ok(None);
        };
        let links = self.handle.link().get().match_index(index).execute();
        Ok(first(links, "the interface").await?.and_then(mtu_of))
    }
}

/// The MTU of the interface through which the machine reaches `address`; none without a route.
pub fn link_mtu_to(address: &str) -> Result<Option<u32>, Error> {
    let invalid = |_| Error::new(Code::NetworkInvalid, address);
    let address: IpAddr = address.parse().map_err(invalid)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| Error::system("a runtime", &error))?;
    runtime.block_on(async {
        match Links::connect()?.mtu_to(address).await {
            Err(error) if error.code == Code::System => Ok(None), // unreachable from here
            found => found,
        }
    })
}

fn mtu_of(link: LinkMessage) -> Option<u32> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
}

fn address_message(index: u32, address: IpNetwork) -> AddressMessage {
    match address {
        IpNetwork::V4(v4) => AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(v4.ip(), v4.prefix())
            .build(),
        IpNetwork::V6(v6) => AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(v6.ip(), v6.prefix())
            .build(),
    }
}

fn route(table: u8, index: u32, network: IpNetwork) -> Result<RouteMessage, Error> {
    let wanted = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(network.ip(), network.prefix())
        .map_err(|error| Error::new(Code::NetworkInvalid, error.to_string()))?;
    let mut message = wanted.output_interface(index).build();
    message.header.table = table;
    Ok(message)
}

/// The range of a route of ours through an interface.
fn range_of(route: &RouteMessage, index: u32) -> Option<IpNetwork> {
    let length = route.header.destination_prefix_length;
    // Our own table has nothing else.
    let table = if length == 0 {
        TABLE
    } else {
        RouteHeader::RT_TABLE_MAIN
    };
    let header = &route.header;
    let is_ours = (header.protocol, header.scope, header.table)
        == (RouteProtocol::Static, RouteScope::Universe, table);
    if !is_ours {
        return None;
    }
    let mut address: IpAddr = match route.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut through = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => through = Some(*index),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => address = (*ip).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => address = (*ip).into(),
            _ => {}
        }
    }
    (through == Some(index)).then(|| IpNetwork::new(address, length).ok())?
}

/// The first answer; none when the kernel says that there is no such thing.
async fn first<T>(
    answers: impl futures::Stream<Item = Result<T, rtnetlink::Error>>,
    what: &str,
) -> Result<Option<T>, Error> {
    let mut answers = Box::pin(answers);
    match answers.next().await {
        None => Ok(None),
        Some(Ok(answer)) => Ok(Some(answer)),
        Some(Err(error)) if matches!(errno(&error), Some(ENODEV | ENOENT)) => Ok(None),
        Some(Err(error)) => Err(fault(what, &error)),
    }
}

/// What is already as it should be is no fault.
fn accept(done: Result<(), rtnetlink::Error>, fine: i32, what: &str) -> Result<(), Error> {
    match done {
        Err(error) if errno(&error) == Some(fine) => Ok(()),
        other => other.map_err(|error| fault(what, &error)),
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

fn fault(what: &str, error: &rtnetlink::Error) -> Error {
    match errno(error) {
        Some(EPERM | EACCES) => Error::new(Code::NotPermitted, what),
        Some(ENODEV) => Error::new(Code::InterfaceGone, what),
        Some(EADDRINUSE) => Error::new(Code::PortTaken, what),
        Some(code) => Error::system(what, &io::Error::from_raw_os_error(code)),
        None => Error::new(Code::System, format!("{what}: {error}")),
    }
}

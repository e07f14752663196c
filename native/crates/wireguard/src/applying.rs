//! The order in which a delta comes about, whoever carries the packets.

use crate::delta::Delta;
use crate::error::{Code, Error};
use crate::network::Network;
use crate::routes::Routes;
use gotatun::x25519::PublicKey;
use ipnetwork::IpNetwork;
use serde::Serialize;
use std::net::IpAddr;

/// What carries packets to peers: this program or the kernel.
pub trait Tunnel {
    /// Brings the keys and peers of a delta about.
    fn change(&self, delta: &Delta) -> Result<(), Error>;
    /// Where peers are: those with these keys, or all.
    fn endpoints(&self, keys: Option<&[PublicKey]>) -> Vec<IpAddr>;
}

/// An address or a route that the kernel refused.
#[derive(Debug, Serialize)]
pub struct Fault {
    network: String,
    error: String,
}

/// What was refused can be tried again; everything else is in force then.
pub async fn apply(
    tunnel: &impl Tunnel,
    network: &Network,
    routes: &mut Routes,
    delta: Delta,
) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    for &address in &delta.add_addresses {
        let added = network.add_address(address).await;
        note(&mut faults, address, added)?;
    }
    tunnel.change(&delta)?;
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
    for (endpoint, range) in routes.doubtful(&tunnel.endpoints(suspects)) {
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

/// What one prefix is refused for does not keep the others; without the interface nothing goes on.
/// False when it was refused.
fn note(
    faults: &mut Vec<Fault>,
    network: IpNetwork,
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

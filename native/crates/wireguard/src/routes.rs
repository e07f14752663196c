//! The routes that a device has, and whether one of them leads a device's own packets into itself.

use crate::default_route::is_default;
use crate::trie::Trie;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// Routes into the tunnel that the kernel has from us.
#[derive(Default)]
pub struct Routes {
    v4: Trie<4, IpNetwork>,
    v6: Trie<16, IpNetwork>,
}

impl Routes {
    pub fn add(&mut self, network: IpNetwork) {
        if is_default(network) {
            return; // rules keep the device's own packets out of it
        }
        let length = u16::from(network.prefix());
        match network.network() {
            IpAddr::V4(v4) => self.v4.insert(&v4.octets(), length, network),
            IpAddr::V6(v6) => self.v6.insert(&v6.octets(), length, network),
        };
    }

    pub fn remove(&mut self, network: IpNetwork) {
        let length = u16::from(network.prefix());
        match network.network() {
            IpAddr::V4(v4) => self.v4.remove(&v4.octets(), length, |_| true),
            IpAddr::V6(v6) => self.v6.remove(&v6.octets(), length, |_| true),
        }
    }

    /// The route of ours that an address lies in.
    fn around(&self, address: IpAddr) -> Option<IpNetwork> {
        match address {
            IpAddr::V4(v4) => self.v4.longest(&v4.octets()).copied(),
            IpAddr::V6(v6) => self.v6.longest(&v6.octets()).copied(),
        }
    }

    /// Endpoints inside a route of ours, with it. The machine may have a better route to one of
    /// them, so this is a doubt and not yet a fault.
    pub fn doubtful(&self, endpoints: &[IpAddr]) -> Vec<(IpAddr, IpNetwork)> {
        let around = |&address: &IpAddr| Some((address, self.around(address)?));
        endpoints.iter().filter_map(around).collect()
    }
}

//! The routes that a device has, and whether one of them leads a device's own packets into itself.

use crate::default_route::is_default;
use crate::prefixes::Prefixes;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// Routes into the tunnel that the kernel has from us.
#[derive(Default)]
pub struct Routes(Prefixes<IpNetwork>);

impl Routes {
    pub fn add(&mut self, network: IpNetwork) {
        // Rules keep the device's own packets out of a default route.
        if !is_default(network) {
            self.0.insert(&network, network);
        }
    }

    pub fn remove(&mut self, network: IpNetwork) {
        self.0.remove(&network, |_| true);
    }

    /// The route of ours that an address lies in.
    fn around(&self, address: IpAddr) -> Option<IpNetwork> {
        self.0.longest(address).map(|(_, network)| *network)
    }

    /// Endpoints inside a route of ours, with it. The machine may have a better route to one of
    /// them, so this is a doubt and not yet a fault.
    pub fn doubtful(&self, endpoints: &[IpAddr]) -> Vec<(IpAddr, IpNetwork)> {
        let around = |&address: &IpAddr| Some((address, self.around(address)?));
        endpoints.iter().filter_map(around).collect()
    }
}

//! The default route through a device: in a table of its own, so that the machine's own default
//! route stays what it is, and all that it says more precisely goes first.
//!
//! The device's packets to its peers must not go into it: they have a mark, by which a rule keeps
//! them out. Addresses that have to stay outside, as the coordinator's, have rules of their own.

use crate::delta::Options;
use crate::error::{Code, Error};
use crate::links::Links;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::RouteHeader;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use std::net::IpAddr;

/// Our table of routes, and the first of our rules: before the one that asks the main table.
pub const TABLE: u8 = 237;
const PRIORITY: u32 = 30_237;

/// Whether a range is everything.
pub fn is_default(network: IpNetwork) -> bool {
    network.prefix() == 0
}

/// The default routes of one device.
pub struct DefaultRoutes {
    mark: Option<u32>,
    outside: Vec<IpAddr>,
    /// Those that are ours to take away.
    held: Mutex<Vec<IpNetwork>>,
}

impl DefaultRoutes {
    pub fn new(options: &Options) -> Self {
        Self {
            mark: options.mark,
            outside: options.outside.clone(),
            held: Mutex::default(),
        }
    }

    /// Refuses where somebody else has one in our table.
    pub async fn add(&self, links: &Links, index: u32, network: IpNetwork) -> Result<(), Error> {
        let Some(mark) = self.mark else {
            let text = format!("{network}: the device's own packets have no mark");
            return Err(Error::new(Code::RouteLoop, text));
        };
        links.add_route_in(TABLE, index, network).await?;
        self.held.lock().push(network);
        for rule in rules(network, mark, &self.outside) {
            links.add_rule(rule).await?;
        }
        Ok(())
    }

    /// Only what was added by us.
    pub async fn remove(&self, links: &Links, index: u32, network: IpNetwork) -> Result<(), Error> {
        let before = self.held.lock().len();
        self.held.lock().retain(|held| *held != network);
        if self.held.lock().len() == before {
            return Ok(());
        }
        for rule in rules(network, self.mark.unwrap_or_default(), &self.outside) {
            links.remove_rule(rule).await?;
        }
        links.remove_route_in(TABLE, index, network).await
    }

    /// All of them.
    pub async fn clear(&self, links: &Links, index: u32) -> Result<(), Error> {
        let held = self.held.lock().clone();
        for network in held {
            self.remove(links, index, network).await?;
        }
        Ok(())
    }
}

/// In their order: what stays outside, what the machine knows better than by default, the rest of
/// what is not the device's own.
fn rules(network: IpNetwork, mark: u32, outside: &[IpAddr]) -> Vec<RuleMessage> {
    let family = match network {
        IpNetwork::V4(_) => AddressFamily::Inet,
        IpNetwork::V6(_) => AddressFamily::Inet6,
    };
    let rule = |place: u32, table: u8, more: Vec<RuleAttribute>| {
        let mut rule = RuleMessage::default();
        rule.header.family = family;
        rule.header.table = table;
        rule.header.action = RuleAction::ToTable;
        rule.attributes = more;
        rule.attributes
            .push(RuleAttribute::Priority(PRIORITY + place));
        rule
    };
    let main = RouteHeader::RT_TABLE_MAIN;
    let outside = outside
        .iter()
        .filter(|address| address.is_ipv4() == network.is_ipv4());
    let mut all: Vec<_> = outside
        .map(|&address| {
            let mut outside = rule(0, main, vec![RuleAttribute::Destination(address)]);
            outside.header.dst_len = IpNetwork::from(address).prefix();
            outside
        })
        .collect();
    all.push(rule(1, main, vec![RuleAttribute::SuppressPrefixLen(0)]));
    let mut other = rule(2, TABLE, vec![RuleAttribute::FwMark(mark)]);
    other.header.flags = RuleFlags::Invert;
    all.push(other);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_a_family_are_its_own_and_in_order() {
        let outside = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let all = rules("0.0.0.0/0".parse().unwrap(), 0xed, &outside);
        let told: Vec<_> = all
            .iter()
            .map(|rule| (rule.header.dst_len, rule.header.table, rule.header.flags))
            .collect();
        let none = RuleFlags::empty();
        let main = RouteHeader::RT_TABLE_MAIN;
        assert_eq!(
            told,
            [
                (32, main, none),
                (0, main, none),
                (0, TABLE, RuleFlags::Invert)
            ]
        );
        let all = rules("::/0".parse().unwrap(), 0xed, &outside);
        assert_eq!(all[0].header.dst_len, 128);
        assert!(
            all.iter()
                .all(|rule| rule.header.family == AddressFamily::Inet6)
        );
    }
}

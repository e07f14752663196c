//! What is this node's own: its addresses, and the ranges of other machines that it serves.

use crate::delta::Delta;
use crate::prefixes::Prefixes;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

#[derive(Default)]
pub struct Own {
    addresses: Vec<IpNetwork>,
    ranges: Vec<IpNetwork>,
    all: Prefixes<()>,
}

impl Own {
    /// What it is after a delta; none when that changes nothing of it.
    pub fn after(&self, delta: &Delta) -> Option<Self> {
        let Delta {
            add_addresses: new,
            remove_addresses: gone,
            own_ranges: ranges,
            ..
        } = delta;
        if new.is_empty() && gone.is_empty() && ranges.is_none() {
            return None;
        }
        let kept = self.addresses.iter();
        let kept = kept.filter(|one| !new.contains(one) && !gone.contains(one));
        let addresses: Vec<_> = kept.chain(new).copied().collect();
        let ranges = ranges.as_ref().unwrap_or(&self.ranges).clone();
        let mut all = Prefixes::default();
        for network in addresses.iter().chain(&ranges) {
            all.insert(network, ());
        }
        Some(Self {
            addresses,
            ranges,
            all,
        })
    }

    /// How long the longest prefix around an address is.
    pub fn longest(&self, address: IpAddr) -> Option<u16> {
        self.all.longest(address).map(|(length, ())| length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_and_go_and_ranges_are_a_whole_list() {
        let mut own = Own::default();
        let mut is = |delta: &str, wanted: [Option<u16>; 3]| {
            let delta = Delta::parse(delta).unwrap();
            let Some(after) = own.after(&delta) else {
                panic!("it changes something");
            };
            own = after;
            let places = ["10.0.0.7", "10.0.9.9", "fd00::7"];
            let found = places.map(|place| own.longest(place.parse().unwrap()));
            assert_eq!(found, wanted);
        };
        is(
            r#"{"addAddresses":["10.0.0.7/32","fd00::7/128"]}"#,
            [Some(32), None, Some(128)],
        );
        is(
            r#"{"ownRanges":["10.0.0.0/16"]}"#,
            [Some(32), Some(16), Some(128)],
        );
        is(
            r#"{"removeAddresses":["10.0.0.7/32"],"addAddresses":["fd00::7/128"]}"#,
            [Some(16), Some(16), Some(128)],
        );
        is(r#"{"ownRanges":[]}"#, [None, None, Some(128)]);
        assert!(own.after(&Delta::default()).is_none());
    }
}

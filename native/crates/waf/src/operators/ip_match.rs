//! `@ipMatch`, `@ipMatchFromFile`.

use std::net::IpAddr;

use super::{Captures, Compiled, Matcher};

/// `@ipMatch 192.0.2.0/24,2001:db8::/32`: the text is an address in one of the networks. From a
/// file: one network per entry.
pub(super) fn ip_match(argument: &[u8], entries: &[Vec<u8>]) -> Compiled {
    let texts: Vec<&[u8]> = if entries.is_empty() {
        argument.split(|&byte| byte == b',').collect()
    } else {
        entries.iter().map(Vec::as_slice).collect()
    };
    let networks = texts
        .into_iter()
        .map(<[u8]>::trim_ascii)
        .filter(|text| !text.is_empty() && !text.starts_with(b"#"))
        .map(Network::parse)
        .collect::<Result<Vec<_>, _>>()?;
    if networks.is_empty() {
        return Err("no networks: give at least one".to_owned());
    }
    Ok(Box::new(Networks(networks)))
}

struct Networks(Vec<Network>);

impl Matcher for Networks {
    fn matches(&self, text: &[u8], _captures: Option<&mut Captures>) -> bool {
        address(text).is_some_and(|address| self.0.iter().any(|network| network.has(address)))
    }
}

struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let mend = || {
            let shown = String::from_utf8_lossy(text);
            format!("{shown:?} is no network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32")
        };
        let mut parts = text.splitn(2, |&byte| byte == b'/');
        let address = parts.next().and_then(address).ok_or_else(mend)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match parts.next() {
            None => bits,
            Some(digits) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(mend)?,
        };
        Ok(Self { address, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.prefix
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= self.prefix
            }
            _ => false,
        }
    }
}

pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

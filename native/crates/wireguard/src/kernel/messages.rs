//! The words of the kernel's WireGuard (include/uapi/linux/wireguard.h): what it is told to have,
//! and what it says it has. Bytes and values only.

use super::attributes::{Attributes, Writer};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A public or private key.
pub type Key = [u8; 32];

pub const COMMAND_GET: u8 = 0;
pub const COMMAND_SET: u8 = 1;

/// Of peers in one message. The kernel holds its lock for so long as it takes to read them, and a
/// nested attribute has room for 64 KiB.
const PEERS_BYTES_MAX: usize = 32 * 1024;
/// Of one peer in one message: at most 40 bytes each.
const ALLOWED_IPS_MAX: usize = 512;

const DEVICE_INDEX: u16 = 1;
const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_PORT: u16 = 6;
const DEVICE_MARK: u16 = 7;
const DEVICE_PEERS: u16 = 8;

const PEER_PUBLIC_KEY: u16 = 1;
const PEER_SHARED_KEY: u16 = 2;
const PEER_FLAGS: u16 = 3;
const PEER_ENDPOINT: u16 = 4;
const PEER_KEEPALIVE: u16 = 5;
const PEER_LAST_HANDSHAKE: u16 = 6;
const PEER_RECEIVED_BYTES: u16 = 7;
const PEER_SENT_BYTES: u16 = 8;
const PEER_ALLOWED_IPS: u16 = 9;
const PEER_FLAG_REMOVE: u32 = 1;

const ALLOWED_FAMILY: u16 = 1;
const ALLOWED_ADDRESS: u16 = 2;
const ALLOWED_LENGTH: u16 = 3;

/// Of Linux on every architecture.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// What of a device is to be set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OwnStep {
    pub private_key: Option<Key>,
    pub port: Option<u16>,
    pub mark: Option<u32>,
}

/// What of a peer is to be set; it is made where it is not there. Absent: stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStep {
    pub key: Key,
    pub is_removed: bool,
    pub endpoint: Option<SocketAddr>,
    pub keepalive_s: Option<u16>,
    /// Without which no handshake with it succeeds; zeros: none.
    pub shared_key: Option<Key>,
    /// Prefixes that become its own, whoever had them.
    pub allow: Vec<IpNetwork>,
}

/// The device of an interface by its index: attributes of a GET.
pub fn device_named(index: u32) -> Writer {
    let mut writer = Writer::default();
    writer.put(DEVICE_INDEX, &index.to_ne_bytes());
    writer
}

/// Attributes of as many SETs as it takes, in their order.
pub fn set_messages(index: u32, own: &OwnStep, peers: &[PeerStep]) -> Vec<Writer> {
    let mut first = device_named(index);
    if let Some(key) = &own.private_key {
        first.put(DEVICE_PRIVATE_KEY, key);
    }
    if let Some(port) = own.port {
        first.put(DEVICE_PORT, &port.to_ne_bytes());
    }
    if let Some(mark) = own.mark {
        first.put(DEVICE_MARK, &mark.to_ne_bytes());
    }
    let mut messages = Vec::new();
    let mut message = first;
    let mut list = Writer::default();
    for piece in peers.iter().flat_map(pieces) {
        if list.len() + piece.len() > PEERS_BYTES_MAX {
            message.nest(DEVICE_PEERS, std::mem::take(&mut list));
            messages.push(std::mem::replace(&mut message, device_named(index)));
        }
        list.append(&piece);
    }
    if !list.is_empty() {
        message.nest(DEVICE_PEERS, list);
    }
    messages.push(message);
    messages
}

/// A peer as entries of a list; a message may end behind each.
fn pieces(step: &PeerStep) -> impl Iterator<Item = Writer> {
    let mut rest = step.allow.chunks(ALLOWED_IPS_MAX);
    let first = entry(step, rest.next().unwrap_or_default());
    let more = PeerStep {
        key: step.key,
        ..PeerStep::default()
    };
    std::iter::once(first).chain(rest.map(move |allow| entry(&more, allow)))
}

fn entry(step: &PeerStep, allow: &[IpNetwork]) -> Writer {
    let mut peer = Writer::default();
    peer.put(PEER_PUBLIC_KEY, &step.key);
    if step.is_removed {
        peer.put(PEER_FLAGS, &PEER_FLAG_REMOVE.to_ne_bytes());
    }
    if let Some(key) = &step.shared_key {
        peer.put(PEER_SHARED_KEY, key);
    }
    if let Some(endpoint) = step.endpoint {
        peer.put(PEER_ENDPOINT, &socket_address(endpoint));
    }
    if let Some(keepalive) = step.keepalive_s {
        peer.put(PEER_KEEPALIVE, &keepalive.to_ne_bytes());
    }
    if !allow.is_empty() {
        let mut list = Writer::default();
        for network in allow {
            list.nest(0, allowed(network));
        }
        peer.nest(PEER_ALLOWED_IPS, list);
    }
    let mut entry = Writer::default();
    entry.nest(0, peer);
    entry
}

fn allowed(network: &IpNetwork) -> Writer {
    let mut writer = Writer::default();
    match network.network() {
        IpAddr::V4(address) => {
            writer.put(ALLOWED_FAMILY, &AF_INET.to_ne_bytes());
            writer.put(ALLOWED_ADDRESS, &address.octets());
        }
        IpAddr::V6(address) => {
            writer.put(ALLOWED_FAMILY, &AF_INET6.to_ne_bytes());
            writer.put(ALLOWED_ADDRESS, &address.octets());
        }
    }
    writer.put(ALLOWED_LENGTH, &[network.prefix()]);
    writer
}

/// `struct sockaddr_in` or `sockaddr_in6`.
fn socket_address(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [
            &AF_INET.to_ne_bytes(),
            &port[..],
            &v4.ip().octets(),
            &[0; 8],
        ]
        .concat(),
        SocketAddr::V6(v6) => [
            &AF_INET6.to_ne_bytes(),
            &port[..],
            &v6.flowinfo().to_be_bytes(),
            &v6.ip().octets(),
            &v6.scope_id().to_ne_bytes(),
        ]
        .concat(),
    }
}

/// A peer as the kernel has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    pub key: Key,
    pub endpoint: Option<SocketAddr>,
    pub keepalive_s: u16,
    /// By the wall clock, since 1970; none before the first.
    pub last_handshake_ms: Option<u64>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub allowed: Vec<IpNetwork>,
}

/// A device as the kernel has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeviceState {
    /// None before it was given one.
    pub private_key: Option<Key>,
    pub peers: Vec<PeerState>,
}

impl DeviceState {
    /// Takes the attributes of one message of a dump. A peer that did not fit into a message goes
    /// on in the next one, under the same key.
    pub fn take(&mut self, bytes: &[u8]) {
        for (kind, bytes) in Attributes(bytes) {
            match kind {
                DEVICE_PRIVATE_KEY => self.private_key = fixed(bytes).filter(|key| *key != [0; 32]),
                DEVICE_PEERS => {
                    for (_, bytes) in Attributes(bytes) {
                        self.take_peer(peer_state(bytes));
                    }
                }
                _ => {}
            }
        }
    }

    fn take_peer(&mut self, peer: PeerState) {
        match self.peers.last_mut() {
            Some(last) if last.key == peer.key => last.allowed.extend(peer.allowed),
            _ => self.peers.push(peer),
        }
    }
}

fn peer_state(bytes: &[u8]) -> PeerState {
    let mut peer = PeerState::default();
    for (kind, bytes) in Attributes(bytes) {
        match kind {
            PEER_PUBLIC_KEY => peer.key = fixed(bytes).unwrap_or_default(),
            PEER_ENDPOINT => peer.endpoint = endpoint(bytes),
            PEER_KEEPALIVE => {
                peer.keepalive_s = fixed(bytes).map(u16::from_ne_bytes).unwrap_or_default();
            }
            PEER_LAST_HANDSHAKE => peer.last_handshake_ms = moment_ms(bytes),
            PEER_RECEIVED_BYTES => peer.received_bytes = number(bytes),
            PEER_SENT_BYTES => peer.sent_bytes = number(bytes),
            PEER_ALLOWED_IPS => {
                let networks = Attributes(bytes).filter_map(|(_, bytes)| network(bytes));
                peer.allowed.extend(networks);
            }
            _ => {}
        }
    }
    peer
}

/// `struct __kernel_timespec`: seconds and nanoseconds of 64 bits each.
fn moment_ms(bytes: &[u8]) -> Option<u64> {
    let seconds = number(bytes.get(..8)?);
    let nanoseconds = number(bytes.get(8..16)?);
    let ms = seconds
        .saturating_mul(1000)
        .saturating_add(nanoseconds / 1_000_000);
    (ms > 0).then_some(ms)
}

fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(fixed(bytes.get(..2)?)?);
    let port = u16::from_be_bytes(fixed(bytes.get(2..4)?)?);
    let address: IpAddr = match family {
        AF_INET => Ipv4Addr::from(fixed::<4>(bytes.get(4..8)?)?).into(),
        AF_INET6 => Ipv6Addr::from(fixed::<16>(bytes.get(8..24)?)?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

fn network(bytes: &[u8]) -> Option<IpNetwork> {
    let mut address: Option<IpAddr> = None;
    let mut length = 0;
    for (kind, bytes) in Attributes(bytes) {
        match kind {
            ALLOWED_ADDRESS => {
                let v4 = fixed::<4>(bytes).map(IpAddr::from);
                address = v4.or_else(|| fixed::<16>(bytes).map(IpAddr::from));
            }
            ALLOWED_LENGTH => length = bytes.first().copied().unwrap_or_default(),
            _ => {}
        }
    }
    IpNetwork::new(address?, length).ok()
}

fn number(bytes: &[u8]) -> u64 {
    fixed(bytes).map(u64::from_ne_bytes).unwrap_or_default()
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;

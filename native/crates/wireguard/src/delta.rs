//! What is asked of a device: JSON in, checked values out. Nothing is applied before all of it is
//! right.

use crate::error::{Code, Error};
use crate::paths::{CANDIDATES_MAX, RELAYS_MAX, RelayLimits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::x25519::{PublicKey, StaticSecret};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};

/// The kernel's, without the closing zero (IFNAMSIZ).
const NAME_BYTES_MAX: usize = 15;
/// IPv6 needs this much of every link (RFC 8200 §5).
pub const MTU_MIN: u16 = 1280;
/// What was tried out; a datagram could be much longer.
pub const MTU_MAX: u16 = 4000;

/// What a device's packets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// An interface of the system.
    #[default]
    Tun,
    /// An interface of the kernel's WireGuard.
    Kernel,
    /// A stack in this program, which needs no privilege.
    Netstack,
}

/// How a device is opened.
pub struct Options {
    pub mode: Mode,
    pub interface: String,
    pub private_key: StaticSecret,
    pub previous_private_key: Option<StaticSecret>,
    pub port: u16,
    pub mtu: u16,
    /// Ranges of other machines that a stack serves.
    pub serve: Vec<IpNetwork>,
    /// Path of the socket by which other programs dial through a stack.
    pub door: Option<String>,
    /// How much it forwards between its peers; none: nothing.
    pub relay: Option<RelayLimits>,
    /// The mark of what it sends, for the machine's rules of routing and its firewall (SO_MARK).
    pub mark: Option<u32>,
    /// Addresses that a default route does not lead to.
    pub outside: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OptionsText {
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    serve: Vec<String>,
    #[serde(default)]
    door: Option<String>,
    interface: String,
    private_key: String,
    previous_private_key: Option<String>,
    port: u16,
    mtu: u16,
    relay: Option<RelayText>,
    mark: Option<u32>,
    #[serde(default)]
    outside: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RelayText {
    bytes_per_second: u32,
    pairs_max: usize,
}

impl Options {
    /// From the JSON of `DeviceOptions` (mesh/device.ts).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let given: OptionsText = json(text)?;
        let OptionsText {
            mode,
            serve,
            door,
            interface,
            private_key,
            previous_private_key,
            port,
            mtu,
            relay,
            mark,
            outside,
        } = given;
        if !is_interface_name(&interface) {
            return Err(Error::new(Code::NameInvalid, interface));
        }
        if mtu == 0 {
            return Err(Error::new(Code::MtuInvalid, "zero is no MTU"));
        }
        Ok(Self {
            mode,
            serve: networks(&serve)?,
            door,
            interface,
            private_key: secret(&private_key)?,
            previous_private_key: previous_private_key.as_deref().map(secret).transpose()?,
            port,
            mtu: path_mtu(mtu)?,
            relay: relay.map(|limits| RelayLimits {
                bytes_per_second: limits.bytes_per_second,
                pairs_max: limits.pairs_max,
            }),
            mark,
            outside,
        })
    }
}

/// As the kernel judges them (dev_valid_name), and no `%`, which it takes for a pattern.
fn is_interface_name(name: &str) -> bool {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    is_plain && !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX
}

/// The differences to bring about, in this order.
#[derive(Default)]
pub struct Delta {
    pub keys: Option<OwnKeyChange>,
    pub add_addresses: Vec<IpNetwork>,
    pub peers: Vec<PeerChange>,
    pub remove_peers: Vec<PublicKey>,
    pub remove_routes: Vec<IpNetwork>,
    pub add_routes: Vec<IpNetwork>,
    pub remove_addresses: Vec<IpNetwork>,
    /// Whether packets of one peer go on to another one.
    pub forwards: Option<bool>,
    /// Ranges of other machines that this node serves: packets to them are for its interface.
    pub own_ranges: Option<Vec<IpNetwork>>,
}

/// The keys that the device is to have from now on. It speaks with the current one and still
/// answers those who know the previous one; without a previous one those are lost.
pub struct OwnKeyChange {
    pub current: StaticSecret,
    pub previous: Option<StaticSecret>,
}

/// A peer that is to be there. What is absent stays as it is: an endpoint that was learned from
/// packets is no drift.
pub struct PeerChange {
    pub public_key: PublicKey,
    /// The key that this peer had before: its sessions carry packets until the new key has one.
    /// It is heard until it is removed. Of no effect when the peer is there already.
    pub previous_key: Option<PublicKey>,
    pub allowed_ips: Option<Vec<IpNetwork>>,
    /// Prefixes of others from which it may send as well.
    pub standby_ips: Option<Vec<IpNetwork>>,
    pub endpoint: Option<SocketAddr>,
    /// Zero: none.
    pub keepalive_s: Option<u16>,
    /// What fits through the path to it, where that is less than the interface's; zero: as much.
    pub mtu: Option<u16>,
    /// The peers through which it is reached when it is not directly: the first that is there.
    pub relays: Option<Vec<PublicKey>>,
    /// Where it might be reached directly, beside its endpoint.
    pub candidates: Option<Vec<SocketAddr>>,
    /// It takes packets of one key of ours, and not of two while that changes.
    pub hears_one_key: Option<bool>,
    /// It is made to speak when packets are sent to it and none comes back.
    pub is_watched: Option<bool>,
    /// What is forwarded comes from such a peer or goes to one.
    pub is_inside: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct DeltaText {
    private_key: Option<String>,
    previous_private_key: Option<String>,
    add_addresses: Vec<String>,
    peers: Vec<PeerText>,
    remove_peers: Vec<String>,
    remove_routes: Vec<String>,
    add_routes: Vec<String>,
    remove_addresses: Vec<String>,
    forwards: Option<bool>,
    own_ranges: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PeerText {
    public_key: String,
    previous_key: Option<String>,
    allowed_ips: Option<Vec<String>>,
    standby_ips: Option<Vec<String>>,
    endpoint: Option<String>,
    keepalive_s: Option<u16>,
    mtu: Option<u16>,
    relays: Option<Vec<String>>,
    candidates: Option<Vec<String>>,
    hears_one_key: Option<bool>,
    is_watched: Option<bool>,
    is_inside: Option<bool>,
}

impl Delta {
    /// From the JSON of `DeviceDelta` (mesh/device.ts).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let given: DeltaText = json(text)?;
        let keys = given.remove_peers.iter();
        if given.private_key.is_none() && given.previous_private_key.is_some() {
            let text = "a previous private key without a private key";
            return Err(Error::new(Code::Malformed, text));
        }
        let previous = given.previous_private_key.as_deref();
        let previous = previous.map(secret).transpose()?;
        let current = given.private_key.as_deref().map(secret).transpose()?;
        Ok(Self {
            keys: current.map(|current| OwnKeyChange { current, previous }),
            add_addresses: networks(&given.add_addresses)?,
            peers: given
                .peers
                .into_iter()
                .map(PeerChange::parse)
                .collect::<Result<_, _>>()?,
            remove_peers: keys
                .map(|text| public_key(text))
                .collect::<Result<_, _>>()?,
            remove_routes: networks(&given.remove_routes)?,
            add_routes: networks(&given.add_routes)?,
            remove_addresses: networks(&given.remove_addresses)?,
            forwards: given.forwards,
            own_ranges: given.own_ranges.as_deref().map(networks).transpose()?,
        })
    }
}

impl PeerChange {
    fn parse(given: PeerText) -> Result<Self, Error> {
        Ok(Self {
            public_key: public_key(&given.public_key)?,
            previous_key: given.previous_key.as_deref().map(public_key).transpose()?,
            allowed_ips: given.allowed_ips.as_deref().map(networks).transpose()?,
            standby_ips: given.standby_ips.as_deref().map(networks).transpose()?,
            endpoint: given.endpoint.as_deref().map(endpoint).transpose()?,
            keepalive_s: given.keepalive_s,
            mtu: given.mtu.map(path_mtu).transpose()?,
            relays: given.relays.as_deref().map(relays).transpose()?,
            candidates: given.candidates.as_deref().map(endpoints).transpose()?,
            hears_one_key: given.hears_one_key,
            is_watched: given.is_watched,
            is_inside: given.is_inside,
        })
    }
}

fn relays(texts: &[String]) -> Result<Vec<PublicKey>, Error> {
    if texts.len() > RELAYS_MAX {
        let text = format!("more than {RELAYS_MAX} relays");
        return Err(Error::new(Code::KeyInvalid, text));
    }
    texts.iter().map(|text| public_key(text)).collect()
}

fn endpoint(text: &str) -> Result<SocketAddr, Error> {
    let bad = |_| Error::new(Code::EndpointInvalid, text);
    text.parse().map_err(bad)
}

fn endpoints(texts: &[String]) -> Result<Vec<SocketAddr>, Error> {
    if texts.len() > CANDIDATES_MAX {
        let text = format!("more than {CANDIDATES_MAX} candidates");
        return Err(Error::new(Code::EndpointInvalid, text));
    }
    texts.iter().map(|text| endpoint(text)).collect()
}

fn path_mtu(mtu: u16) -> Result<u16, Error> {
    if mtu == 0 || (MTU_MIN..=MTU_MAX).contains(&mtu) {
        return Ok(mtu);
    }
    let text = format!("{mtu} is not between {MTU_MIN} and {MTU_MAX}");
    Err(Error::new(Code::MtuInvalid, text))
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::new(Code::Malformed, error.to_string()))
}

fn secret(text: &str) -> Result<StaticSecret, Error> {
    Ok(StaticSecret::from(key(text, "the private key")?))
}

fn public_key(text: &str) -> Result<PublicKey, Error> {
    Ok(PublicKey::from(key(text, text)?))
}

/// 32 bytes in base64; `name` stands for the key in the fault, so that no secret does.
fn key(text: &str, name: &str) -> Result<[u8; 32], Error> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let length = bytes.len();
    bytes.try_into().map_err(|_| {
        let text = format!("{name} has {length} bytes in base64 and not 32");
        Error::new(Code::KeyInvalid, text)
    })
}

fn networks(texts: &[String]) -> Result<Vec<IpNetwork>, Error> {
    texts.iter().map(|text| network(text)).collect()
}

fn network(text: &str) -> Result<IpNetwork, Error> {
    let network: Option<IpNetwork> = text.parse().ok();
    network
        .filter(|network| text.contains('/') && network.ip() == network.network())
        .ok_or_else(|| Error::new(Code::NetworkInvalid, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn options(interface: &str, key: &str, mtu: u16) -> String {
        format!(r#"{{"interface":"{interface}","privateKey":"{key}","port":0,"mtu":{mtu}}}"#)
    }

    fn code<T>(result: Result<T, Error>) -> Option<Code> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn options_are_judged_before_anything_is_made() {
        assert!(Options::parse(&options("edge0", KEY, 1420)).is_ok());
        let cases = [
            ("", KEY, 1420, Code::NameInvalid),
            ("sixteen-letters0", KEY, 1420, Code::NameInvalid),
            ("a/b", KEY, 1420, Code::NameInvalid),
            ("edge%d", KEY, 1420, Code::NameInvalid),
            ("edge0", "c2hvcnQ=", 1420, Code::KeyInvalid),
            ("edge0", "?", 1420, Code::KeyInvalid),
            ("edge0", KEY, 1279, Code::MtuInvalid),
            ("edge0", KEY, 4001, Code::MtuInvalid),
        ];
        for (interface, key, mtu, wanted) in cases {
            assert_eq!(
                code(Options::parse(&options(interface, key, mtu))),
                Some(wanted)
            );
        }
        assert_eq!(code(Options::parse("{}")), Some(Code::Malformed));
    }

    #[test]
    fn a_private_key_is_never_in_a_fault() {
        let fault = Options::parse(&options("edge0", "c2VjcmV0", 1420)).err();
        let text = fault.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(
            text,
            "KEY_INVALID: the private key has 6 bytes in base64 and not 32"
        );
    }

    #[test]
    fn a_delta_with_one_wrong_member_is_refused_whole() {
        let good = format!(
            r#"{{"peers":[{{"publicKey":"{KEY}","allowedIps":["10.0.0.1/32","fd00::/64"],
            "endpoint":"[2001:db8::1]:51820","keepaliveS":25}}],"removePeers":["{KEY}"],
            "addRoutes":["100.64.0.0/16"]}}"#
        );
        assert!(Delta::parse(&good).is_ok());
        let cases = [
            (r#"{"removePeers":["QUJD"]}"#, Code::KeyInvalid),
            (r#"{"addRoutes":["10.0.0.1/24"]}"#, Code::NetworkInvalid),
            (r#"{"addRoutes":["10.0.0.0"]}"#, Code::NetworkInvalid),
            (r#"{"addRoutes":["10.0.0.0/33"]}"#, Code::NetworkInvalid),
            (r#"{"routes":[]}"#, Code::Malformed),
            (r#"{"ownRanges":["10.0.0.1/24"]}"#, Code::NetworkInvalid),
            (r#"{"forwards":"yes"}"#, Code::Malformed),
            (r#"{"previousPrivateKey":"QUJD"}"#, Code::Malformed),
            (r#"{"privateKey":"QUJD"}"#, Code::KeyInvalid),
            (
                r#"{"peers":[{"publicKey":"QUJD","relays":[]}]}"#,
                Code::KeyInvalid,
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(code(Delta::parse(text)), Some(wanted), "{text}");
        }
        let standing = good.replace("\"allowedIps\"", "\"isWatched\":true,\"standbyIps\"");
        assert!(Delta::parse(&standing).is_ok());
        let inside = standing.replace("fd00::/64", "fd00::1/64");
        assert_eq!(code(Delta::parse(&inside)), Some(Code::NetworkInvalid));
        let narrow = good.replace("\"keepaliveS\":25", "\"mtu\":1279");
        assert_eq!(code(Delta::parse(&narrow)), Some(Code::MtuInvalid));
        let placed = good.replace("\"keepaliveS\":25", "\"candidates\":[\"host:1\"]");
        assert_eq!(code(Delta::parse(&placed)), Some(Code::EndpointInvalid));
        let many = vec![r#""192.0.2.1:1""#; CANDIDATES_MAX + 1].join(",");
        let many = good.replace("\"keepaliveS\":25", &format!("\"candidates\":[{many}]"));
        assert_eq!(code(Delta::parse(&many)), Some(Code::EndpointInvalid));
        let relays = |count: usize| {
            let keys = vec![format!("\"{KEY}\""); count].join(",");
            good.replace("\"keepaliveS\":25", &format!("\"relays\":[{keys}]"))
        };
        assert!(Delta::parse(&relays(RELAYS_MAX)).is_ok());
        let many = code(Delta::parse(&relays(RELAYS_MAX + 1)));
        assert_eq!(many, Some(Code::KeyInvalid));
        let renewed = good.replace("\"keepaliveS\":25", "\"previousKey\":\"QUJD\"");
        assert_eq!(code(Delta::parse(&renewed)), Some(Code::KeyInvalid));
        let named = good.replace("[2001:db8::1]:51820", "host:51820");
        assert_eq!(code(Delta::parse(&named)), Some(Code::EndpointInvalid));
    }
}

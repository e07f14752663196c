//! What is asked of a device: JSON in, checked values out. Nothing is applied before all of it is
//! right.

use crate::error::{Code, Error};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::x25519::{PublicKey, StaticSecret};
use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;

/// The kernel's, without the closing zero (IFNAMSIZ).
const NAME_BYTES_MAX: usize = 15;
/// IPv6 needs this much of every link (RFC 8200 §5).
pub const MTU_MIN: u16 = 1280;
/// A packet and WireGuard's 32 bytes around it must fit gotatun's buffers of 4,096.
pub const MTU_MAX: u16 = 4000;

/// What a device's packets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// An interface of the system.
    #[default]
    Tun,
    /// A stack in this program, which needs no privilege.
    Netstack,
}

/// How a device is opened.
pub struct Options {
    pub mode: Mode,
    pub interface: String,
    pub private_key: StaticSecret,
    pub port: u16,
    pub mtu: u16,
    /// Ranges of other machines that a stack serves.
    pub serve: Vec<IpNetwork>,
    /// Path of the socket by which other programs dial through a stack.
    pub door: Option<String>,
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
    port: u16,
    mtu: u16,
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
            port,
            mtu,
        } = given;
        if !is_interface_name(&interface) {
            return Err(Error::new(Code::NameInvalid, interface));
        }
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            let text = format!("{mtu} is not between {MTU_MIN} and {MTU_MAX}");
            return Err(Error::new(Code::MtuInvalid, text));
        }
        Ok(Self {
            mode,
            serve: networks(&serve)?,
            door,
            interface,
            private_key: StaticSecret::from(key(&private_key, "the private key")?),
            port,
            mtu,
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
    pub add_addresses: Vec<IpNetwork>,
    pub peers: Vec<PeerChange>,
    pub remove_peers: Vec<PublicKey>,
    pub remove_routes: Vec<IpNetwork>,
    pub add_routes: Vec<IpNetwork>,
    pub remove_addresses: Vec<IpNetwork>,
}

/// A peer that is to be there. What is absent stays as it is: an endpoint that was learned from
/// packets is no drift.
pub struct PeerChange {
    pub public_key: PublicKey,
    pub allowed_ips: Option<Vec<IpNetwork>>,
    pub endpoint: Option<SocketAddr>,
    /// Zero: none.
    pub keepalive_s: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct DeltaText {
    add_addresses: Vec<String>,
    peers: Vec<PeerText>,
    remove_peers: Vec<String>,
    remove_routes: Vec<String>,
    add_routes: Vec<String>,
    remove_addresses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PeerText {
    public_key: String,
    allowed_ips: Option<Vec<String>>,
    endpoint: Option<String>,
    keepalive_s: Option<u16>,
}

impl Delta {
    /// From the JSON of `DeviceDelta` (mesh/device.ts).
    pub fn parse(text: &str) -> Result<Self, Error> {
        let given: DeltaText = json(text)?;
        let keys = given.remove_peers.iter();
        Ok(Self {
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
        })
    }
}

impl PeerChange {
    fn parse(given: PeerText) -> Result<Self, Error> {
        let endpoint = given.endpoint.map(|text| {
            let bad = |_| Error::new(Code::EndpointInvalid, text.clone());
            text.parse::<SocketAddr>().map_err(bad)
        });
        Ok(Self {
            public_key: public_key(&given.public_key)?,
            allowed_ips: given.allowed_ips.as_deref().map(networks).transpose()?,
            endpoint: endpoint.transpose()?,
            keepalive_s: given.keepalive_s,
        })
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::new(Code::Malformed, error.to_string()))
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
        ];
        for (text, wanted) in cases {
            assert_eq!(code(Delta::parse(text)), Some(wanted), "{text}");
        }
        let named = good.replace("[2001:db8::1]:51820", "host:51820");
        assert_eq!(code(Delta::parse(&named)), Some(Code::EndpointInvalid));
    }
}

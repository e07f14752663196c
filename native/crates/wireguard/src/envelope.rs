//! Messages beside WireGuard's on the same socket, between nodes that are peers of each other.
//!
//! | kind | from → to | body |
//! |---|---|---|
//! | forward | a node → a relay: for the node `to` | a WireGuard message |
//! | forwarded | a relay → that node; `from` is the relay | the same message |
//! | probe | a node → another: do you hear me here? | a number, and room for the answer |
//! | answer | back to where it came from | that number, and the address that was seen |
//! | introduction | a relay → a node that it forwards for | the other one's name, and its address |
//!
//! A node is named by the first eight bytes of its public key. Each message has a tag under the
//! secret that the static keys of the two ends agree on, so a relay serves its peers only and
//! nobody else is answered; and no answer is longer than what it answers. WireGuard's own messages
//! begin with 1 to 4, these never do.

use blake2::Blake2sMac256;
use blake2::digest::{Mac, consts::U32, generic_array::GenericArray};
use bytes::BytesMut;
use gotatun::x25519::PublicKey;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub const FIRST: u8 = 0xed;
const MAGIC: [u8; 3] = [FIRST, b'g', b'e'];
/// Bytes before the body.
pub const HEADER: usize = 32;
const TAGGED: usize = 20;
/// A number, an address and a port.
const PROBE_BODY: usize = 8 + 16 + 2;

/// The first bytes of a public key.
pub type Id = [u8; 8];
/// What two static keys agree on.
pub type Secret = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Forward = 1,
    Forwarded = 2,
    Probe = 3,
    Answer = 4,
    Introduction = 5,
}

/// Who a message is from, and whom for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub from: Id,
    pub to: Id,
}

/// A message that was read, but whose tag was not checked yet.
#[derive(Debug)]
pub struct Envelope<'a> {
    pub kind: Kind,
    pub ends: Ends,
    tagged: &'a [u8],
    tag: &'a [u8],
    pub body: &'a [u8],
}

pub fn id_of(key: &PublicKey) -> Id {
    key.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Kind {
    /// Whether it carries a message of WireGuard.
    fn has_packet(self) -> bool {
        matches!(self, Self::Forward | Self::Forwarded)
    }
}

impl<'a> Envelope<'a> {
    /// None for what is no such message.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (head, body) = message.split_at_checked(HEADER)?;
        let (tagged, tag) = head.split_at_checked(TAGGED)?;
        let kind = match tagged.strip_prefix(&MAGIC)?.first()? {
            1 => Kind::Forward,
            2 => Kind::Forwarded,
            3 => Kind::Probe,
            4 => Kind::Answer,
            5 => Kind::Introduction,
            _ => return None,
        };
        if !kind.has_packet() && body.len() != PROBE_BODY {
            return None;
        }
        Some(Self {
            kind,
            ends: Ends {
                from: *tagged.get(4..)?.first_chunk()?,
                to: *tagged.get(12..)?.first_chunk()?,
            },
            tagged,
            tag,
            body,
        })
    }

    /// Whether it is from somebody who has the secret.
    pub fn is_from(&self, secret: &Secret) -> bool {
        let mac = mac(secret, self.kind, self.tagged, self.body);
        mac.verify_truncated_left(self.tag).is_ok()
    }

    /// The number of a probe or its answer.
    pub fn number(&self) -> u64 {
        let number = self.body.first_chunk().copied();
        u64::from_be_bytes(number.unwrap_or_default())
    }

    /// Whom an introduction is about.
    pub fn about(&self) -> Id {
        self.number().to_be_bytes()
    }

    /// The address that an answer or an introduction tells.
    pub fn seen(&self) -> Option<SocketAddr> {
        let address: [u8; 16] = *self.body.get(8..)?.first_chunk()?;
        let port = u16::from_be_bytes(*self.body.get(24..)?.first_chunk()?);
        let v6 = Ipv6Addr::from(address);
        let ip = v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4);
        Some(SocketAddr::new(ip, port))
    }
}

/// A message with its tag.
pub fn seal(kind: Kind, ends: Ends, secret: &Secret, body: &[u8]) -> BytesMut {
    let mut message = BytesMut::with_capacity(HEADER + body.len());
    message.extend_from_slice(&MAGIC);
    message.extend_from_slice(&[kind as u8]);
    message.extend_from_slice(&ends.from);
    message.extend_from_slice(&ends.to);
    let tag = mac(secret, kind, &message, body).finalize().into_bytes();
    message.extend_from_slice(tag.get(..HEADER - TAGGED).unwrap_or_default());
    message.extend_from_slice(body);
    message
}

pub fn probe(ends: Ends, secret: &Secret, number: u64) -> BytesMut {
    let mut body = [0; PROBE_BODY];
    put(&mut body, 0, &number.to_be_bytes());
    seal(Kind::Probe, ends, secret, &body)
}

pub fn answer(ends: Ends, secret: &Secret, number: u64, seen: SocketAddr) -> BytesMut {
    telling(Kind::Answer, ends, secret, (number, seen))
}

/// Tells one node where another one is.
pub fn introduction(ends: Ends, secret: &Secret, about: Id, at: SocketAddr) -> BytesMut {
    let number = u64::from_be_bytes(about);
    telling(Kind::Introduction, ends, secret, (number, at))
}

fn telling(kind: Kind, ends: Ends, secret: &Secret, (number, seen): (u64, SocketAddr)) -> BytesMut {
    let mut body = [0; PROBE_BODY];
    let address = match seen.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    put(&mut body, 0, &number.to_be_bytes());
    put(&mut body, 8, &address.octets());
    put(&mut body, 24, &seen.port().to_be_bytes());
    seal(kind, ends, secret, &body)
}

fn put(body: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = body.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// A WireGuard message proves itself, so of it only the length is tagged.
fn mac(secret: &Secret, kind: Kind, tagged: &[u8], body: &[u8]) -> Blake2sMac256 {
    let key: &GenericArray<u8, U32> = secret.into();
    let mut mac = <Blake2sMac256 as blake2::digest::KeyInit>::new(key);
    mac.update(tagged);
    mac.update(&(body.len() as u64).to_be_bytes());
    if !kind.has_packet() {
        mac.update(body);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends {
        from: [1; 8],
        to: [2; 8],
    };

    #[test]
    fn what_is_sealed_is_read_and_known() {
        let seen: SocketAddr = "192.0.2.7:51820".parse().unwrap();
        let message = answer(ENDS, &[7; 32], 99, seen);
        let envelope = Envelope::parse(&message).unwrap();
        assert_eq!((envelope.kind, envelope.ends), (Kind::Answer, ENDS));
        assert_eq!((envelope.number(), envelope.seen()), (99, Some(seen)));
        assert!(envelope.is_from(&[7; 32]));
        assert!(!envelope.is_from(&[8; 32]));
        assert_eq!(
            message.len(),
            probe(ENDS, &[7; 32], 99).len(),
            "no answer is longer"
        );
    }

    #[test]
    fn every_byte_that_is_changed_is_noticed() {
        let message = probe(ENDS, &[7; 32], 99);
        for place in 0..message.len() {
            let mut changed = message.clone();
            changed[place] ^= 0x40;
            let is_from = Envelope::parse(&changed).is_some_and(|one| one.is_from(&[7; 32]));
            assert!(!is_from, "byte {place}");
        }
        let mut longer = seal(Kind::Forward, ENDS, &[7; 32], b"packet");
        longer.extend_from_slice(b"!");
        assert!(!Envelope::parse(&longer).unwrap().is_from(&[7; 32]));
    }

    #[test]
    fn an_introduction_tells_whom_and_where() {
        let at: SocketAddr = "[2001:db8::7]:51820".parse().unwrap();
        let message = introduction(ENDS, &[7; 32], [9; 8], at);
        let envelope = Envelope::parse(&message).unwrap();
        assert_eq!((envelope.about(), envelope.seen()), ([9; 8], Some(at)));
        assert!(envelope.is_from(&[7; 32]));
        let mut changed = message.clone();
        changed[HEADER] ^= 1;
        assert!(!Envelope::parse(&changed).unwrap().is_from(&[7; 32]));
    }

    #[test]
    fn what_is_wireguards_or_too_short_is_no_envelope() {
        let probe = probe(ENDS, &[7; 32], 1);
        let cases: [&[u8]; 5] = [b"", &[4; 60], &probe[..31], &probe[..40], &[FIRST; 60]];
        for message in cases {
            assert!(Envelope::parse(message).is_none(), "{message:?}");
        }
    }
}

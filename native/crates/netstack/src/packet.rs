//! IP packets: what the stack needs of their heads, and nothing of fragments.

use crate::checksum::Sum;
use bytes::{BufMut, BytesMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocols that are understood here.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const ICMPV6: u8 = 58;

const IPV4_HEAD: usize = 20;
const IPV6_HEAD: usize = 40;
const HOPS: u8 = 64;
/// WireGuard's head and tag go around a packet: room for them in the same allocation.
const ROOM_AROUND: usize = 64;

/// A packet's contents and between whom.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub target: IpAddr,
    pub protocol: u8,
    pub payload: &'a [u8],
}

/// The bytes of the head before the payload.
pub fn head_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => IPV4_HEAD,
        IpAddr::V6(_) => IPV6_HEAD,
    }
}

/// None for what is no whole packet: cut, a fragment (RFC 791 §2.3), with extension heads (RFC 8200
/// §4, which TCP's packets have none of in practice), or with a wrong checksum.
pub fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => parse_v4(bytes),
        6 => parse_v6(bytes),
        _ => None,
    }
}

fn parse_v4(bytes: &[u8]) -> Option<Packet<'_>> {
    let head_length = usize::from(bytes.first()? & 15) * 4;
    let head = bytes.get(..head_length)?;
    let total = usize::from(u16_at(head, 2)?);
    let fragment = u16_at(head, 6)? & 0x3fff; // more fragments, or not the first
    if head_length < IPV4_HEAD || fragment != 0 || Sum::default().add(head).finish() != [0, 0] {
        return None;
    }
    Some(Packet {
        source: Ipv4Addr::from(array_at::<4>(head, 12)?).into(),
        target: Ipv4Addr::from(array_at::<4>(head, 16)?).into(),
        protocol: *head.get(9)?,
        payload: bytes.get(head_length..total)?,
    })
}

fn parse_v6(bytes: &[u8]) -> Option<Packet<'_>> {
    let head = bytes.get(..IPV6_HEAD)?;
    let length = usize::from(u16_at(head, 4)?);
    Some(Packet {
        source: Ipv6Addr::from(array_at::<16>(head, 8)?).into(),
        target: Ipv6Addr::from(array_at::<16>(head, 24)?).into(),
        protocol: *head.get(6)?,
        payload: bytes.get(IPV6_HEAD..IPV6_HEAD + length)?,
    })
}

/// A packet of which `length` bytes of payload are to be appended.
pub fn begin(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> BytesMut {
    let mut packet = BytesMut::with_capacity(head_bytes(source) + length + ROOM_AROUND);
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let mut head = [0_u8; IPV4_HEAD];
            {
                let mut to = head.as_mut_slice();
                to.put_slice(&[0x45, 0]);
                to.put_u16(wire_length(IPV4_HEAD + length));
                to.put_u16(0);
                to.put_u16(0x4000); // DF: it fits, or its sender is told (RFC 1191)
                to.put_slice(&[HOPS, protocol, 0, 0]);
                to.put_slice(&source.octets());
                to.put_slice(&target.octets());
            }
            let sum = Sum::default().add(&head).finish();
            if let Some(field) = head.get_mut(10..12) {
                field.copy_from_slice(&sum);
            }
            packet.put_slice(&head);
        }
        (source, target) => {
            packet.put_u32(0x6000_0000);
            packet.put_u16(wire_length(length));
            packet.put_slice(&[protocol, HOPS]);
            packet.put_slice(&octets(source));
            packet.put_slice(&octets(target));
        }
    }
    packet
}

/// The sum over the pseudo-head (RFC 9293 §3.1, RFC 8200 §8.1).
pub fn pseudo_sum(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> Sum {
    let sum = match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            Sum::default().add(&source.octets()).add(&target.octets())
        }
        (source, target) => Sum::default().add(&octets(source)).add(&octets(target)),
    };
    let [high, low] = wire_length(length).to_be_bytes();
    sum.add(&[0, protocol, high, low])
}

/// Writes the checksum of what follows the IP head at `offset` after it.
pub fn seal(packet: &mut BytesMut, (sum, head): (Sum, usize), offset: usize) {
    let sum = sum.add(packet.get(head..).unwrap_or_default()).finish();
    if let Some(field) = packet.get_mut(head + offset..head + offset + 2) {
        field.copy_from_slice(&sum);
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn wire_length(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at::<2>(bytes, at).map(u16::from_be_bytes)
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at::<4>(bytes, at).map(u32::from_be_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The answer to an echo request (RFC 792, RFC 4443 §4.2); None for everything else.
pub fn echo_reply(request: &Packet<'_>) -> Option<BytesMut> {
    let (asks, answers) = match request.protocol {
        ICMP => (8, 0),
        ICMPV6 => (128, 129),
        _ => return None,
    };
    if request.payload.get(..2)? != [asks, 0] {
        return None;
    }
    let (source, target) = (request.target, request.source);
    let length = request.payload.len();
    let mut packet = begin(source, target, request.protocol, length);
    packet.put_slice(&[answers, 0, 0, 0]);
    packet.put_slice(request.payload.get(4..)?);
    let sum = match request.protocol {
        ICMPV6 => pseudo_sum(source, target, ICMPV6, length),
        _ => Sum::default(),
    };
    seal(&mut packet, (sum, head_bytes(source)), 2);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, target: &str, protocol: u8, payload: &[u8]) -> BytesMut {
        let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
        let mut packet = begin(source, target, protocol, payload.len());
        packet.put_slice(payload);
        packet
    }

    #[test]
    fn what_is_built_is_read_again() {
        for (source, target) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
            let bytes = packet(source, target, TCP, b"abc");
            let read = parse(&bytes).unwrap();
            assert_eq!(read.source, source.parse::<IpAddr>().unwrap());
            assert_eq!(read.target, target.parse::<IpAddr>().unwrap());
            assert_eq!((read.protocol, read.payload), (TCP, b"abc".as_slice()));
        }
    }

    #[test]
    fn what_is_no_whole_packet_is_none() {
        let good = packet("10.0.0.1", "10.0.0.2", TCP, b"abc");
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_none(), "{length}");
        }
        let mut fragment = good.clone();
        fragment[6] = 0x20;
        let mut flipped = good.clone();
        flipped[15] ^= 1;
        let mut short_head = good.clone();
        short_head[0] = 0x44;
        for bad in [fragment, flipped, short_head] {
            assert!(parse(&bad).is_none());
        }
        let v6 = packet("fd00::1", "fd00::2", TCP, b"abc");
        for length in 0..v6.len() {
            assert!(parse(&v6[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn an_echo_request_is_answered_and_nothing_else() {
        let cases = [
            ("10.0.0.1", "10.0.0.2", ICMP, 8, 0),
            ("fd00::1", "fd00::2", ICMPV6, 128, 129),
        ];
        for (source, target, protocol, asks, answers) in cases {
            let request = packet(source, target, protocol, &[asks, 0, 0, 0, 7, 7, 7]);
            let reply = echo_reply(&parse(&request).unwrap()).unwrap();
            let reply = parse(&reply).unwrap();
            assert_eq!(reply.source, target.parse::<IpAddr>().unwrap());
            assert_eq!(reply.payload[0], answers);
            assert_eq!(&reply.payload[4..], [7, 7, 7]);
            let other = packet(source, target, protocol, &[answers, 0, 0, 0]);
            assert!(echo_reply(&parse(&other).unwrap()).is_none());
        }
        assert!(echo_reply(&parse(&packet("10.0.0.1", "10.0.0.2", ICMP, &[8])).unwrap()).is_none());
    }
}

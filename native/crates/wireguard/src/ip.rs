//! What is read of an IP packet, and the little that is written.

use crate::checksum::{fold, sum, updated};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const V4_HEADER_MIN: usize = 20;
const V6_HEADER: usize = 40;
const TCP_HEADER_MIN: usize = 20;
const SYN: u8 = 0x02;
/// Kinds of TCP options (RFC 9293 §3.2).
const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_MSS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// Where the parts of a packet are; every range given here lies inside it.
#[derive(Clone, Copy, Debug)]
pub struct Ip {
    pub family: Family,
    /// What follows the header; an extension header of IPv6 is not looked behind.
    pub protocol: u8,
    /// Bytes before what follows.
    pub header: usize,
    /// Bytes of the packet; what is beyond is padding.
    pub total: usize,
    pub is_fragment: bool,
    pub source: IpAddr,
    pub destination: IpAddr,
}

impl Ip {
    /// None for what is no whole IP packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let ip = match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }?;
        (ip.header <= ip.total && ip.total <= packet.len()).then_some(ip)
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; V4_HEADER_MIN] = packet.first_chunk()?;
        let header = usize::from(fixed[0] & 0x0f) * 4;
        let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
        (header >= V4_HEADER_MIN).then_some(Self {
            family: Family::V4,
            protocol: fixed[9],
            header,
            total: usize::from(u16::from_be_bytes([fixed[2], fixed[3]])),
            is_fragment: fragment & 0x3fff != 0,
            source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
            destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let fixed: &[u8; V6_HEADER] = packet.first_chunk()?;
        let address = |from: usize| -> Option<IpAddr> {
            let bytes: [u8; 16] = fixed.get(from..from + 16)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        };
        Some(Self {
            family: Family::V6,
            protocol: fixed[6],
            header: V6_HEADER,
            total: V6_HEADER + usize::from(u16::from_be_bytes([fixed[4], fixed[5]])),
            is_fragment: false,
            source: address(8)?,
            destination: address(24)?,
        })
    }

    /// Where the hops are that it may still take.
    fn hops(&self) -> usize {
        match self.family {
            Family::V4 => 8,
            Family::V6 => 7,
        }
    }

    /// Where the payload of a TCP packet begins; none for anything else.
    pub fn tcp_payload(&self, packet: &[u8]) -> Option<usize> {
        if self.protocol != TCP || self.is_fragment {
            return None;
        }
        let tcp = usize::from(packet.get(self.header + 12)? >> 4) * 4;
        let payload = self.header + tcp;
        (tcp >= TCP_HEADER_MIN && payload <= self.total).then_some(payload)
    }
}

/// Writes a number of two bytes; beyond the end it does nothing.
pub fn put16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// A number of two bytes; zero beyond the end.
pub fn get16(packet: &[u8], at: usize) -> u16 {
    match packet.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u16::from_be_bytes(*bytes),
        None => 0,
    }
}

/// Gives an IP header the length of a packet that was split or joined.
pub fn put_length(head: &mut [u8], ip: &Ip, total: usize) {
    match ip.family {
        Family::V4 => {
            put16(head, 2, total as u16);
            put16(head, 10, 0);
            let header = head.get(..ip.header).unwrap_or_default();
            let checksum = !fold(sum(header, 0));
            put16(head, 10, checksum);
        }
        Family::V6 => put16(head, 4, (total - V6_HEADER) as u16),
    }
}

/// A packet goes on to another machine; false when it has come too far already.
pub fn count_hop(packet: &mut [u8], ip: &Ip) -> bool {
    let Some(hops) = packet.get_mut(ip.hops()).filter(|hops| **hops > 1) else {
        return false;
    };
    *hops -= 1;
    if ip.family == Family::V4 {
        // The protocol is the other half of the word.
        let now = get16(packet, 8);
        let checksum = updated(get16(packet, 10), now.wrapping_add(0x0100), now);
        put16(packet, 10, checksum);
    }
    true
}

/// Whether packets from or to an address go on from one link to another one (RFC 1812 §5.3.7,
/// RFC 4291 §2.5).
pub fn is_routed(address: IpAddr) -> bool {
    let is_kept = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let is_of_link = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !is_kept && !is_of_link
}

/// Lowers the maximum segment size that a TCP peer offers to what fits into packets of `mtu`, so
/// that no path needs to say that a packet is too big (which many never do).
pub fn clamp_mss(packet: &mut [u8], ip: &Ip, mtu: u16) {
    let Some(payload) = ip.tcp_payload(packet) else {
        return;
    };
    let is_syn = packet
        .get(ip.header + 13)
        .is_some_and(|flags| flags & SYN != 0);
    if !is_syn {
        return;
    }
    let around = match ip.family {
        Family::V4 => V4_HEADER_MIN + TCP_HEADER_MIN,
        Family::V6 => V6_HEADER + TCP_HEADER_MIN,
    };
    let most = mtu.saturating_sub(around as u16);
    let Some(at) = mss_option(packet, ip.header + TCP_HEADER_MIN, payload) else {
        return;
    };
    let offered = get16(packet, at);
    if offered <= most {
        return;
    }
    put16(packet, at, most);
    // At an odd place its bytes belong to two words of the checksum, the other way round.
    let is_odd = (at - ip.header) % 2 == 1;
    let turned = |value: u16| if is_odd { value.swap_bytes() } else { value };
    let checksum = get16(packet, ip.header + 16);
    let checksum = updated(checksum, turned(offered), turned(most));
    put16(packet, ip.header + 16, checksum);
}

/// Where the value of the MSS option is among the options of a TCP header.
fn mss_option(packet: &[u8], mut at: usize, end: usize) -> Option<usize> {
    while at < end {
        let kind = *packet.get(at)?;
        match kind {
            OPTION_END => return None,
            OPTION_NOTHING => at += 1,
            _ => {
                let length = usize::from(*packet.get(at + 1)?);
                if kind == OPTION_MSS && length == 4 && at + 4 <= end {
                    return Some(at + 2);
                }
                if length < 2 {
                    return None;
                }
                at += length;
            }
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::checksum::pseudo;

    /// A TCP packet with a right checksum.
    pub fn tcp(family: Family, seq: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let length = TCP_HEADER_MIN + options.len() + payload.len();
        let mut packet = match family {
            Family::V4 => {
                let mut head = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, TCP, 0, 0];
                head.extend([10, 0, 0, 1, 10, 0, 0, 2]);
                head
            }
            Family::V6 => {
                let mut head = vec![0x60, 0, 0, 0, 0, 0, TCP, 64];
                head.extend([[0xfd; 16], [0xfe; 16]].concat());
                head
            }
        };
        let header = packet.len();
        packet.extend([0x12, 0x34, 0x00, 0x50]);
        packet.extend(seq.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend([((20 + options.len()) << 2) as u8, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend(options);
        packet.extend(payload);
        let ip = Ip {
            header,
            ..Ip::parse(&lengthened(&packet, family, header + length)).expect("an IP packet")
        };
        put_length(&mut packet, &ip, header + length);
        let start = pseudo(family, &packet, TCP, length);
        let checksum = !fold(sum(&packet[header..], start));
        put16(&mut packet, header + 16, checksum);
        packet
    }

    fn lengthened(packet: &[u8], family: Family, total: usize) -> Vec<u8> {
        let mut packet = packet.to_vec();
        match family {
            Family::V4 => put16(&mut packet, 2, total as u16),
            Family::V6 => put16(&mut packet, 4, (total - 40) as u16),
        }
        packet
    }

    /// Whether the checksum of a TCP packet is right.
    pub fn is_right(packet: &[u8]) -> bool {
        let ip = Ip::parse(packet).expect("an IP packet");
        let start = pseudo(ip.family, packet, TCP, ip.total - ip.header);
        let is_header_right =
            ip.family == Family::V6 || fold(sum(&packet[..ip.header], 0)) == 0xffff;
        is_header_right && fold(sum(&packet[ip.header..ip.total], start)) == 0xffff
    }

    #[test]
    fn a_syn_offers_no_more_than_fits() {
        for (family, most) in [(Family::V4, 1380), (Family::V6, 1360)] {
            // The option stands at an even place, and behind one byte at an odd one.
            for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 0, 0, 0]] {
                let mut packet = tcp(family, 1, SYN, options, b"");
                let ip = Ip::parse(&packet).expect("an IP packet");
                clamp_mss(&mut packet, &ip, 1420);
                let at = ip.header + 20 + options.len().min(8) / 8 + 2;
                assert_eq!(get16(&packet, at), most);
                assert!(is_right(&packet));
                let clamped = packet.clone();
                clamp_mss(&mut packet, &ip, 1500);
                assert_eq!(packet, clamped, "it is never raised");
            }
        }
    }

    #[test]
    fn a_hop_is_counted_and_the_last_one_is_the_end() {
        for (family, at) in [(Family::V4, 8), (Family::V6, 7)] {
            let mut packet = tcp(family, 1, 0x10, &[], b"abc");
            let ip = Ip::parse(&packet).expect("an IP packet");
            for left in (1..64).rev() {
                assert!(count_hop(&mut packet, &ip));
                assert_eq!(packet[at], left);
                assert!(is_right(&packet), "{left} of {family:?}");
            }
            assert!(!count_hop(&mut packet, &ip));
            packet[at] = 0;
            assert!(!count_hop(&mut packet, &ip));
            assert_eq!(packet[at], 0);
        }
    }

    #[test]
    fn a_checksum_that_was_wrong_stays_wrong() {
        let mut packet = tcp(Family::V4, 1, 0x10, &[], b"abc");
        packet[1] ^= 1;
        let ip = Ip::parse(&packet).expect("an IP packet");
        assert!(count_hop(&mut packet, &ip));
        assert!(!is_right(&packet));
    }

    #[test]
    fn some_addresses_are_of_one_link_only() {
        let is = |text: &str| is_routed(text.parse().expect("an address"));
        let kept = "0.0.0.0 127.0.0.1 169.254.1.1 224.0.0.5 255.255.255.255 :: ::1 fe80::1 ff02::1";
        assert!(!kept.split(' ').any(is));
        assert!("10.0.0.1 192.0.2.255 fd00::1".split(' ').all(is));
    }

    #[test]
    fn what_is_no_syn_or_has_broken_options_is_left_alone() {
        let cases = [
            tcp(Family::V4, 1, 0x10, &[2, 4, 0x05, 0xb4], b""),
            tcp(Family::V4, 1, SYN, &[2, 0, 0x05, 0xb4], b""),
            tcp(Family::V4, 1, SYN, &[3, 200, 2, 4], b""),
            tcp(Family::V6, 1, SYN, &[0, 2, 4, 9], b""),
        ];
        for packet in cases {
            let mut clamped = packet.clone();
            let ip = Ip::parse(&packet).expect("an IP packet");
            clamp_mss(&mut clamped, &ip, 1280);
            assert_eq!(clamped, packet);
        }
    }

    #[test]
    fn what_is_no_whole_packet_is_none() {
        let whole = tcp(Family::V4, 1, 0x10, &[], b"abc");
        assert!(Ip::parse(&whole).is_some());
        assert!(Ip::parse(&whole[..whole.len() - 1]).is_none());
        for packet in [&[][..], &[0x45], &[0x60; 39], &[0x44; 40], &[0x75; 40]] {
            assert!(Ip::parse(packet).is_none(), "{packet:?}");
        }
    }
}

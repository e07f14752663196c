//! TCP segments that follow each other, joined to one packet for the kernel: it then works once for
//! up to 64 kB and not once for each 1,400 bytes.
//!
//! Only what a receiver could not tell from the parts is joined, as the kernel's own GRO does it:
//! equal headers but for the sequence number, the checksum, and PSH on the last.

use crate::checksum::{fold, pseudo, sum};
use crate::ip::{Family, Ip, TCP, put_length, put16};
use crate::segments::{HEADER, Header};

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const PACKET_MAX: usize = 65_535;
/// Headers of a joined packet: IPv6 and TCP with all options, behind the virtio header.
const HEAD_MAX: usize = HEADER + 40 + 60;

/// Packets to be written as one.
pub struct Group {
    /// Places in the list of packets.
    pub members: Vec<usize>,
    ip: Ip,
    /// Where the payload begins.
    payload: usize,
    size: usize,
    joined: usize,
    next_seq: u32,
    has_push: bool,
    is_closed: bool,
    is_first_right: bool,
}

/// Sorts packets into groups; the order within a flow stays.
pub fn group(packets: &[impl AsRef<[u8]>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, packet) in packets.iter().enumerate() {
        let packet = packet.as_ref();
        let Some(ip) = Ip::parse(packet) else {
            continue;
        };
        let Some(payload) = ip.tcp_payload(packet) else {
            groups.push(Group::alone(place, ip));
            continue;
        };
        // The youngest of this flow: an older one was closed by what did not fit.
        let flow = flow_of(packet, &ip);
        let same = groups.iter_mut().rev().find(|group| {
            let first = group.members.first().and_then(|&first| packets.get(first));
            group.payload > 0
                && first.is_some_and(|first| flow_of(first.as_ref(), &group.ip) == flow)
        });
        let is_taken = same.is_some_and(|group| {
            let first = group.members.first().and_then(|&first| packets.get(first));
            first.is_some_and(|first| group.take(first.as_ref(), packet, &ip, payload, place))
        });
        if !is_taken {
            groups.push(Group::of_tcp(place, packet, ip, payload));
        }
    }
    groups
}

/// Addresses and ports.
fn flow_of<'a>(packet: &'a [u8], ip: &Ip) -> Option<(&'a [u8], &'a [u8])> {
    let addresses = match ip.family {
        Family::V4 => packet.get(12..20),
        Family::V6 => packet.get(8..40),
    };
    Some((addresses?, packet.get(ip.header..ip.header + 4)?))
}

impl Group {
    fn alone(place: usize, ip: Ip) -> Self {
        Self {
            members: vec![place],
            ip,
            payload: 0,
            size: 0,
            joined: 0,
            next_seq: 0,
            has_push: false,
            is_closed: true,
            is_first_right: false,
        }
    }

    fn of_tcp(place: usize, packet: &[u8], ip: Ip, payload: usize) -> Self {
        let size = ip.total - payload;
        let is_plain = flags_of(packet, &ip) == ACK && has_no_options(packet, &ip);
        Self {
            members: vec![place],
            ip,
            payload,
            size,
            joined: size,
            next_seq: seq_of(packet, &ip).wrapping_add(size as u32),
            has_push: false,
            is_closed: size == 0 || !is_plain,
            is_first_right: false,
        }
    }

    /// Joins a packet to these if it continues them.
    fn take(&mut self, first: &[u8], packet: &[u8], ip: &Ip, payload: usize, place: usize) -> bool {
        let size = ip.total - payload;
        let flags = flags_of(packet, ip);
        let fits = !self.is_closed
            && payload == self.payload
            && (1..=self.size).contains(&size)
            && self.payload + self.joined + size <= PACKET_MAX
            && seq_of(packet, ip) == self.next_seq
            && flags & !PSH == ACK
            && is_alike(first, packet, &self.ip);
        // A joined packet has a new checksum, which must not make a broken one good.
        if fits && !self.is_first_right {
            self.is_first_right = is_right(first, &self.ip);
        }
        if !fits || !self.is_first_right || !is_right(packet, ip) {
            self.is_closed = true;
            return false;
        }
        self.members.push(place);
        self.joined += size;
        self.next_seq = self.next_seq.wrapping_add(size as u32);
        self.has_push = flags & PSH != 0;
        self.is_closed = size < self.size || self.has_push;
        true
    }

    /// What comes before the payloads when the group is more than one: the virtio header and the
    /// headers of the joined packet.
    pub fn head(&self, first: &[u8]) -> Option<Vec<u8>> {
        let headers = first.get(..self.payload)?;
        let mut head = Vec::with_capacity(HEAD_MAX);
        head.extend(Header::joined(&self.ip, self.size).encode(self.payload));
        head.extend(headers);
        let packet = head.get_mut(HEADER..)?;
        let total = self.payload + self.joined;
        put_length(packet, &self.ip, total);
        if self.has_push
            && let Some(flags) = packet.get_mut(self.ip.header + 13)
        {
            *flags |= PSH;
        }
        // The kernel adds the rest where it is wanted.
        let begun = fold(pseudo(self.ip.family, packet, TCP, total - self.ip.header));
        put16(packet, self.ip.header + 16, begun);
        Some(head)
    }

    /// Where the payload of each member is.
    pub fn payload_of<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload..).unwrap_or_default()
    }
}

fn flags_of(packet: &[u8], ip: &Ip) -> u8 {
    packet.get(ip.header + 13).copied().unwrap_or(0)
}

fn seq_of(packet: &[u8], ip: &Ip) -> u32 {
    let bytes = packet.get(ip.header + 4..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn has_no_options(packet: &[u8], ip: &Ip) -> bool {
    ip.family == Family::V6 || packet.first() == Some(&0x45)
}

/// Whether two packets of one flow differ only where parts of one may. Lengths were compared.
fn is_alike(one: &[u8], other: &[u8], ip: &Ip) -> bool {
    let same = |from: usize, to: usize| one.get(from..to) == other.get(from..to);
    let is_ip_same = match ip.family {
        // Type of service; the bit that forbids fragments; time to live and protocol.
        Family::V4 => same(0, 2) && same(6, 7) && same(8, 10),
        Family::V6 => same(0, 4) && same(6, 8),
    };
    let tcp = ip.header;
    let payload = ip.tcp_payload(one).unwrap_or(tcp);
    // Acknowledgement and length of the header; window; urgent pointer and options.
    is_ip_same && same(tcp + 8, tcp + 13) && same(tcp + 14, tcp + 16) && same(tcp + 18, payload)
}

fn is_right(packet: &[u8], ip: &Ip) -> bool {
    let header = packet.get(..ip.header).unwrap_or_default();
    if ip.family == Family::V4 && fold(sum(header, 0)) != 0xffff {
        return false;
    }
    let begun = pseudo(ip.family, packet, TCP, ip.total - ip.header);
    let segment = packet.get(ip.header..ip.total).unwrap_or_default();
    fold(sum(segment, begun)) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::tests::tcp;
    use crate::segments::{Buffers, split};

    fn segment(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        tcp(Family::V4, seq, flags, &[], payload)
    }

    fn members(packets: &[Vec<u8>]) -> Vec<Vec<usize>> {
        group(packets)
            .into_iter()
            .map(|group| group.members)
            .collect()
    }

    #[test]
    fn what_is_joined_and_split_again_is_what_it_was() {
        for family in [Family::V4, Family::V6] {
            let part = |seq, flags, payload: &[u8]| tcp(family, seq, flags, &[1, 1, 1, 0], payload);
            let packets = [
                part(100, ACK, &[1; 1000]),
                part(1100, ACK, &[2; 1000]),
                part(2100, ACK | PSH, &[3; 77]),
            ];
            let groups = group(&packets);
            assert_eq!(groups.len(), 1);
            let mut joined = groups[0].head(&packets[0]).expect("a head");
            for packet in &packets {
                joined.extend(groups[0].payload_of(packet));
            }
            let (header, packet) = joined.split_at_mut(HEADER);
            let header = Header::decode(header.first_chunk().expect("a header"));
            let mut parts = Vec::new();
            split(header, packet, &mut Buffers::default(), &mut parts).expect("a whole one");
            // The first ones of IPv4 have one number each; ours count on from the first.
            let payloads = |packets: &[&[u8]]| -> Vec<Vec<u8>> {
                packets.iter().map(|packet| packet[24..].to_vec()).collect()
            };
            let told: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
            let given: Vec<&[u8]> = packets.iter().map(|part| &part[..]).collect();
            assert_eq!(payloads(&told), payloads(&given));
        }
    }

    #[test]
    fn a_gap_a_short_one_and_a_push_end_a_group() {
        let big = [7; 100];
        assert_eq!(
            members(&[segment(0, ACK, &big), segment(200, ACK, &big)]),
            [[0], [1]]
        );
        let short = [
            segment(0, ACK, &big),
            segment(100, ACK, &big[..9]),
            segment(109, ACK, &big),
        ];
        assert_eq!(members(&short), [vec![0, 1], vec![2]]);
        let pushed = [
            segment(0, ACK, &big),
            segment(100, ACK | PSH, &big),
            segment(200, ACK, &big),
        ];
        assert_eq!(members(&pushed), [vec![0, 1], vec![2]]);
        let longer = [segment(0, ACK, &big[..9]), segment(9, ACK, &big)];
        assert_eq!(members(&longer), [[0], [1]]);
    }

    #[test]
    fn what_differs_is_not_joined() {
        let first = segment(0, ACK, &[7; 100]);
        let next = segment(100, ACK, &[7; 100]);
        assert_eq!(members(&[first.clone(), next.clone()]), [[0, 1]]);
        // Type of service, fragment bits, time to live; acknowledgement, flags, window, checksum.
        for place in [1, 6, 8, 28, 33, 34, 37] {
            let mut other = next.clone();
            other[place] ^= 1;
            let joined = members(&[first.clone(), other]);
            assert_eq!(joined, [[0], [1]], "byte {place}");
        }
        let mut broken = first;
        broken[60] ^= 1;
        assert_eq!(members(&[broken, next]), [[0], [1]], "a broken first one");
    }

    #[test]
    fn flows_between_each_other_are_joined_each() {
        let of = |port: u8, seq| {
            let mut packet = segment(seq, ACK, &[0; 10]);
            let old = packet[20];
            packet[20] = port;
            let checksum = crate::ip::get16(&packet, 36);
            let word = |high: u8| u16::from_be_bytes([high, packet[21]]);
            let checksum = crate::checksum::updated(checksum, word(old), word(port));
            put16(&mut packet, 36, checksum);
            packet
        };
        let packets = [of(1, 0), of(2, 0), of(1, 10), of(2, 10)];
        assert_eq!(members(&packets), [[0, 2], [1, 3]]);
    }
}

//! Packets as a TUN interface with offload gives and takes them: one with a header before it that
//! says how it is to be cut, or what its checksum is still lacking (virtio 1.2 §5.1.6).

use crate::checksum::{fold, pseudo, sum};
use crate::ip::{Family, Ip, TCP, UDP, get16, put_length, put16};
use bytes::BytesMut;

/// Bytes of the header before a packet.
pub const HEADER: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCP_V4: u8 = 1;
const GSO_TCP_V6: u8 = 4;
const GSO_UDP: u8 = 5;
/// Set beside the kind of TCP when a packet carries ECN.
const GSO_ECN: u8 = 0x80;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;
const UDP_HEADER: usize = 8;

/// `struct virtio_net_hdr`, whose numbers are in the machine's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    flags: u8,
    kind: u8,
    /// Of the payload of each packet.
    size: usize,
    checksum_start: usize,
    checksum_offset: usize,
}

impl Header {
    pub fn decode(bytes: &[u8; HEADER]) -> Self {
        let number = |low: u8, high: u8| usize::from(u16::from_ne_bytes([low, high]));
        Self {
            flags: bytes[0],
            kind: bytes[1] & !GSO_ECN,
            size: number(bytes[4], bytes[5]),
            checksum_start: number(bytes[6], bytes[7]),
            checksum_offset: number(bytes[8], bytes[9]),
        }
    }

    /// For TCP segments of `size` that were joined to one packet.
    pub fn joined(ip: &Ip, size: usize) -> Self {
        let kind = match ip.family {
            Family::V4 => GSO_TCP_V4,
            Family::V6 => GSO_TCP_V6,
        };
        Self {
            flags: NEEDS_CHECKSUM,
            kind,
            size,
            checksum_start: ip.header,
            checksum_offset: 16,
        }
    }

    /// `head` is how long the headers of the packet are.
    pub fn encode(&self, head: usize) -> [u8; HEADER] {
        let [h, s, b, o] = [head, self.size, self.checksum_start, self.checksum_offset]
            .map(|number| (number as u16).to_ne_bytes());
        [
            self.flags, self.kind, h[0], h[1], s[0], s[1], b[0], b[1], o[0], o[1],
        ]
    }
}

/// Packet buffers that were used and can be again.
#[derive(Default)]
pub struct Buffers(Vec<BytesMut>);

/// So many are kept; more than one turn of a loop fills.
const KEPT_MAX: usize = 256;

impl Buffers {
    /// An empty one.
    pub fn take(&mut self) -> BytesMut {
        self.0.pop().unwrap_or_default()
    }

    pub fn give(&mut self, mut buffer: BytesMut) {
        if self.0.len() < KEPT_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Cuts what was read into packets with right checksums, at the end of `packets`; none for what
/// cannot be read.
pub fn split(
    header: Header,
    packet: &mut [u8],
    buffers: &mut Buffers,
    packets: &mut Vec<BytesMut>,
) -> Option<()> {
    match header.kind {
        0 => whole(header, packet, buffers, packets),
        GSO_TCP_V4 | GSO_TCP_V6 => segments(header, TCP, packet, buffers, packets),
        GSO_UDP => segments(header, UDP, packet, buffers, packets),
        _ => None,
    }
}

fn whole(
    header: Header,
    packet: &mut [u8],
    buffers: &mut Buffers,
    packets: &mut Vec<BytesMut>,
) -> Option<()> {
    if header.flags & NEEDS_CHECKSUM != 0 {
        // The field holds the sum over the pseudo header already.
        let checksum = !fold(sum(packet.get(header.checksum_start..)?, 0));
        let checksum = not_none(checksum, header.checksum_offset == 6);
        put16(
            packet,
            header.checksum_start + header.checksum_offset,
            checksum,
        );
    }
    let mut buffer = buffers.take();
    buffer.extend_from_slice(packet);
    packets.push(buffer);
    Some(())
}

fn segments(
    header: Header,
    protocol: u8,
    packet: &[u8],
    buffers: &mut Buffers,
    packets: &mut Vec<BytesMut>,
) -> Option<()> {
    let mut ip = Ip::parse(packet)?;
    // Behind the extension headers of IPv6, where there are some.
    let start = header.checksum_start;
    if start < ip.header || header.size == 0 {
        return None;
    }
    if ip.family == Family::V4 {
        ip.header = start;
    }
    let length = match protocol {
        TCP => usize::from(packet.get(start + 12)? >> 4) * 4,
        _ => UDP_HEADER,
    };
    let head = packet.get(..start + length)?;
    let payload = packet.get(start + length..ip.total)?;
    let seq = u32::from_be_bytes(*packet.get(start + 4..)?.first_chunk()?);
    let id = get16(packet, 4);
    let pieces = payload.chunks(header.size);
    let last = pieces.len().checked_sub(1)?;
    for (place, piece) in pieces.enumerate() {
        let mut buffer = buffers.take();
        buffer.extend_from_slice(head);
        buffer.extend_from_slice(piece);
        if ip.family == Family::V4 {
            put16(&mut buffer, 4, id.wrapping_add(place as u16));
        }
        let total = buffer.len();
        put_length(&mut buffer, &ip, total);
        let checksum_at = if protocol == TCP {
            let offset = (place * header.size) as u32;
            put_tcp(
                &mut buffer,
                start,
                seq.wrapping_add(offset),
                place == 0,
                place == last,
            );
            start + 16
        } else {
            put16(&mut buffer, start + 4, (total - start) as u16);
            start + 6
        };
        put16(&mut buffer, checksum_at, 0);
        let begun = pseudo(ip.family, &buffer, protocol, total - start);
        let checksum = !fold(sum(buffer.get(start..)?, begun));
        put16(
            &mut buffer,
            checksum_at,
            not_none(checksum, protocol == UDP),
        );
        packets.push(buffer);
    }
    Some(())
}

/// RFC 768: a zero would say that there is no checksum.
fn not_none(checksum: u16, is_udp: bool) -> u16 {
    if is_udp && checksum == 0 {
        0xffff
    } else {
        checksum
    }
}

/// RFC 9293 §3.8.1 lets a sender put PSH and FIN on the last only; RFC 3168 §6.1.2 has CWR on one.
fn put_tcp(packet: &mut [u8], start: usize, seq: u32, is_first: bool, is_last: bool) {
    if let Some(place) = packet.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&seq.to_be_bytes());
    }
    if let Some(flags) = packet.get_mut(start + 13) {
        if !is_last {
            *flags &= !(FIN | PSH);
        }
        if !is_first {
            *flags &= !CWR;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::tests::{is_right, tcp};

    const ACK: u8 = 0x10;

    fn split_of(header: Header, packet: &[u8]) -> Vec<BytesMut> {
        let mut packets = Vec::new();
        let _ = split(
            header,
            &mut packet.to_vec(),
            &mut Buffers::default(),
            &mut packets,
        );
        packets
    }

    #[test]
    fn a_big_tcp_packet_becomes_segments_that_say_the_same() {
        for family in [Family::V4, Family::V6] {
            let payload: Vec<u8> = (0..3500_u32).map(|n| n as u8).collect();
            let packet = tcp(
                family,
                u32::MAX - 1000,
                ACK | PSH | FIN | CWR,
                &[1, 1, 1, 0],
                &payload,
            );
            let ip = Ip::parse(&packet).expect("an IP packet");
            let header = Header::joined(&ip, 1000);
            let header = Header::decode(&header.encode(ip.header + 24));
            let packets = split_of(header, &packet);
            let sizes: Vec<_> = packets.iter().map(|p| p.len() - ip.header - 24).collect();
            assert_eq!(sizes, [1000, 1000, 1000, 500]);
            assert!(packets.iter().all(|packet| is_right(packet)));
            let told: Vec<u8> = packets
                .iter()
                .flat_map(|packet| packet[ip.header + 24..].to_vec())
                .collect();
            assert_eq!(told, payload);
            let flags: Vec<_> = packets
                .iter()
                .map(|packet| packet[ip.header + 13])
                .collect();
            assert_eq!(flags, [ACK | CWR, ACK, ACK, ACK | PSH | FIN]);
            let seqs: Vec<_> = packets
                .iter()
                .map(|packet| get16(packet, ip.header + 6))
                .collect();
            let first = (u32::MAX - 1000) as u16;
            assert_eq!(seqs, [0, 1000, 2000, 3000].map(|n| first.wrapping_add(n)));
        }
    }

    #[test]
    fn a_checksum_that_is_lacking_is_made() {
        let right = tcp(Family::V6, 5, ACK, &[], b"odd");
        let ip = Ip::parse(&right).expect("an IP packet");
        let mut packet = right.clone();
        let begun = fold(pseudo(Family::V6, &packet, TCP, ip.total - ip.header));
        put16(&mut packet, ip.header + 16, begun);
        let header = Header {
            flags: NEEDS_CHECKSUM,
            checksum_start: ip.header,
            checksum_offset: 16,
            ..Header::default()
        };
        assert_eq!(split_of(header, &packet), [right]);
    }

    #[test]
    fn what_lies_about_itself_is_lost() {
        let packet = tcp(Family::V4, 5, ACK, &[], b"abc");
        let ip = Ip::parse(&packet).expect("an IP packet");
        let good = Header::joined(&ip, 1);
        let cases = [
            Header { size: 0, ..good },
            Header {
                checksum_start: 4,
                ..good
            },
            Header {
                checksum_start: 60_000,
                ..good
            },
            Header { kind: 3, ..good },
        ];
        for header in cases {
            assert_eq!(split_of(header, &packet).len(), 0, "{header:?}");
        }
        assert_eq!(split_of(good, &packet[..30]).len(), 0);
    }
}

//! From the interface to the network.

use crate::ip::{Ip, UDP, clamp_mss, get16};
use crate::peer::Peer;
use crate::plane::Plane;
use crate::segments::Buffers;
use crate::socket::Datagram;
use crate::table::Reader;
use crate::tun::{READ_BYTES, Read};
use bytes::BytesMut;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// So many datagrams leave at the latest together.
const FLUSH_AT: usize = 128;

/// The path's thread.
pub struct Outbound<'a> {
    plane: &'a Plane,
    reader: Reader,
    buffers: Buffers,
    packets: Vec<BytesMut>,
    datagrams: Vec<Datagram>,
}

impl<'a> Outbound<'a> {
    pub fn new(plane: &'a Plane) -> Self {
        Self {
            plane,
            reader: Reader::new(&plane.current),
            buffers: Buffers::default(),
            packets: Vec::new(),
            datagrams: Vec::new(),
        }
    }

    pub fn run(mut self) {
        let mut space = vec![0; READ_BYTES];
        let tun = &self.plane.tun;
        loop {
            match tun.read(&mut space, &mut self.buffers, &mut self.packets) {
                Read::Packets => self.seal(),
                // What was read before leaves when there is no more, or enough.
                Read::Nothing => {
                    self.flush();
                    if !self.plane.wait(tun.as_fd()) {
                        return;
                    }
                }
                Read::Gone => return,
            }
            if self.datagrams.len() >= FLUSH_AT {
                self.flush();
            }
        }
    }

    /// Encrypts the packets of one read, which all go to one address.
    fn seal(&mut self) {
        let Some(first) = self.packets.first_mut() else {
            return;
        };
        let table = self.reader.table(&self.plane.current);
        let ip = Ip::parse(first);
        let peer = ip.as_ref().and_then(|ip| table.owner(ip.destination));
        let (Some(ip), Some(peer)) = (ip, peer) else {
            self.packets
                .drain(..)
                .for_each(|packet| self.buffers.give(packet));
            return;
        };
        if is_our_own(self.plane, &ip, first, peer) {
            self.packets
                .drain(..)
                .for_each(|packet| self.buffers.give(packet));
            return;
        }
        clamp_mss(first, &ip, peer.mtu(self.plane.mtu));
        let mtu = self.plane.mtu;
        let padded = self.packets.drain(..).map(|mut packet| {
            pad(&mut packet, mtu);
            packet
        });
        let datagrams = &mut self.datagrams;
        peer.seal(self.plane, &table.keys, padded, |to, bytes| {
            datagrams.push(Datagram { to, bytes });
        });
    }

    fn flush(&mut self) {
        self.plane.udp.send(&self.datagrams);
        for datagram in self.datagrams.drain(..) {
            self.buffers.give(datagram.bytes);
        }
    }
}

/// WireGuard pads to hide the length, as far as the interface lets it.
pub fn pad(packet: &mut BytesMut, mtu: u16) {
    let length = packet.len();
    let padded = length.next_multiple_of(16).min(usize::from(mtu));
    packet.resize(padded.max(length), 0);
}

/// Whether a packet is one that this device encrypted for the same peer: its endpoint then lies
/// inside its own addresses, and the packet would go round until it is too long.
fn is_our_own(plane: &Plane, ip: &Ip, packet: &[u8], peer: &Peer) -> bool {
    if ip.protocol != UDP || ip.is_fragment || get16(packet, ip.header) != plane.udp.port() {
        return false;
    }
    let to = SocketAddr::new(ip.destination, get16(packet, ip.header + 2));
    peer.endpoint() == Some(to)
}

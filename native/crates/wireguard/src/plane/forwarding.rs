//! From one peer to another one: a packet that was decrypted and is for neither this node nor the
//! one that sent it. It never comes to the interface: it is encrypted where it was decrypted,
//! together with what arrived with it.

use crate::ip::{Ip, clamp_mss, count_hop, is_routed};
use crate::peer::Peer;
use crate::plane::Plane;
use crate::plane::outbound::pad;
use crate::segments::Buffers;
use crate::socket::Datagram;
use crate::table::Table;
use bytes::BytesMut;
use std::net::IpAddr;
use std::sync::Arc;

/// What becomes of a packet.
#[derive(Clone)]
pub enum Fate {
    /// It is for the interface.
    Here,
    /// It goes on to this peer.
    On(Arc<Peer>),
    /// It would go back to who sent it, or from outside to outside.
    Lost,
}

/// What goes on in one turn of the inbound path, which has at most one packet for each that came.
#[derive(Default)]
pub struct Forwarding {
    /// The sender and the addresses of the last packet of this turn, and what became of it.
    last: Option<(u32, [IpAddr; 2], Fate)>,
    waiting: Vec<(Arc<Peer>, Vec<BytesMut>)>,
    datagrams: Vec<Datagram>,
}

impl Forwarding {
    /// Where a packet of a peer goes, which may send it.
    pub fn fate(&mut self, table: &Table, sender: &Arc<Peer>, ip: &Ip) -> Fate {
        if !table.forwards {
            return Fate::Here;
        }
        let ends = [ip.source, ip.destination];
        match &self.last {
            Some((number, known, fate)) if (*number, *known) == (sender.number, ends) => {
                fate.clone()
            }
            _ => {
                let fate = fate_of(table, sender, ends);
                self.last = Some((sender.number, ends, fate.clone()));
                fate
            }
        }
    }

    /// Takes a packet that came by a way of `mtu`. Gives back one that has no hop left.
    pub fn take(
        &mut self,
        plane: &Plane,
        next: Arc<Peer>,
        (mut packet, ip): (BytesMut, &Ip),
        mtu: u16,
    ) -> Option<BytesMut> {
        if !count_hop(&mut packet, ip) {
            return Some(packet);
        }
        clamp_mss(&mut packet, ip, next.mtu(plane.mtu).min(mtu));
        pad(&mut packet, plane.mtu);
        let mut known = self.waiting.iter_mut().rev();
        match known.find(|(peer, _)| Arc::ptr_eq(peer, &next)) {
            Some((_, packets)) => packets.push(packet),
            None => self.waiting.push((next, vec![packet])),
        }
        None
    }

    /// The turn is over. Where the socket takes no more, packets are lost: whoever sends to others
    /// must not wait for this one.
    pub fn flush(&mut self, plane: &Plane, table: &Table, buffers: &mut Buffers) {
        self.last = None;
        if self.waiting.is_empty() {
            return;
        }
        let datagrams = &mut self.datagrams;
        for (peer, packets) in self.waiting.drain(..) {
            peer.seal(plane, &table.keys, packets.into_iter(), |to, bytes| {
                datagrams.push(Datagram { to, bytes });
            });
        }
        plane.udp.send_at_once(datagrams);
        for datagram in datagrams.drain(..) {
            buffers.give(datagram.bytes);
        }
    }
}

fn fate_of(table: &Table, sender: &Arc<Peer>, ends: [IpAddr; 2]) -> Fate {
    let [source, destination] = ends;
    match table.next(destination) {
        Some(_) if !is_routed(source) || !is_routed(destination) => Fate::Here,
        Some(next) if Arc::ptr_eq(next, sender) => Fate::Lost,
        // What comes from outside goes inside, or it could go round.
        Some(next) if !sender.is_inside() && !next.is_inside() => Fate::Lost,
        Some(next) => Fate::On(Arc::clone(next)),
        None => Fate::Here,
    }
}

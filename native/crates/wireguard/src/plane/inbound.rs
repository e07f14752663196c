//! From the network to the interface.

use crate::envelope::{self, Ends, Envelope, Id, Kind, id_of};
use crate::ip::{Ip, clamp_mss};
use crate::keys::{Judged, initiator};
use crate::paths::{Pairs, Quota, is_carried};
use crate::peer::Peer;
use crate::plane::forwarding::{Fate, Forwarding};
use crate::plane::{Destination, Plane, index_of};
use crate::relay::Way;
use crate::segments::Buffers;
use crate::socket::{Datagram, RECEIVE_BYTES};
use crate::stun;
use crate::table::{Reader, Table};
use bytes::BytesMut;
use gotatun::packet::{Packet, WgKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

/// First bytes of WireGuard's messages.
pub const COOKIE_REPLY: u8 = 3;
const TRANSPORT: u8 = 4;
/// Where a transport message or a cookie names its receiver, and where a response does.
const RECEIVER: std::ops::Range<usize> = 4..8;
const RESPONSE_RECEIVER: std::ops::Range<usize> = 8..12;
/// A transport message with nothing in it: its head and its tag.
const KEEPALIVE_BYTES: usize = 32;
/// After an error of the socket that is none of a packet.
const ERROR_PAUSE_MS: u16 = 10;

/// Where a message comes from: an address, and the relay that is there when one forwarded it.
struct Origin {
    address: SocketAddr,
    relay: Option<Arc<Peer>>,
}

impl Origin {
    fn directly(&self) -> Option<SocketAddr> {
        self.relay.is_none().then_some(self.address)
    }
}

/// The path's thread.
pub struct Inbound<'a> {
    plane: &'a Plane,
    reader: Reader,
    buffers: Buffers,
    /// Where the last message went, and its index: most often the next one's.
    last: Option<(u32, Destination)>,
    /// An address that was seen to be the last peer's in the table of this turn.
    allowed: Option<IpAddr>,
    packets: Vec<BytesMut>,
    forwarding: Forwarding,
    answers: Vec<Datagram>,
    /// Those that this node is a relay for.
    pairs: Pairs,
    /// Questions of anybody that are still answered.
    questions: Quota,
}

impl<'a> Inbound<'a> {
    pub fn new(plane: &'a Plane) -> Self {
        Self {
            plane,
            reader: Reader::new(&plane.current),
            buffers: Buffers::default(),
            last: None,
            allowed: None,
            packets: Vec::new(),
            forwarding: Forwarding::default(),
            answers: Vec::new(),
            pairs: Pairs::default(),
            questions: Quota::new(stun::ANSWERS_AT_ONCE, stun::ANSWERS_PER_SECOND),
        }
    }

    pub fn run(mut self) {
        let mut space = vec![0; RECEIVE_BYTES];
        let udp = &self.plane.udp;
        loop {
            match udp.receive(&mut space) {
                Ok(Some(arrival)) => {
                    let table = Arc::clone(self.reader.table(&self.plane.current));
                    let got = space.get(..arrival.length).unwrap_or_default();
                    let from = Origin {
                        address: arrival.from,
                        relay: None,
                    };
                    for message in got.chunks(arrival.stride) {
                        self.take(&table, message, &from);
                    }
                    self.flush(&table);
                }
                Ok(None) => {
                    if !self.plane.wait(udp.as_fd()) {
                        return;
                    }
                }
                Err(_) => {
                    if !self.plane.pause(ERROR_PAUSE_MS) {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, table: &Table, message: &[u8], from: &Origin) {
        match message.first() {
            Some(&TRANSPORT) => self.take_packet(table, message, from),
            Some(&COOKIE_REPLY) => {
                let destination = self.plane.destination(message, RECEIVER);
                let cookie = Packet::copy_from(message).try_into_wg();
                if let (Some((peer, serial)), Ok(cookie)) = (destination, cookie) {
                    peer.open(self.plane, serial, cookie, from.directly());
                }
            }
            Some(&envelope::FIRST) => {
                if let (Some(envelope), None) = (Envelope::parse(message), &from.relay) {
                    self.take_envelope(table, &envelope, from.address);
                }
            }
            Some(&stun::FIRST) => self.take_question(table, message, from),
            Some(_) => self.take_handshake(table, message, from),
            None => {}
        }
    }

    /// Somebody asks a relay how the network shows him.
    fn take_question(&mut self, table: &Table, message: &[u8], from: &Origin) {
        let at = from.directly().filter(|at| is_outside(table, *at));
        if let (Some(_), Some(at)) = (self.plane.relay, at)
            && let Some(answer) = stun::answer(message, at)
            && self.questions.take(Instant::now(), 1.0)
        {
            self.answer(at, answer);
        }
    }

    fn take_handshake(&mut self, table: &Table, message: &[u8], from: &Origin) {
        let (own, kind) = match table.keys.judge(from.address, message) {
            Judged::For(own, kind) => (own, kind),
            Judged::Answer(cookie) => {
                // Through a relay it would not find back: nobody was proven to be there.
                if from.relay.is_none() {
                    let bytes = Packet::from(cookie);
                    self.answer(from.address, BytesMut::from(&bytes[..]));
                }
                return;
            }
            Judged::Nothing => return,
        };
        let (peer, answers) = match &kind {
            WgKind::HandshakeInit(initiation) => {
                let Some(remote) = initiator(&own, initiation) else {
                    return;
                };
                let Some(peer) = table.peer(&remote) else {
                    self.plane.early.lock().note(remote, Instant::now());
                    return;
                };
                let told = (&own, kind);
                let directly = from.directly();
                let answers = peer.answer(self.plane, &table.keys, &remote, told, directly);
                (Arc::clone(peer), answers)
            }
            _ => match self.plane.destination(message, RESPONSE_RECEIVER) {
                Some((peer, serial)) => {
                    let (_, answers) = peer.open(self.plane, serial, kind, from.directly());
                    (peer, answers)
                }
                None => return,
            },
        };
        let own = &table.keys.current;
        let way = match (&from.relay, peer.spoken()) {
            (Some(relay), Some(key)) => Way::back(own, relay, from.address, id_of(&key)),
            // Who reaches us directly may not be reached so.
            _ if !answers.is_empty() => peer.way(own).and_directly(from.address),
            _ => return,
        };
        for bytes in answers {
            way.send(bytes, &mut |to, bytes| self.answer(to, bytes));
        }
    }

    /// A message beside WireGuard's, of a peer who proves that it is one.
    fn take_envelope(&mut self, table: &Table, envelope: &Envelope, from: SocketAddr) {
        let Ends { from: id, to } = envelope.ends;
        let Some(peer) = table.named(id) else { return };
        // Through the tunnel a peer is always there, which says nothing of the way around it.
        if !is_outside(table, from) {
            return;
        }
        let Some(key) = peer.key_of(id) else { return };
        let own = table.keys.all().find(|own| {
            let is_ours = envelope.kind == Kind::Forward || id_of(&own.public) == to;
            is_ours && envelope.is_from(&peer.secret(own, &key))
        });
        let Some(own) = own else { return };
        let back = Ends {
            from: id_of(&own.public),
            to: id,
        };
        match envelope.kind {
            Kind::Forward => self.forward(table, (peer, id), to, envelope.body),
            Kind::Forwarded => {
                if envelope.body.len() > KEEPALIVE_BYTES {
                    peer.was_heard_through(from);
                }
                let relay = Some(Arc::clone(peer));
                let address = from;
                self.take(table, envelope.body, &Origin { address, relay });
            }
            Kind::Probe if peer.may_be_answered() => {
                let secret = peer.secret(own, &key);
                let answer = envelope::answer(back, &secret, envelope.number(), from);
                self.answer(from, answer);
                peer.introduce(from);
            }
            Kind::Probe => {}
            Kind::Answer => peer.answered(envelope.number(), from, envelope.seen()),
            Kind::Introduction => {
                let at = envelope.seen();
                let at = at.filter(|at| is_outside(table, *at) && !is_carried(*at));
                if let (Some(about), Some(at)) = (table.named(envelope.about()), at) {
                    about.introduce(at);
                }
            }
        }
    }

    /// Hands a message of a peer to another one, if this node is a relay.
    fn forward(&mut self, table: &Table, (sender, from): (&Arc<Peer>, Id), to: Id, body: &[u8]) {
        let Some(limits) = self.plane.relay else {
            return;
        };
        let receiver = table.named(to).filter(|peer| !Arc::ptr_eq(peer, sender));
        let known = receiver.and_then(|peer| Some((peer, peer.endpoint()?, peer.key_of(to)?)));
        let Some((receiver, endpoint, key)) = known else {
            return;
        };
        let is_within = sender.may_forward(body.len(), limits);
        let places = [(from, sender.endpoint()), (to, Some(endpoint))];
        let pair = self.pairs.admit(Instant::now(), places, limits.pairs_max);
        let Some(is_introduction_due) = pair.filter(|_| is_within) else {
            sender.count_refused();
            return;
        };
        sender.count_forwarded(body.len());
        let own = &table.keys.current;
        let ends = |to| Ends {
            from: id_of(&own.public),
            to,
        };
        let secret = receiver.secret(own, &key);
        let message = envelope::seal(Kind::Forwarded, ends(to), &secret, body);
        self.answer(endpoint, message);
        // Where each was proven to be, and not where this message came from: so nobody can have
        // it sent elsewhere.
        let placed = sender.endpoint().filter(|at| !is_carried(*at));
        if is_introduction_due
            && !is_carried(endpoint)
            && let (Some(at), Some(key)) = (placed, sender.key_of(from))
        {
            self.answer(
                endpoint,
                envelope::introduction(ends(to), &secret, from, at),
            );
            let secret = sender.secret(own, &key);
            self.answer(
                at,
                envelope::introduction(ends(from), &secret, to, endpoint),
            );
        }
    }

    fn answer(&mut self, to: SocketAddr, bytes: BytesMut) {
        self.answers.push(Datagram { to, bytes });
    }

    fn take_packet(&mut self, table: &Table, message: &[u8], from: &Origin) {
        let Some(index) = index_of(message, RECEIVER) else {
            return;
        };
        if self.last.as_ref().is_none_or(|(last, _)| *last != index) {
            let destination = self.plane.destination(message, RECEIVER);
            self.last = destination.map(|destination| (index, destination));
            self.allowed = None;
        }
        let Some((_, (peer, serial))) = &self.last else {
            return;
        };
        let mut buffer = self.buffers.take();
        buffer.extend_from_slice(message);
        let Ok(kind) = Packet::from_bytes(buffer).try_into_wg() else {
            return;
        };
        let mtu = peer.mtu(self.plane.mtu);
        let (packet, _) = peer.open(self.plane, *serial, kind, from.directly());
        let Some(mut packet) = packet else {
            return;
        };
        let ip = Ip::parse(&packet);
        let allowed = ip.filter(|ip| {
            self.allowed == Some(ip.source) || {
                let may_send = table.may_send(peer, ip.source);
                if may_send {
                    self.allowed = Some(ip.source);
                }
                may_send
            }
        });
        let Some(ip) = allowed else {
            self.buffers.give(packet); // a keepalive, or nothing of this peer's
            return;
        };
        packet.truncate(ip.total);
        let unused = match self.forwarding.fate(table, peer, &ip) {
            Fate::Here => {
                clamp_mss(&mut packet, &ip, mtu);
                self.packets.push(packet);
                None
            }
            Fate::On(next) => self.forwarding.take(self.plane, next, (packet, &ip), mtu),
            Fate::Lost => Some(packet),
        };
        if let Some(packet) = unused {
            self.buffers.give(packet);
        }
    }

    fn flush(&mut self, table: &Table) {
        self.plane.udp.send(&self.answers);
        self.answers.clear();
        self.plane.tun.write(&self.packets);
        self.forwarding.flush(self.plane, table, &mut self.buffers);
        for packet in self.packets.drain(..) {
            self.buffers.give(packet);
        }
        // The next turn may have another table, in which the peer is gone or has lost addresses.
        self.last = None;
    }
}

/// Whether an address is none of the mesh's own.
fn is_outside(table: &Table, at: SocketAddr) -> bool {
    table.owner(at.ip()).is_none()
}

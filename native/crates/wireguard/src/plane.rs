//! The packet paths of a device: one thread from the interface to the network, one back, and one
//! for the timers of all peers.
//!
//! What they share with those who change the device is the table (table.rs), which they read
//! without waiting, and each peer's own lock, which a change holds for some assignments.

use crate::ip::{Ip, UDP, clamp_mss, get16};
use crate::keys::{Judged, OwnKeys, initiator};
use crate::peer::Peer;
use crate::segments::Buffers;
use crate::socket::{Datagram, RECEIVE_BYTES, UdpEnd};
use crate::table::{Current, Reader, Table};
use crate::tun::{READ_BYTES, Read, TunEnd};
use bytes::BytesMut;
use gotatun::noise::index_table::IndexTable;
use gotatun::packet::{Packet, WgKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// First bytes of WireGuard's messages.
const COOKIE_REPLY: u8 = 3;
const TRANSPORT: u8 = 4;
/// Where a transport message or a cookie names its receiver.
const RECEIVER: std::ops::Range<usize> = 4..8;
const RESPONSE_RECEIVER: std::ops::Range<usize> = 8..12;
/// So many datagrams leave at the latest together.
const FLUSH_AT: usize = 128;
/// The timers of each peer run once in all turns together: four times a second, as the core wants.
const TURNS: usize = 5;
const TURN_MS: u16 = 50;
/// After an error of the socket that is none of a packet.
const ERROR_PAUSE_MS: u16 = 10;

pub struct Plane {
    pub mtu: u16,
    pub indices: IndexTable,
    pub current: Current,
    tun: TunEnd,
    udp: UdpEnd,
    by_index: Mutex<HashMap<u32, Destination>>,
    /// Peers that the timers do not know yet.
    newcomers: Mutex<Vec<Arc<Peer>>>,
    next_serial: AtomicU32,
    /// Readable when the paths are to end.
    stop: EventFd,
}

/// What a thread of a plane does until it is to end.
type Path = fn(&Plane);
/// A peer and the serial of its tunnel.
type Destination = (Arc<Peer>, u32);

impl Plane {
    pub fn new(tun: TunEnd, udp: UdpEnd, mtu: u16, keys: OwnKeys) -> io::Result<Self> {
        Ok(Self {
            mtu,
            indices: IndexTable::from_os_rng(),
            current: Current::new(Table::new(keys)),
            tun,
            udp,
            by_index: Mutex::default(),
            newcomers: Mutex::default(),
            next_serial: AtomicU32::new(0),
            stop: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// Packets pass from now on.
    pub fn start(self: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        let paths: [(&str, Path); 3] = [
            ("wireguard-out", |plane| Outbound::new(plane).run()),
            ("wireguard-in", |plane| Inbound::new(plane).run()),
            ("wireguard-time", run_timers),
        ];
        let start = |(name, path): (&str, Path)| {
            let plane = Arc::clone(self);
            let builder = std::thread::Builder::new().name(name.to_owned());
            builder.spawn(move || path(&plane))
        };
        paths.into_iter().map(start).collect()
    }

    /// Lets the paths end.
    pub fn stop(&self) {
        let _ = self.stop.write(1);
    }

    /// A number for a tunnel that no other one has.
    pub fn serial(&self) -> u32 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// Messages for this index go to that tunnel.
    pub fn lead(&self, index: u32, peer: &Arc<Peer>, serial: u32) {
        self.by_index
            .lock()
            .insert(index, (Arc::clone(peer), serial));
    }

    /// Whether an index is in use; forgets it when not.
    pub fn keep(&self, index: u32) -> bool {
        let is_used = self.indices.in_use(index);
        if !is_used {
            self.by_index.lock().remove(&index);
        }
        is_used
    }

    pub fn unregister(&self, indices: &[u32]) {
        let mut by_index = self.by_index.lock();
        for index in indices {
            by_index.remove(index);
        }
    }

    /// The timers of a peer run from now on.
    pub fn time(&self, peer: Arc<Peer>) {
        self.newcomers.lock().push(peer);
    }

    fn destination(&self, message: &[u8], place: std::ops::Range<usize>) -> Option<Destination> {
        let index = index_of(message, place)?;
        self.by_index.lock().get(&index).cloned()
    }

    /// Waits until there is something to read; false when the path is to end.
    fn wait(&self, fd: BorrowedFd) -> bool {
        let mut fds = [
            PollFd::new(fd, PollFlags::POLLIN),
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [_, stop] = fds;
        !stop.any().unwrap_or(false)
    }

    /// False when the path is to end.
    fn pause(&self, ms: u16) -> bool {
        let mut fds = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        !matches!(poll(&mut fds, PollTimeout::from(ms)), Ok(1..))
    }
}

/// From the interface to the network.
struct Outbound<'a> {
    plane: &'a Plane,
    reader: Reader,
    buffers: Buffers,
    packets: Vec<BytesMut>,
    datagrams: Vec<Datagram>,
}

impl<'a> Outbound<'a> {
    fn new(plane: &'a Plane) -> Self {
        Self {
            plane,
            reader: Reader::new(&plane.current),
            buffers: Buffers::default(),
            packets: Vec::new(),
            datagrams: Vec::new(),
        }
    }

    fn run(mut self) {
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
        let most = usize::from(self.plane.mtu);
        let padded = self.packets.drain(..).map(|mut packet| {
            // WireGuard pads to hide the length, as far as the interface lets it.
            let length = packet.len();
            packet.resize(length.next_multiple_of(16).min(most).max(length), 0);
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

/// From the network to the interface.
struct Inbound<'a> {
    plane: &'a Plane,
    reader: Reader,
    buffers: Buffers,
    /// Where the last message went, and its index: most often the next one's.
    last: Option<(u32, Destination)>,
    /// An address that was seen to be the last peer's in the table of this turn.
    allowed: Option<IpAddr>,
    packets: Vec<BytesMut>,
    answers: Vec<Datagram>,
}

impl<'a> Inbound<'a> {
    fn new(plane: &'a Plane) -> Self {
        Self {
            plane,
            reader: Reader::new(&plane.current),
            buffers: Buffers::default(),
            last: None,
            allowed: None,
            packets: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn run(mut self) {
        let mut space = vec![0; RECEIVE_BYTES];
        let udp = &self.plane.udp;
        loop {
            match udp.receive(&mut space) {
                Ok(Some(arrival)) => {
                    let table = Arc::clone(self.reader.table(&self.plane.current));
                    let got = space.get(..arrival.length).unwrap_or_default();
                    for message in got.chunks(arrival.stride) {
                        self.take(&table, message, arrival.from);
                    }
                    self.flush();
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

    fn take(&mut self, table: &Table, message: &[u8], from: SocketAddr) {
        match message.first() {
            Some(&TRANSPORT) => self.take_packet(table, message, from),
            Some(&COOKIE_REPLY) => {
                let destination = self.plane.destination(message, RECEIVER);
                let cookie = Packet::copy_from(message).try_into_wg();
                if let (Some((peer, serial)), Ok(cookie)) = (destination, cookie) {
                    peer.open(self.plane, serial, cookie, from);
                }
            }
            Some(_) => self.take_handshake(table, message, from),
            None => {}
        }
    }

    fn take_handshake(&mut self, table: &Table, message: &[u8], from: SocketAddr) {
        let (own, kind) = match table.keys.judge(from, message) {
            Judged::For(own, kind) => (own, kind),
            Judged::Answer(cookie) => {
                let bytes = Packet::from(cookie);
                self.answer(from, BytesMut::from(&bytes[..]));
                return;
            }
            Judged::Nothing => return,
        };
        let answers = match &kind {
            WgKind::HandshakeInit(initiation) => {
                let Some(remote) = initiator(&own, initiation) else {
                    return;
                };
                let Some(peer) = table.peer(&remote) else {
                    return;
                };
                peer.answer(self.plane, &table.keys, &remote, (&own, kind), from)
            }
            _ => match self.plane.destination(message, RESPONSE_RECEIVER) {
                Some((peer, serial)) => peer.open(self.plane, serial, kind, from).1,
                None => return,
            },
        };
        for bytes in answers {
            self.answer(from, bytes);
        }
    }

    fn answer(&mut self, to: SocketAddr, bytes: BytesMut) {
        self.answers.push(Datagram { to, bytes });
    }

    fn take_packet(&mut self, table: &Table, message: &[u8], from: SocketAddr) {
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
        let (packet, _) = peer.open(self.plane, *serial, kind, from);
        let Some(mut packet) = packet else {
            return;
        };
        match Ip::parse(&packet) {
            Some(ip) if self.is_allowed(table, ip.source) => {
                packet.truncate(ip.total);
                clamp_mss(&mut packet, &ip, mtu);
                self.packets.push(packet);
            }
            _ => self.buffers.give(packet), // a keepalive, or nothing of this peer's
        }
    }

    /// Whether packets to this address would go to the peer that sends from it.
    fn is_allowed(&mut self, table: &Table, source: IpAddr) -> bool {
        if self.allowed == Some(source) {
            return true;
        }
        let peer = self.last.as_ref().map(|(_, (peer, _))| peer);
        let owner = table.owner(source);
        let is_owner =
            matches!((peer, owner), (Some(peer), Some(owner)) if Arc::ptr_eq(peer, owner));
        if is_owner {
            self.allowed = Some(source);
        }
        is_owner
    }

    fn flush(&mut self) {
        self.plane.udp.send(&self.answers);
        self.answers.clear();
        self.plane.tun.write(&self.packets);
        for packet in self.packets.drain(..) {
            self.buffers.give(packet);
        }
        // The next turn may have another table, in which the peer is gone or has lost addresses.
        self.last = None;
    }
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

fn index_of(message: &[u8], place: std::ops::Range<usize>) -> Option<u32> {
    let bytes = message.get(place)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// The timers of all peers.
fn run_timers(plane: &Plane) {
    let mut reader = Reader::new(&plane.current);
    let mut peers: Vec<Arc<Peer>> = Vec::new();
    let mut datagrams = Vec::new();
    for turn in (0..TURNS).cycle() {
        let table = reader.table(&plane.current);
        table.keys.reset_limits();
        let mut send = |to, bytes| datagrams.push(Datagram { to, bytes });
        let places = (peers.len() * turn / TURNS)..(peers.len() * (turn + 1) / TURNS);
        for place in places.rev() {
            let Some(peer) = peers.get(place) else {
                continue;
            };
            if !peer.tick(plane, &table.keys, &mut send) {
                peers.swap_remove(place);
            }
        }
        let newcomers = std::mem::take(&mut *plane.newcomers.lock());
        for peer in newcomers {
            if peer.tick(plane, &table.keys, &mut send) {
                peers.push(peer);
            }
        }
        plane.udp.send(&datagrams);
        datagrams.clear();
        if !plane.pause(TURN_MS) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;

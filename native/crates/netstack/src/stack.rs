//! All connections of a node: which packet belongs to which, and when each has something to do.

use crate::limits::{
    CONNECTIONS_MAX, HALF_OPEN_MAX, PACKETS_MAX, RECEIVE_BYTES_MAX, RECEIVE_BYTES_UNDER_PRESSURE,
    RECEIVED_BYTES_MAX,
};
use crate::packet::{self, Packet};
use crate::segment::{ACK, RST, SYN, Segment};
use crate::tcp::{Connection, Ends, Phase};
use bytes::BytesMut;
use ipnetwork::IpNetwork;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::hash_map::RandomState;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Instant;

/// Ports that nobody asks for by number (RFC 6335 §6; the range of Linux).
const PORTS: std::ops::Range<u16> = 32_768..61_000;
/// Packets of one connection before it is another one's turn.
const TURN_PACKETS: usize = 64;

/// Who waits for a connection.
#[derive(Default)]
pub struct Waiting {
    pub open: Option<Waker>,
    pub read: Option<Waker>,
    pub write: Option<Waker>,
}

struct Entry {
    connection: Connection,
    waiting: Waiting,
    /// Somebody has it in hand.
    is_held: bool,
    is_ready: bool,
    is_touched: bool,
    is_half_open: bool,
    /// When it is looked at at the latest.
    timer: Option<Instant>,
    /// Bytes of it in `Stack::held`.
    held: usize,
}

/// The stack of one node.
pub struct Stack {
    packet_bytes_max: usize,
    began: Instant,
    secret: RandomState,
    addresses: HashSet<IpAddr>,
    /// Ranges of other machines that are served beside the addresses.
    served: Vec<IpNetwork>,
    /// Ranges that can be dialed.
    routes: HashSet<IpNetwork>,
    connections: Slab<Entry>,
    by_ends: HashMap<(SocketAddr, SocketAddr), usize>,
    ready: VecDeque<usize>,
    touched: Vec<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    offers: VecDeque<usize>,
    replies: VecDeque<BytesMut>,
    half_open: usize,
    held: usize,
    wakers: Vec<Waker>,
    /// Whoever takes packets knows that there are some.
    is_told: bool,
    /// Until when the task of the timers waits.
    waits_until: Option<Instant>,
}

impl Stack {
    pub fn new(packet_bytes_max: usize, served: Vec<IpNetwork>, now: Instant) -> Stack {
        Stack {
            packet_bytes_max,
            began: now,
            secret: RandomState::new(),
            addresses: HashSet::new(),
            served,
            routes: HashSet::new(),
            connections: Slab::new(),
            by_ends: HashMap::new(),
            ready: VecDeque::new(),
            touched: Vec::new(),
            timers: BinaryHeap::new(),
            offers: VecDeque::new(),
            replies: VecDeque::new(),
            half_open: 0,
            held: 0,
            wakers: Vec::new(),
            is_told: false,
            waits_until: None,
        }
    }

    pub fn add_address(&mut self, address: IpAddr) {
        self.addresses.insert(address);
    }

    pub fn remove_address(&mut self, address: IpAddr) {
        self.addresses.remove(&address);
    }

    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    pub fn add_route(&mut self, network: IpNetwork) {
        self.routes.insert(network);
    }

    pub fn remove_route(&mut self, network: IpNetwork) {
        self.routes.remove(&network);
    }

    /// Begins a connection.
    pub fn dial(&mut self, remote: SocketAddr, now: Instant) -> Result<usize, ErrorKind> {
        if !self
            .routes
            .iter()
            .any(|network| network.contains(remote.ip()))
        {
            return Err(ErrorKind::NetworkUnreachable);
        }
        let is_v4 = remote.is_ipv4();
        let own = self
            .addresses
            .iter()
            .find(|address| address.is_ipv4() == is_v4);
        let own = *own.ok_or(ErrorKind::AddrNotAvailable)?;
        let local = self.free_port(own, remote).ok_or(ErrorKind::AddrInUse)?;
        if !self.make_room() {
            return Err(ErrorKind::ResourceBusy);
        }
        let ends = self.ends(local, remote, now);
        Ok(self.insert(Connection::dial(ends, now), now))
    }

    fn free_port(&self, own: IpAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let count = PORTS.end - PORTS.start;
        let random =
            self.secret
                .hash_one((own, remote, self.connections.len(), self.began.elapsed()));
        let first = u16::try_from(random % u64::from(count)).unwrap_or_default();
        (0..count)
            .map(|step| PORTS.start + (first + step) % count)
            .map(|port| SocketAddr::new(own, port))
            .find(|&local| !self.by_ends.contains_key(&(local, remote)))
    }

    /// The first sequence number of RFC 6528: nobody outside can guess it, and it grows with time.
    fn ends(&self, local: SocketAddr, remote: SocketAddr, now: Instant) -> Ends {
        let hidden = self.secret.hash_one((local, remote)) as u32;
        let ticks = now.saturating_duration_since(self.began).as_micros() / 4;
        Ends {
            local,
            remote,
            packet_bytes_max: self.packet_bytes_max,
            secret: hidden.wrapping_add(ticks as u32),
        }
    }

    fn insert(&mut self, connection: Connection, now: Instant) -> usize {
        let ends = (connection.local, connection.remote);
        let id = self.connections.insert(Entry {
            connection,
            waiting: Waiting::default(),
            is_held: true,
            is_ready: false,
            is_touched: false,
            is_half_open: false,
            timer: None,
            held: 0,
        });
        self.by_ends.insert(ends, id);
        self.settle(id, now);
        id
    }

    /// One that is only remembered goes for one that is new; false when all are in use.
    fn make_room(&mut self) -> bool {
        if self.connections.len() < CONNECTIONS_MAX {
            return true;
        }
        let remembered = self
            .connections
            .iter()
            .find(|(_, entry)| !entry.is_held && entry.connection.phase() == Phase::TimeWait);
        let Some((id, _)) = remembered else {
            return false;
        };
        self.remove(id);
        true
    }

    /// A packet came. What it brings about happens with `finish`.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        let Some(packet) = packet::parse(bytes) else {
            return;
        };
        if packet.source.is_multicast()
            || packet.source.is_unspecified()
            || self.is_own(packet.source)
        {
            return;
        }
        if self.is_own(packet.target)
            && let Some(reply) = packet::echo_reply(&packet)
        {
            self.reply(reply);
            return;
        }
        if self.serves(packet.target) {
            self.receive_segment(&packet, now);
        }
    }

    fn serves(&self, target: IpAddr) -> bool {
        self.is_own(target) || self.served.iter().any(|network| network.contains(target))
    }

    fn receive_segment(&mut self, packet: &Packet<'_>, now: Instant) {
        let Some(segment) = Segment::parse(packet) else {
            return;
        };
        let ends = (segment.target, segment.source);
        let known = self.by_ends.get(&ends).copied();
        if let Some(id) = known
            && let Some(entry) = self.connections.get_mut(id)
        {
            if !entry.connection.gives_way_to(&segment) {
                let answer = entry.connection.receive(&segment, now);
                self.touch(id);
                if let Some(answer) = answer {
                    self.reply(answer);
                }
                return;
            }
            self.by_ends.remove(&ends);
        }
        if segment.flags & (SYN | ACK | RST) == SYN {
            self.offer(&segment, now);
        } else if let Some(refusal) = segment.reset() {
            self.reply(refusal);
        }
    }

    /// Somebody begins a connection. Beyond the limits nothing is said: who means it tries again.
    fn offer(&mut self, syn: &Segment<'_>, now: Instant) {
        if syn.source.port() == 0 || self.half_open >= HALF_OPEN_MAX || !self.make_room() {
            return;
        }
        let ends = self.ends(syn.target, syn.source, now);
        let id = self.insert(Connection::offered(ends, syn, now), now);
        self.offers.push_back(id);
    }

    fn reply(&mut self, packet: BytesMut) {
        if self.replies.len() < PACKETS_MAX {
            self.replies.push_back(packet);
        }
    }

    fn touch(&mut self, id: usize) {
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        if !std::mem::replace(&mut entry.is_touched, true) {
            self.touched.push(id);
        }
    }

    /// Ends a batch of packets and looks at the timers.
    pub fn finish(&mut self, now: Instant) {
        while let Some(&Reverse((at, id))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let Some(entry) = self.connections.get_mut(id) else {
                continue;
            };
            if entry.timer == Some(at) {
                entry.timer = None;
                entry.connection.on_time(now);
                self.touch(id);
            }
        }
        for id in std::mem::take(&mut self.touched) {
            if let Some(entry) = self.connections.get_mut(id) {
                entry.is_touched = false;
                self.settle(id, now);
            }
        }
    }

    /// Whoever changed a connection calls this.
    pub fn settle(&mut self, id: usize, now: Instant) {
        let is_pressed = self.held > RECEIVED_BYTES_MAX / 2;
        let Some(entry) = self.connections.get_mut(id) else {
            return;
        };
        let Entry {
            connection,
            waiting,
            ..
        } = entry;
        connection.set_window_max(if is_pressed {
            RECEIVE_BYTES_UNDER_PRESSURE
        } else {
            RECEIVE_BYTES_MAX
        });
        let is_done = |is: bool, waker: &mut Option<Waker>| if is { waker.take() } else { None };
        let phase = connection.phase();
        self.wakers
            .extend(is_done(phase != Phase::SynSent, &mut waiting.open));
        self.wakers
            .extend(is_done(connection.can_read(), &mut waiting.read));
        self.wakers
            .extend(is_done(connection.can_write(), &mut waiting.write));
        let held = connection.held();
        self.held = self.held + held - std::mem::replace(&mut entry.held, held);
        let is_half_open = matches!(phase, Phase::Offered | Phase::SynReceived);
        let was_half_open = std::mem::replace(&mut entry.is_half_open, is_half_open);
        self.half_open = self.half_open + usize::from(is_half_open) - usize::from(was_half_open);
        if !entry.is_held && entry.connection.is_over() {
            self.remove(id);
            return;
        }
        if entry.connection.has_something_to_say() && !std::mem::replace(&mut entry.is_ready, true)
        {
            self.ready.push_back(id);
        }
        entry.connection.settle(now);
        let due = entry.connection.deadline().map(|at| at.max(now));
        if let Some(due) = due
            && entry.timer.is_none_or(|timer| due < timer)
        {
            entry.timer = Some(due);
            self.timers.push(Reverse((due, id)));
        }
    }

    fn remove(&mut self, id: usize) {
        let Some(entry) = self.connections.try_remove(id) else {
            return;
        };
        let ends = (entry.connection.local, entry.connection.remote);
        if self.by_ends.get(&ends) == Some(&id) {
            self.by_ends.remove(&ends);
        }
        self.held -= entry.held;
        self.half_open -= usize::from(entry.is_half_open);
    }

    /// Appends packets, all to one address; false when there are none.
    pub fn transmit(&mut self, packets: &mut Vec<BytesMut>, now: Instant) -> bool {
        if let Some(reply) = self.replies.pop_front() {
            packets.push(reply);
            return true;
        }
        let before = packets.len();
        while let Some(id) = self.ready.pop_front() {
            let Some(entry) = self.connections.get_mut(id) else {
                continue;
            };
            entry.is_ready = false;
            entry.connection.transmit(now, packets, TURN_PACKETS);
            self.settle(id, now);
            if packets.len() > before {
                return true;
            }
        }
        self.is_told = false;
        false
    }

    /// Packets to take, of which nobody was told.
    pub fn has_news(&mut self) -> bool {
        let has_packets = !self.ready.is_empty() || !self.replies.is_empty();
        has_packets && !std::mem::replace(&mut self.is_told, true)
    }

    /// When `finish` has something to do; whoever asks waits until then.
    pub fn wait(&mut self) -> Option<Instant> {
        self.waits_until = self.timers.peek().map(|Reverse((at, _))| *at);
        self.waits_until
    }

    /// Whether that has come nearer since.
    pub fn ends_sooner(&mut self) -> bool {
        let next = self.timers.peek().map(|Reverse((at, _))| *at);
        let is_sooner = match (next, self.waits_until) {
            (Some(next), Some(until)) => next < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_sooner {
            self.waits_until = next;
        }
        is_sooner
    }

    /// Who is to be woken, outside of the lock.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// A connection that somebody began and nobody took yet.
    pub fn next_offer(&mut self) -> Option<(usize, SocketAddr)> {
        let id = self.offers.pop_front()?;
        let local = self.connections.get(id).map(|entry| entry.connection.local);
        local.map(|local| (id, local))
    }

    /// A connection that is in hand, and who waits for it.
    pub fn held(&mut self, id: usize) -> Option<(&mut Connection, &mut Waiting)> {
        let entry = self.connections.get_mut(id)?;
        Some((&mut entry.connection, &mut entry.waiting))
    }

    /// Nobody has it in hand any more.
    pub fn release(&mut self, id: usize, now: Instant) {
        if let Some(entry) = self.connections.get_mut(id) {
            entry.is_held = false;
            entry.connection.abandon(now);
        }
        self.settle(id, now);
    }

    /// Ends all of them; the peers are told.
    pub fn abort_all(&mut self, now: Instant) {
        let ids: Vec<usize> = self.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(entry) = self.connections.get_mut(id) {
                entry.connection.abort(ErrorKind::ConnectionReset);
            }
            self.settle(id, now);
        }
    }

    /// Connections that are there, and those of them that do not stand yet.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections.len(), self.half_open)
    }
}

#[cfg(test)]
mod tests;

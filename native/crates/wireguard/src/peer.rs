//! One peer: where it is, and the sessions with it.
//!
//! A peer has no WireGuard state before the first packet, which keeps ten thousand of them small
//! (each state is about 19 kB), and what only some need is made when the first of it comes. While
//! keys change on either side it has one state, a tunnel, for each pair of an own key and one of
//! its own; the newest pair is what is asked for, and what has proven to work is what packets take.
//! So nothing is lost while a new key becomes known.

mod hearing;
mod holding;
mod seen;
mod state;
mod watching;

use crate::delta::PeerChange;
use crate::envelope::{HEADER, Id, id_of};
use crate::keys::{OwnKey, OwnKeys};
use crate::plane::Plane;
use crate::relay::Relaying;
use bytes::BytesMut;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::tun::MtuWatcher;
use gotatun::x25519::PublicKey;
use hearing::Hearing;
use holding::Held;
use ipnetwork::IpNetwork;
use parking_lot::Mutex;
pub use seen::Seen;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Instant;
use watching::Watching;

pub struct Peer {
    /// No other peer of this device has it.
    pub number: u32,
    state: Mutex<State>,
    /// What packets to it may be long; zero: as long as the interface lets them.
    mtu: AtomicU16,
    /// What is forwarded comes from such a peer or goes to one.
    is_inside: AtomicBool,
    /// Its prefixes; only those who change the table look here.
    pub allowed: Mutex<Box<[IpNetwork]>>,
    pub relaying: Relaying,
}

struct State {
    /// The newest first.
    keys: Vec<PublicKey>,
    endpoint: Option<SocketAddr>,
    keepalive_s: Option<u16>,
    /// The newest first.
    tunnels: Vec<Tunnel>,
    /// What tunnels that are gone had counted.
    received_bytes: usize,
    sent_bytes: usize,
    is_removed: bool,
    /// Whether the timers know it.
    is_timed: bool,
    /// A handshake is to begin without a packet.
    is_called: bool,
    /// It takes packets of one key of ours at a time.
    hears_one_key: bool,
    /// Others stand in for it when it is silent.
    is_watched: bool,
    /// What was heard of it directly, for a node behind a NAT.
    hearing: Option<Box<Hearing>>,
    held: Option<Box<Held>>,
    watching: Option<Box<Watching>>,
}

struct Tunnel {
    serial: u32,
    own: Arc<OwnKey>,
    remote: PublicKey,
    tunn: Box<Tunn>,
    /// Receiver indices that lead here.
    indices: Vec<u32>,
    /// Since when a packet has proven that the other side has the session too.
    proven: Option<Instant>,
}

impl Peer {
    pub fn new(number: u32, key: PublicKey) -> Arc<Self> {
        Arc::new(Self {
            number,
            state: Mutex::new(State {
                keys: vec![key],
                endpoint: None,
                keepalive_s: None,
                tunnels: Vec::new(),
                received_bytes: 0,
                sent_bytes: 0,
                is_removed: false,
                is_timed: false,
                is_called: false,
                hears_one_key: false,
                is_watched: false,
                hearing: None,
                held: None,
                watching: None,
            }),
            mtu: AtomicU16::new(0),
            is_inside: AtomicBool::new(false),
            allowed: Mutex::default(),
            relaying: Relaying::default(),
        })
    }

    /// What is none stays as it is; an interval of zero is none.
    pub fn configure(self: &Arc<Self>, plane: &Plane, change: &PeerChange) {
        if let Some(mtu) = change.mtu {
            self.mtu.store(mtu, Ordering::Relaxed);
        }
        if let Some(is_inside) = change.is_inside {
            self.is_inside.store(is_inside, Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        if change.endpoint.is_some() {
            state.endpoint = change.endpoint;
        }
        state.hears_one_key = change.hears_one_key.unwrap_or(state.hears_one_key);
        state.is_watched = change.is_watched.unwrap_or(state.is_watched);
        if let Some(seconds) = change.keepalive_s {
            state.keepalive_s = Some(seconds).filter(|&seconds| seconds > 0);
            let interval = state.keepalive_s;
            for tunnel in &mut state.tunnels {
                tunnel.tunn.set_persistent_keepalive(interval);
            }
        }
        if state.keepalive_s.is_some() {
            self.time(plane, &mut state);
        }
    }

    /// Begins a handshake soon.
    pub fn call(self: &Arc<Self>, plane: &Plane) {
        let mut state = self.state.lock();
        state.is_called = true;
        self.time(plane, &mut state);
    }

    /// Speaks with a new key from now on; the old one is heard until it is forgotten.
    pub fn renew(self: &Arc<Self>, plane: &Plane, key: PublicKey) {
        let mut state = self.state.lock();
        state.keys.retain(|known| *known != key);
        state.keys.insert(0, key);
        if !state.tunnels.is_empty() {
            self.time(plane, &mut state); // which asks for the new pair
        }
    }

    /// Drops a key; true when it was the last one and the peer is gone.
    pub fn forget(&self, plane: &Plane, key: &PublicKey) -> bool {
        let mut state = self.state.lock();
        state.keys.retain(|known| known != key);
        state.is_removed = state.keys.is_empty();
        if state.is_removed {
            self.reach_through(&[]);
        }
        state.drop_tunnels(plane, |tunnel| tunnel.remote == *key);
        state.is_removed
    }

    /// What fits to it, of an interface that has `most`.
    pub fn mtu(&self, most: u16) -> u16 {
        let mtu = match self.mtu.load(Ordering::Relaxed) {
            0 => most,
            mtu => mtu.min(most),
        };
        if self.has_relay() {
            mtu.saturating_sub(HEADER as u16)
        } else {
            mtu
        }
    }

    pub fn is_inside(&self) -> bool {
        self.is_inside.load(Ordering::Relaxed)
    }

    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.state.lock().endpoint
    }

    /// Encrypts packets for this peer; what it gives is to be sent in this order.
    pub fn seal(
        self: &Arc<Self>,
        plane: &Plane,
        keys: &OwnKeys,
        packets: impl Iterator<Item = BytesMut>,
        mut send: impl FnMut(SocketAddr, BytesMut),
    ) {
        let way = self.way(&keys.current);
        if way.leads_nowhere() {
            return;
        }
        let mut state = self.state.lock();
        self.prefer(plane, keys, &mut state);
        state.watching.get_or_insert_default().sent();
        if state.holds() {
            packets.for_each(|packet| state.hold(packet));
            if let Some(message) = state.ask() {
                plane.register(self, &mut state.tunnels, &message);
                way.send(bytes_of(message.1), &mut send);
            }
            return;
        }
        for packet in state.let_go().into_iter().chain(packets) {
            let mut packet = Some(Packet::from_bytes(packet));
            if let [only] = state.tunnels.as_mut_slice()
                && let Some(plain) = packet.take()
            {
                match only.tunn.encapsulate_with_session(plain) {
                    Ok(sealed) => {
                        way.send(bytes_of(sealed.into()), &mut send);
                        continue;
                    }
                    Err(plain) => packet = Some(plain),
                }
            }
            for message in state.encapsulate(&mut packet) {
                plane.register(self, &mut state.tunnels, &message);
                way.send(bytes_of(message.1), &mut send);
            }
        }
    }

    /// Sees that the tunnel of the newest keys is there and the first.
    fn prefer(self: &Arc<Self>, plane: &Plane, keys: &OwnKeys, state: &mut State) {
        let Some(remote) = state.keys.first().copied() else {
            return;
        };
        let is_there = state.tunnels.first().is_some_and(|tunnel| {
            Arc::ptr_eq(&tunnel.own, &keys.current)
                && (state.keys.len() == 1 || tunnel.remote == remote)
        });
        if !is_there && !state.is_removed {
            self.tunnel(plane, keys, state, &keys.current, &remote);
        }
    }

    /// The serial of the tunnel of two keys, which is made where there is none.
    fn tunnel(
        self: &Arc<Self>,
        plane: &Plane,
        keys: &OwnKeys,
        state: &mut State,
        own: &Arc<OwnKey>,
        remote: &PublicKey,
    ) -> Option<u32> {
        if state.is_removed || !state.keys.contains(remote) {
            return None;
        }
        let is_it = |tunnel: &Tunnel| Arc::ptr_eq(&tunnel.own, own) && tunnel.remote == *remote;
        if !state.tunnels.iter().any(is_it) {
            let is_own = |tunnel: &Tunnel| Arc::ptr_eq(&tunnel.own, own);
            if Arc::ptr_eq(own, &keys.current) && !state.tunnels.iter().any(is_own) {
                state.hold_back();
            }
            let tunnel = Tunnel {
                serial: plane.serial(),
                own: Arc::clone(own),
                remote: *remote,
                tunn: Box::new(Tunn::new(
                    own.private.clone(),
                    *remote,
                    None,
                    state.keepalive_s,
                    plane.indices.clone(),
                    Arc::clone(&own.limiter),
                )),
                indices: Vec::new(),
                proven: None,
            };
            state.tunnels.push(tunnel);
            self.time(plane, state);
        }
        let newest = state.keys.clone();
        state.tunnels.sort_by_key(|tunnel| {
            let age = newest.iter().position(|key| *key == tunnel.remote);
            (age, !Arc::ptr_eq(&tunnel.own, &keys.current))
        });
        state
            .tunnels
            .iter()
            .find(|tunnel| is_it(tunnel))
            .map(|tunnel| tunnel.serial)
    }

    /// From now on its timers run.
    fn time(self: &Arc<Self>, plane: &Plane, state: &mut State) {
        if !state.is_timed && !state.is_removed {
            state.is_timed = true;
            plane.time(Arc::clone(self));
        }
    }

    /// Somebody who has its key begins a handshake; gives what to answer.
    pub fn answer(
        self: &Arc<Self>,
        plane: &Plane,
        keys: &OwnKeys,
        remote: &PublicKey,
        (own, message): (&Arc<OwnKey>, WgKind),
        from: Option<SocketAddr>,
    ) -> Vec<BytesMut> {
        let mut state = self.state.lock();
        match self.tunnel(plane, keys, &mut state, own, remote) {
            Some(serial) => self.handle(plane, &mut state, serial, message, from).1,
            None => Vec::new(),
        }
    }

    /// A message for one of its tunnels: a packet that was in it, and what is to be sent. `from` is
    /// none when it came through a relay.
    pub fn open(
        self: &Arc<Self>,
        plane: &Plane,
        serial: u32,
        message: WgKind,
        from: Option<SocketAddr>,
    ) -> (Option<BytesMut>, Vec<BytesMut>) {
        self.handle(plane, &mut self.state.lock(), serial, message, from)
    }

    fn handle(
        self: &Arc<Self>,
        plane: &Plane,
        state: &mut State,
        serial: u32,
        message: WgKind,
        from: Option<SocketAddr>,
    ) -> (Option<BytesMut>, Vec<BytesMut>) {
        let Some(tunnel) = state.tunnels.iter_mut().find(|one| one.serial == serial) else {
            return (None, Vec::new());
        };
        let is_initiation = matches!(message, WgKind::HandshakeInit(_));
        let answer = match tunnel.tunn.handle_incoming_packet(message) {
            // An authentic packet tells where the peer is now, unless a relay forwarded it.
            TunnResult::WriteToTunnel(mut packet) => {
                tunnel.proven.get_or_insert_with(Instant::now);
                state.answered();
                state.endpoint = from.or(state.endpoint);
                // Nothing in it: a keepalive, which asks for no word back.
                if from.is_some() && !packet.is_empty() {
                    state.heard();
                }
                self.heard(from);
                return (Some(std::mem::take(packet.buf_mut())), Vec::new());
            }
            TunnResult::WriteToNetwork(answer) => answer,
            TunnResult::Done | TunnResult::Err(_) => return (None, Vec::new()),
        };
        if !is_initiation {
            tunnel.proven.get_or_insert_with(Instant::now);
        }
        let mut mtu = MtuWatcher::new(plane.mtu);
        let queued = tunnel.tunn.get_queued_packets(&mut mtu);
        let messages: Vec<_> = std::iter::once(answer).chain(queued).collect();
        state.answered();
        state.endpoint = from.or(state.endpoint);
        self.heard(from);
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let message = (serial, message);
            plane.register(self, &mut state.tunnels, &message);
            sent.push(bytes_of(message.1));
        }
        (None, sent)
    }

    /// It was found to be here.
    pub fn move_to(&self, endpoint: SocketAddr) {
        self.state.lock().endpoint = Some(endpoint);
    }

    /// A packet came through it, which is a relay.
    pub fn was_heard_through(&self, from: SocketAddr) {
        self.heard(Some(from));
        self.state.lock().heard();
    }

    /// It answered something beside WireGuard.
    pub fn has_answered(&self) {
        self.state.lock().answered();
    }

    /// It sees this node at another address than before.
    pub fn was_moved(&self) {
        let mut state = self.state.lock();
        state.hearing.get_or_insert_default().moved();
    }

    /// The key that it is known to speak with: it announces a new one before that.
    pub fn spoken(&self) -> Option<PublicKey> {
        let state = self.state.lock();
        let proven = state.tunnels.iter().find(|one| one.proven.is_some());
        proven.map(|one| one.remote).or(state.keys.first().copied())
    }

    pub fn newest(&self) -> Option<PublicKey> {
        self.state.lock().keys.first().copied()
    }

    /// Its key that begins with these bytes.
    pub fn key_of(&self, id: Id) -> Option<PublicKey> {
        let state = self.state.lock();
        state.keys.iter().copied().find(|key| id_of(key) == id)
    }

    /// Its timers, some four times a second: what they want sent. False when it needs none.
    pub fn tick(
        self: &Arc<Self>,
        plane: &Plane,
        keys: &OwnKeys,
        mut send: impl FnMut(SocketAddr, BytesMut),
    ) -> bool {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.is_removed {
            return false;
        }
        let is_called = std::mem::take(&mut state.is_called);
        if state.tunnels.is_empty() && state.keepalive_s.is_none() && !is_called {
            state.is_timed = false;
            return false;
        }
        if state.endpoint.is_none() && !self.has_relay() {
            return true;
        }
        self.prefer(plane, keys, state);
        state.drop_old(plane, keys);
        let mut messages = state.tick(plane);
        messages.extend(state.word());
        messages.extend(is_called.then(|| state.ask()).flatten());
        state.make_speak(&mut messages);
        for message in &messages {
            plane.register(self, &mut state.tunnels, message);
        }
        drop(guard);
        if !messages.is_empty() {
            let way = self.way(&keys.current);
            for (_, message) in messages {
                way.send(bytes_of(message), &mut send);
            }
        }
        for (to, probe) in self.probes(&keys.current, || plane.number()) {
            send(to, probe);
        }
        true
    }
}

/// A message and the serial of the tunnel that it comes from.
pub type Message = (u32, WgKind);

impl Plane {
    /// Answers to what begins or answers a handshake lead to its tunnel from now on.
    fn register(&self, peer: &Arc<Peer>, tunnels: &mut [Tunnel], (serial, message): &Message) {
        let index = match message {
            WgKind::HandshakeInit(initiation) => initiation.sender_idx.get(),
            WgKind::HandshakeResp(response) => response.sender_idx.get(),
            WgKind::CookieReply(_) | WgKind::Data(_) => return,
        };
        if let Some(tunnel) = tunnels.iter_mut().find(|tunnel| tunnel.serial == *serial) {
            tunnel.indices.push(index);
            self.lead(index, peer, *serial);
        }
    }
}

fn bytes_of(message: WgKind) -> BytesMut {
    let mut packet = Packet::from(message);
    std::mem::take(packet.buf_mut())
}

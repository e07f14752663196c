//! Which connection a datagram belongs to, and when a new one may begin.

use super::cid::{self, CID_BYTES, Cid, Owner};
use super::connection::Connection;
use super::handshakes::{Begin, HalfOpen};
use super::inbox::Datagram;
use super::invalid_token;
use super::neighbours::Neighbours;
use super::queue::{Buffers, Queue};
use super::reset::{self, Allowance};
use super::settings::{self, DATAGRAM_BYTES_MAX};
use super::state::{Counted, State};
use crate::exchange::ConnectionFacts;
use crate::thread::WireThread;
use edge_http_policy::Version;
use quiche::{ConnectionId, Header, RetryConnectionIds};
use slab::Slab;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Smallest datagram that may open a connection (RFC 9000 §14.1), and smallest id it may use.
const INITIAL_BYTES_MIN: usize = 1200;
const INITIAL_CID_BYTES_MIN: usize = 8;
/// Spare ids offered to a client, so that it can move to another address.
const SPARE_CIDS: usize = 3;
/// Ids issued in all: a burst, then one a second. A client that wants more moves no further.
const CIDS_MAX: u64 = 64;
/// Ids drawn for one that nobody has.
const FRESH_TRIES: usize = 4;

/// A datagram that belongs to no connection: version negotiation, Retry, stateless reset, or the
/// refusal of a token.
pub(super) struct Reply {
    pub contents: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

/// Where an endpoint stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub listener: u32,
    pub port: u16,
    pub owner: Owner,
}

/// Connections by key and by connection id.
pub(super) struct Table {
    thread: Rc<WireThread>,
    place: Place,
    config: quiche::Config,
    /// Of the limits that `config` was made from.
    limits_version: u64,
    connections: Slab<Rc<Connection>>,
    routes: HashMap<Cid, usize>,
    queue: Rc<Queue>,
    /// Other programs on this port.
    pub neighbours: Neighbours,
    /// Connections that got datagrams since they were last drained.
    pub touched: Vec<Rc<Connection>>,
    /// Datagrams to send that belong to no connection.
    pub replies: Vec<Reply>,
    /// Of resets and refusals.
    allowance: Allowance,
}

/// Where a datagram goes whose connection id this endpoint does not know.
enum Elsewhere {
    /// To another thread or program.
    Passed,
    /// Its owner cannot take it: it is lost.
    Lost,
    /// Nobody else has it.
    Nowhere,
}

impl Table {
    /// An empty table.
    pub fn new(
        thread: Rc<WireThread>,
        place: Place,
        queue: Rc<Queue>,
    ) -> Result<Table, quiche::Error> {
        let limits_version = thread.shared.limits_version();
        let config = config(&thread)?;
        let remote = thread.shared.quic.remote().cloned();
        let neighbours = Neighbours::new(place.port, place.owner, remote);
        Ok(Table {
            thread,
            place,
            config,
            limits_version,
            connections: Slab::new(),
            routes: HashMap::new(),
            queue,
            neighbours,
            touched: Vec::new(),
            replies: Vec::new(),
            allowance: Allowance::new(),
        })
    }

    /// The connection with `key`.
    pub fn get(&self, key: usize) -> Option<Rc<Connection>> {
        self.connections.get(key).cloned()
    }

    /// Every connection.
    pub fn all(&self) -> impl Iterator<Item = &Rc<Connection>> {
        self.connections.iter().map(|(_, connection)| connection)
    }

    /// Gives a datagram to its connection, which may be new, or another thread's, or another
    /// program's.
    pub fn datagram(&mut self, packet: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let Some(destination) = cid::destination(packet) else {
            return;
        };
        if self.deliver(packet, &destination, (from, to)) {
            return;
        }
        if let Elsewhere::Nowhere = self.elsewhere(packet, &destination, (from, to))
            && !self.hands_on(packet, &destination, (from, to))
        {
            self.unknown(packet, destination, (from, to));
        }
    }

    /// The same for a datagram that was passed on to this endpoint: it goes no further.
    pub fn passed(&mut self, mut datagram: Datagram) {
        let (packet, path) = (&mut datagram.contents[..], (datagram.from, datagram.to));
        let Some(destination) = cid::destination(packet) else {
            return;
        };
        if self.deliver(packet, &destination, path) {
            return;
        }
        // A client chooses the id of its first packet: that must not choose the thread, too, unless
        // the id is that of our Retry.
        let names_us = self.names_us(&destination) && cid::is_long(packet);
        if !names_us || has_token(packet) {
            self.unknown(packet, destination, path);
        }
    }

    /// An id that nobody has: with a server's id in it, it is random in 37 bits only.
    fn fresh(&self) -> Option<Cid> {
        let server = self.thread.shared.config.quic_server_id.as_ref();
        let tries = (0..FRESH_TRIES).filter_map(|_| Cid::random(self.place.owner, server));
        let mut unknown = tries.filter(|cid| !self.routes.contains_key(cid));
        unknown.next()
    }

    fn names_us(&self, destination: &Cid) -> bool {
        let owner = destination.owner();
        owner.is_some_and(|owner| owner.generation == self.place.owner.generation)
    }

    /// While this program leaves, what begins a connection goes to one that stays. Not what began
    /// here with a Retry: only we can open its token.
    fn hands_on(
        &mut self,
        packet: &[u8],
        destination: &Cid,
        (from, to): (SocketAddr, SocketAddr),
    ) -> bool {
        let begins = cid::is_long(packet) && !self.names_us(destination);
        let shared = &self.thread.shared;
        if !begins || (shared.accepting() && !shared.draining()) {
            return false;
        }
        let contents = packet.to_vec();
        let datagram = Datagram { contents, from, to };
        let way = self.neighbours.offer_successor(Instant::now(), &datagram);
        way.is_some_and(|way| {
            shared.stats.quic_add(way.counter(), 1);
            true
        })
    }

    fn deliver(
        &mut self,
        packet: &mut [u8],
        destination: &Cid,
        (from, to): (SocketAddr, SocketAddr),
    ) -> bool {
        let known = self.routes.get(destination).and_then(|key| self.get(*key));
        let Some(connection) = known else {
            return false;
        };
        connection.unanswered.set(connection.unanswered.get() + 1);
        let mut state = connection.state();
        if !cid::is_long(packet) && !state.knows(destination) {
            return true;
        }
        state.receive(packet, from, to);
        drop(state);
        if !connection.touched.replace(true) {
            self.touched.push(connection);
        }
        true
    }

    fn elsewhere(
        &mut self,
        packet: &[u8],
        destination: &Cid,
        (from, to): (SocketAddr, SocketAddr),
    ) -> Elsewhere {
        let Some(owner) = destination.owner() else {
            return Elsewhere::Nowhere;
        };
        let ours = owner.generation == self.place.owner.generation;
        let other_thread = ours
            && owner.thread != self.place.owner.thread
            && usize::from(owner.thread) < self.thread.shared.config.threads;
        if ours && !other_thread {
            return Elsewhere::Nowhere;
        }
        let contents = packet.to_vec();
        let datagram = Datagram { contents, from, to };
        let stats = &self.thread.shared.stats;
        if !ours {
            let now = Instant::now();
            let Some(way) = self.neighbours.offer(owner.generation, now, &datagram) else {
                return Elsewhere::Nowhere;
            };
            stats.quic_add(way.counter(), 1);
            return Elsewhere::Passed;
        }
        let host = &self.thread.shared.quic;
        if host.pass(usize::from(owner.thread), datagram) {
            stats.quic_add("forwardedThreads", 1);
            Elsewhere::Passed
        } else {
            stats.quic_add("forwardsLost", 1);
            Elsewhere::Lost
        }
    }

    /// A datagram whose connection nobody knows: a new one begins, or the client learns that its
    /// old one is gone.
    fn unknown(&mut self, packet: &mut [u8], destination: Cid, path: (SocketAddr, SocketAddr)) {
        if cid::is_long(packet) {
            if let Some(connection) = self.accept(packet, destination, path) {
                self.routes.insert(destination, connection.key);
                self.deliver(packet, &destination, path);
            }
        } else if packet.first().is_some_and(|first| first & 0x40 != 0) {
            self.reset(packet.len(), &destination, path);
        }
    }

    fn reset(&mut self, received: usize, cid: &Cid, (from, to): (SocketAddr, SocketAddr)) {
        if !self.allowance.take(Instant::now()) {
            return;
        }
        let token = self.thread.shared.quic.reset_token(cid);
        if let Some(contents) = token.and_then(|token| reset::packet(received, token)) {
            self.thread.shared.stats.quic_add("statelessResets", 1);
            self.replies.push(Reply {
                contents,
                from: to,
                to: from,
            });
        }
    }

    /// Offers a client as many spare ids as it may use: after the handshake, and again when it has
    /// given some up.
    pub fn issue_ids(&mut self, connection: &Connection) {
        let mut state = connection.state();
        let allowed = CIDS_MAX + state.accepted.elapsed().as_secs();
        let quic = &state.quic;
        let wanted = (1 + SPARE_CIDS).saturating_sub(quic.active_scids());
        for _ in 0..wanted.min(quic.scids_left()) {
            if state.issued >= allowed {
                return;
            }
            state.issued += 1;
            let Some(spare) = self.fresh() else {
                return;
            };
            let Some(token) = self.thread.shared.quic.reset_token(&spare) else {
                return;
            };
            if state.quic.new_scid(&spare.id(), token, false).is_err() {
                return;
            }
            state.cids.push(spare);
            self.routes.insert(spare, connection.key);
        }
    }

    /// Forgets the ids that the client will not use again. Returns whether there were any.
    pub fn forget_retired(&mut self, connection: &Connection) -> bool {
        let mut any = false;
        let mut state = connection.state();
        while let Some(retired) = state.quic.retired_scid_next() {
            any = true;
            let oldest = Cid::new(&retired).and_then(|cid| state.cids.give_up(cid));
            oldest.map(|cid| self.routes.remove(&cid));
        }
        any
    }

    /// Forgets a closed connection.
    pub fn remove(&mut self, connection: &Connection) {
        let mut state = connection.state();
        state.lose_streams();
        for cid in state.cids.take() {
            self.routes.remove(&cid);
        }
        if !state.is_established() {
            self.thread.shared.stats.handshakes_failed.add(1);
        }
        drop(state);
        self.connections.try_remove(connection.key);
    }

    fn accept(
        &mut self,
        packet: &mut [u8],
        destination: Cid,
        (from, to): (SocketAddr, SocketAddr),
    ) -> Option<Rc<Connection>> {
        // Anything shorter may not open a connection, and an answer to it could amplify.
        if packet.len() < INITIAL_BYTES_MIN {
            return None;
        }
        let header = Header::from_slice(packet, CID_BYTES).ok()?;
        if !quiche::version_is_supported(header.version) {
            if header.ty != quiche::Type::VersionNegotiation {
                self.reply((to, from), |out| {
                    quiche::negotiate_version(&header.scid, &header.dcid, out)
                });
            }
            return None;
        }
        let is_initial = header.ty == quiche::Type::Initial;
        if !is_initial || destination.as_slice().len() < INITIAL_CID_BYTES_MIN {
            return None;
        }
        // A token that does not open counts as none, unless the id says that it is that of a Retry
        // of ours (RFC 9000 §8.1.3).
        let token = header.token.as_deref().unwrap_or_default();
        let shared = self.thread.shared.clone();
        let original = shared.quic.tokens()?.open(from, token, &destination, now());
        if original.is_none() && !token.is_empty() && self.names_us(&destination) {
            self.refuse_token(&header, (to, from));
            return None;
        }
        let limits = self.thread.limits();
        let handshakes = &shared.quic.handshakes;
        let proven = original.is_some();
        match handshakes.begin(from.ip(), proven, &limits) {
            Begin::Open(half_open) => self.open(destination, original, (from, to), half_open),
            Begin::Retry => {
                self.retry(&header, &destination, (to, from));
                None
            }
            Begin::Refused(code) => {
                let facts = ConnectionFacts::new(self.place.listener, from, self.place.port);
                self.thread.turn_away(&facts, Version::Http3, code);
                None
            }
        }
    }

    fn refuse_token(&mut self, header: &Header<'_>, (from, to): (SocketAddr, SocketAddr)) {
        if !self.allowance.take(Instant::now()) {
            return;
        }
        if let Some(contents) = invalid_token::packet(header) {
            self.thread.shared.stats.quic_add("invalidTokens", 1);
            self.replies.push(Reply { contents, from, to });
        }
    }

    fn retry(&mut self, header: &Header<'_>, original: &Cid, (from, to): (SocketAddr, SocketAddr)) {
        let Some(fresh) = self.fresh() else {
            return;
        };
        let shared = &self.thread.shared;
        let tokens = shared.quic.tokens();
        let Some(token) = tokens.and_then(|tokens| tokens.seal(to, original, &fresh, now())) else {
            return;
        };
        shared.stats.quic_add("retries", 1);
        self.reply((from, to), |out| {
            let version = header.version;
            quiche::retry(
                &header.scid,
                &header.dcid,
                &fresh.id(),
                &token,
                version,
                out,
            )
        });
    }

    fn reply(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        write: impl FnOnce(&mut [u8]) -> quiche::Result<usize>,
    ) {
        let mut contents = vec![0; DATAGRAM_BYTES_MAX];
        if let Ok(length) = write(&mut contents) {
            contents.truncate(length);
            self.replies.push(Reply { contents, from, to });
        }
    }

    fn open(
        &mut self,
        destination: Cid,
        original: Option<Cid>,
        (from, to): (SocketAddr, SocketAddr),
        half_open: HalfOpen,
    ) -> Option<Rc<Connection>> {
        let facts = ConnectionFacts::new(self.place.listener, from, self.place.port);
        let admission = match self.thread.shared.admit(from.ip()) {
            Ok(admission) => admission,
            Err(code) => {
                self.thread.turn_away(&facts, Version::Http3, code);
                return None;
            }
        };
        let own = self.fresh()?;
        let counted = Counted::new(admission, self.thread.shared.stats.clone());
        let quic = self.accepted(&own, &destination, original, (from, to));
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let mut state = State::new(quic.ok()?, facts, half_open, counted);
        // Until it has learnt ours the client sends to the id it chose itself.
        for cid in [own, destination] {
            state.cids.push(cid);
        }
        let (thread, queue) = (self.thread.clone(), self.queue.clone());
        let connection = Connection::new(key, thread, queue, state);
        self.routes.insert(own, key);
        entry.insert(connection.clone());
        Some(connection)
    }

    fn accepted(
        &mut self,
        own: &Cid,
        destination: &Cid,
        original: Option<Cid>,
        (from, to): (SocketAddr, SocketAddr),
    ) -> quiche::Result<super::queue::Quic> {
        let version = self.thread.shared.limits_version();
        if version != self.limits_version {
            self.config = config(&self.thread)?;
            self.limits_version = version;
        }
        let limits = self.thread.limits();
        let streams = match self.thread.shared.pressure() {
            true => u64::from(limits.streams_max_under_pressure).min(limits.quic_streams_max),
            false => limits.quic_streams_max,
        };
        let config = &mut self.config;
        config.set_initial_max_streams_bidi(streams);
        config.set_stateless_reset_token(self.thread.shared.quic.reset_token(own));
        let Some(original) = original else {
            return quiche::accept_with_buf_factory::<Buffers>(&own.id(), None, to, from, config);
        };
        let original: ConnectionId<'_> = original.id();
        let retry: ConnectionId<'_> = destination.id();
        let ids = RetryConnectionIds {
            original_destination_cid: &original,
            retry_source_cid: &retry,
        };
        quiche::accept_with_retry::<Buffers>(&own.id(), ids, to, from, config)
    }
}

/// Whether the packet is an Initial with a token.
fn has_token(packet: &mut [u8]) -> bool {
    let header = Header::from_slice(packet, CID_BYTES).ok();
    let token = header.and_then(|header| header.token);
    token.is_some_and(|token| !token.is_empty())
}

fn config(thread: &WireThread) -> quiche::Result<quiche::Config> {
    let shared = &thread.shared;
    settings::quic(&shared.tls, &thread.limits(), shared.config.early_data)
}

/// Seconds since 1970, for tokens.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

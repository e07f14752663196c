//! Which connection a datagram belongs to, and when a new one may begin.

use super::cid::{self, CID_BYTES, Cid};
use super::connection::{Buffers, Connection, Queue};
use super::settings::DATAGRAM_BYTES_MAX;
use super::token::Tokens;
use crate::exchange::ConnectionFacts;
use crate::thread::WireThread;
use edge_http_policy::Version;
use quiche::{ConnectionId, Header, RecvInfo, RetryConnectionIds};
use slab::Slab;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// From so many unfinished handshakes on, clients must prove their address first.
pub(super) const HALF_OPEN_MAX: usize = 100;
/// Smallest datagram that may open a connection (RFC 9000 §14.1), and smallest id it may use.
const INITIAL_BYTES_MIN: usize = 1200;
const INITIAL_CID_BYTES_MIN: usize = 8;
/// Spare ids offered to a client, so that it can move to another address.
const SPARE_CIDS: usize = 3;

/// A datagram that belongs to no connection: version negotiation or Retry.
pub(super) struct Reply {
    pub contents: Vec<u8>,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

/// Connections by key and by connection id.
pub(super) struct Table {
    thread: Rc<WireThread>,
    listener: u32,
    port: u16,
    config: quiche::Config,
    tokens: Tokens,
    connections: Slab<Rc<Connection>>,
    routes: HashMap<Cid, usize>,
    queue: Rc<Queue>,
    /// Connections that got datagrams since they were last drained.
    pub touched: Vec<Rc<Connection>>,
    /// Datagrams to send that belong to no connection.
    pub replies: Vec<Reply>,
    half_open: usize,
}

impl Table {
    /// An empty table. `None` when there are no random bytes.
    pub fn new(
        thread: Rc<WireThread>,
        (listener, port): (u32, u16),
        config: quiche::Config,
        queue: Rc<Queue>,
    ) -> Option<Table> {
        Some(Table {
            thread,
            listener,
            port,
            config,
            tokens: Tokens::new()?,
            connections: Slab::new(),
            routes: HashMap::new(),
            queue,
            touched: Vec::new(),
            replies: Vec::new(),
            half_open: 0,
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

    /// Gives a datagram to its connection, which may be new.
    pub fn datagram(&mut self, packet: &mut [u8], from: SocketAddr, to: SocketAddr) {
        let Some(destination) = cid::destination(packet) else {
            return;
        };
        let known = self.routes.get(&destination).and_then(|key| self.get(*key));
        let Some(connection) = known.or_else(|| self.accept(packet, destination, from, to)) else {
            return;
        };
        connection.unanswered.set(connection.unanswered.get() + 1);
        // An error here closes the connection or drops the packet; quiche keeps what is to be done.
        let _ = connection.state().quic.recv(packet, RecvInfo { from, to });
        if !connection.touched.replace(true) {
            self.touched.push(connection);
        }
    }

    /// A handshake was completed: the connection gets spare ids.
    pub fn established(&mut self, connection: &Connection) {
        self.half_open = self.half_open.saturating_sub(1);
        let mut state = connection.state();
        for _ in 0..state.quic.scids_left().min(SPARE_CIDS) {
            let (Some(spare), Some(token)) = (Cid::random(self.thread.index), cid::random()) else {
                return;
            };
            if state
                .quic
                .new_scid(&spare.id(), u128::from_be_bytes(token), false)
                .is_ok()
            {
                state.cids.push(spare);
                self.routes.insert(spare, connection.key);
            }
        }
    }

    /// Forgets the ids that the client will not use again.
    pub fn forget_retired(&mut self, connection: &Connection) {
        let mut state = connection.state();
        while let Some(retired) = state.quic.retired_scid_next() {
            if let Some(cid) = Cid::new(&retired) {
                state.cids.retain(|known| *known != cid);
                self.routes.remove(&cid);
            }
        }
    }

    /// Forgets a closed connection.
    pub fn remove(&mut self, connection: &Connection) {
        let mut state = connection.state();
        state.lose_streams();
        for cid in state.cids.drain(..) {
            self.routes.remove(&cid);
        }
        if state.h3.is_none() {
            self.half_open = self.half_open.saturating_sub(1);
            self.thread.shared.stats.handshakes_failed.add(1);
        }
        drop(state);
        self.connections.try_remove(connection.key);
    }

    fn accept(
        &mut self,
        packet: &mut [u8],
        destination: Cid,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Rc<Connection>> {
        // Anything shorter may not open a connection, and an answer to it could amplify.
        if !cid::is_long(packet) || packet.len() < INITIAL_BYTES_MIN {
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
        let token = header.token.as_deref().unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let original = self.tokens.open(from, token, &destination, now);
        if original.is_none() && self.half_open >= HALF_OPEN_MAX {
            self.retry(&header, &destination, (to, from), now);
            return None;
        }
        self.open(destination, original, from, to)
    }

    fn retry(
        &mut self,
        header: &Header<'_>,
        original: &Cid,
        (from, to): (SocketAddr, SocketAddr),
        now: u64,
    ) {
        let Some(fresh) = Cid::random(self.thread.index) else {
            return;
        };
        let Some(token) = self.tokens.seal(to, original, &fresh, now) else {
            return;
        };
        self.thread.shared.stats.quic_add("retries", 1);
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
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<Rc<Connection>> {
        let facts = ConnectionFacts::new(self.listener, from, self.port);
        let admission = match self.thread.shared.admit(from.ip()) {
            Ok(admission) => admission,
            Err(code) => {
                self.thread.turn_away(&facts, Version::Http3, code);
                return None;
            }
        };
        let own = Cid::random(self.thread.index)?;
        let config = &mut self.config;
        let quic = match &original {
            Some(original) => {
                let original: ConnectionId<'_> = original.id();
                let retry: ConnectionId<'_> = destination.id();
                let ids = RetryConnectionIds {
                    original_destination_cid: &original,
                    retry_source_cid: &retry,
                };
                quiche::accept_with_retry::<Buffers>(&own.id(), ids, to, from, config)
            }
            None => quiche::accept_with_buf_factory::<Buffers>(&own.id(), None, to, from, config),
        };
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let (thread, queue) = (self.thread.clone(), self.queue.clone());
        let connection = Connection::new(key, thread, queue, quic.ok()?, facts, admission);
        // Until it has learnt ours the client sends to the id it chose itself.
        connection.state().cids.extend([own, destination]);
        self.routes.insert(own, key);
        self.routes.insert(destination, key);
        self.half_open += 1;
        entry.insert(connection.clone());
        Some(connection)
    }
}

//! Connections to endpoints that wait for requests, and the endpoint table as this thread sees it.

use super::h2::{self, Session};
use super::link::{Link, Stream};
use super::tls::{Identities, Offer};
use crate::config::EndpointProtocol;
use crate::error_code::ErrorCode;
use crate::shared::{Endpoint, Endpoints, Shared};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

/// An endpoint closes idle connections when it likes, and a request that crosses that close on its
/// way cannot be repeated unless it is idempotent: others go on a connection idle for less.
const IDLE_MAX_UNREPEATABLE: Duration = Duration::from_secs(1);

/// What a connection may be used for again: the same address under the same TLS identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    address: SocketAddr,
    /// Behind another agent, another machine may have the address.
    via: Option<Arc<Path>>,
    /// `Identity::number`.
    identity: u32,
}

/// An endpoint and what was learned about it.
pub struct Target {
    endpoint: Arc<Endpoint>,
    /// Of its TLS settings; 0 in clear, `None` when they do not load.
    identity: Option<u32>,
    /// ALPN selected HTTP/1.1 last time: nothing to wait for.
    speaks_http1: Cell<bool>,
    /// One connects, and the streams of the others find room on its connection.
    connecting: Mutex<()>,
}

impl Target {
    pub fn is_tls(&self) -> bool {
        self.endpoint.tls.is_some()
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        let addresses = self.endpoint.addresses.iter();
        let identity = self.identity;
        addresses.filter_map(move |address| {
            Some(Key {
                address: *address,
                via: self.endpoint.via.clone(),
                identity: identity?,
            })
        })
    }

    /// What to offer or to assume: a tunnel is always HTTP/1.1.
    fn offer(&self, tunnel: bool) -> Offer {
        match (self.endpoint.protocol, self.endpoint.tls.is_some()) {
            _ if tunnel => Offer::Http1,
            (EndpointProtocol::Http2, _) => Offer::Http2,
            (EndpointProtocol::Auto, true) => Offer::Both,
            (EndpointProtocol::Http1, _) | (EndpointProtocol::Auto, false) => Offer::Http1,
        }
    }
}

/// A connection for one exchange.
pub enum Connection {
    H1 { link: Box<Link>, key: Key },
    H2(Rc<Session>),
}

/// The connections of one wire thread to its endpoints.
pub struct Pool {
    shared: Arc<Shared>,
    idle: RefCell<HashMap<Key, VecDeque<Box<Link>>>>,
    count: Cell<usize>,
    sessions: RefCell<HashMap<Key, Vec<Rc<Session>>>>,
    endpoints: RefCell<(u64, Arc<Endpoints>)>,
    targets: RefCell<HashMap<u32, Rc<Target>>>,
    identities: Identities,
    filled: Notify,
}

impl Pool {
    pub fn new(shared: Arc<Shared>) -> Pool {
        let endpoints = RefCell::new(shared.endpoints());
        Pool {
            shared,
            idle: RefCell::default(),
            count: Cell::new(0),
            sessions: RefCell::default(),
            endpoints,
            targets: RefCell::default(),
            identities: Identities::default(),
            filled: Notify::new(),
        }
    }

    /// Endpoint `id` in the newest table.
    pub fn endpoint(&self, id: u32) -> Option<Rc<Target>> {
        if self.endpoints.borrow().0 != self.shared.endpoints_version() {
            self.refresh();
        }
        if let Some(target) = self.targets.borrow().get(&id) {
            return Some(target.clone());
        }
        let endpoint = self.endpoints.borrow().1.get(&id)?.clone();
        let identity = match &endpoint.tls {
            Some(tls) => self.identities.of(tls).ok().map(|found| found.number),
            None => Some(0),
        };
        let target = Rc::new(Target {
            endpoint,
            identity,
            speaks_http1: Cell::new(false),
            connecting: Mutex::new(()),
        });
        self.targets.borrow_mut().insert(id, target.clone());
        Some(target)
    }

    fn refresh(&self) {
        let newest = self.shared.endpoints();
        self.identities.keep(|tls| {
            newest
                .1
                .values()
                .any(|endpoint| endpoint.tls.as_ref() == Some(tls))
        });
        *self.endpoints.borrow_mut() = newest;
        self.targets.borrow_mut().clear();
    }

    /// A connection that is there: a stream of an open one, or the newest idle one, for a request
    /// that is not `repeatable` only when it was in use a moment ago.
    pub fn take(&self, target: &Target, tunnel: bool, repeatable: bool) -> Option<Connection> {
        let offer = target.offer(tunnel);
        if offer != Offer::Http1
            && let Some(session) = target.keys().find_map(|key| self.session(&key))
        {
            return Some(Connection::H2(session));
        }
        if offer == Offer::Http2 {
            return None;
        }
        target.keys().find_map(|key| {
            let link = self.idle_link(&key, repeatable)?;
            Some(Connection::H1 { link, key })
        })
    }

    fn session(&self, key: &Key) -> Option<Rc<Session>> {
        let mut sessions = self.sessions.borrow_mut();
        let open = sessions.get_mut(key)?;
        open.retain(|session| session.is_open());
        open.iter().find(|session| session.has_room()).cloned()
    }

    fn idle_link(&self, key: &Key, repeatable: bool) -> Option<Box<Link>> {
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(key)?;
        loop {
            let idle_since = links.back()?.idle_since;
            if !repeatable && idle_since.elapsed() >= IDLE_MAX_UNREPEATABLE {
                return None; // the others are older still
            }
            let link = links.pop_back()?;
            self.count.set(self.count.get().saturating_sub(1));
            if link.is_idle() {
                return Some(link);
            }
        }
    }

    /// A connection to `target` within `patience`, TLS handshake included. True: somebody used it
    /// before, because another exchange opened one while this one waited for its turn.
    pub async fn connect(
        &self,
        target: &Target,
        tunnel: bool,
        patience: Duration,
    ) -> Result<(Connection, bool), ErrorCode> {
        let offer = target.offer(tunnel);
        let connecting = async {
            if offer == Offer::Http1 || target.speaks_http1.get() {
                return Ok((self.open(target, offer).await?, false));
            }
            let _turn = target.connecting.lock().await;
            if let Some(session) = target.keys().find_map(|key| self.session(&key)) {
                return Ok((Connection::H2(session), true));
            }
            Ok((self.open(target, offer).await?, false))
        };
        let connected = timeout(patience, connecting).await;
        connected.unwrap_or(Err(ErrorCode::UpstreamConnectTimeout))
    }

    async fn open(&self, target: &Target, offer: Offer) -> Result<Connection, ErrorCode> {
        self.shared.stats.upstream_connects.add(1);
        let endpoint = &target.endpoint;
        let identity = match &endpoint.tls {
            Some(tls) => Some(self.identities.of(tls)?),
            None => None,
        };
        let (stream, address) =
            Stream::connect(&endpoint.addresses, endpoint.via.as_deref()).await?;
        let (stream, http2, number) = match identity {
            Some(identity) => {
                let (stream, http2) = Box::pin(identity.connect(stream, offer)).await?;
                if offer == Offer::Both {
                    target.speaks_http1.set(!http2);
                }
                (Stream::Tls(Box::new(stream)), http2, identity.number)
            }
            None => (stream, offer == Offer::Http2, 0),
        };
        let key = Key {
            address,
            via: endpoint.via.clone(),
            identity: number,
        };
        if !http2 {
            let link = Box::new(Link::new(stream));
            return Ok(Connection::H1 { link, key });
        }
        let session = Box::pin(h2::connect(stream)).await?;
        let mut sessions = self.sessions.borrow_mut();
        sessions.entry(key).or_default().push(session.clone());
        self.filled.notify_one();
        Ok(Connection::H2(session))
    }

    /// Keeps a connection whose last response was read to its end.
    pub fn give(&self, key: Key, mut link: Box<Link>) {
        let (_, limits) = self.shared.limits();
        if !link.is_idle() || limits.upstream_idle_connections_max == 0 {
            return;
        }
        link.idle_since = Instant::now();
        link.input = BytesMut::new(); // an idle connection holds no buffer
        let mut idle = self.idle.borrow_mut();
        let links = idle.entry(key).or_default();
        if links.len() >= limits.upstream_idle_connections_max {
            links.pop_front(); // the oldest of this endpoint makes room
        } else {
            self.count.set(self.count.get() + 1);
        }
        links.push_back(link);
        if self.count.get() == 1 {
            self.filled.notify_one();
        }
    }

    /// Closes connections that were idle for too long. Sleeps for good while there are none.
    pub async fn sweep(self: Rc<Self>) {
        loop {
            let limit = Duration::from_millis(self.shared.limits().1.upstream_idle_timeout_ms);
            if self.count.get() == 0 && self.sessions.borrow().is_empty() {
                self.filled.notified().await;
            }
            tokio::time::sleep(limit / 2 + Duration::from_millis(10)).await;
            let mut left = 0;
            self.idle.borrow_mut().retain(|_, links| {
                links.retain(|link| link.idle_since.elapsed() < limit && link.is_idle());
                left += links.len();
                !links.is_empty()
            });
            self.count.set(left);
            self.sessions.borrow_mut().retain(|_, sessions| {
                sessions.retain(|session| session.is_open() && !session.idle_longer_than(limit));
                !sessions.is_empty()
            });
        }
    }
}

//! The connections of one wire thread to the service: one to each of its addresses.

use super::ServiceConfig;
use super::link::Link;
use crate::shared::Shared;
use crate::timers::Timers;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Failed attempts in a row up to which a question waits for the next one.
const PATIENCE: u32 = 4;
/// How long a question that finds nobody waits, at most, for attempts that it has asked for.
const LAST_RESORT: Duration = Duration::from_millis(250);

/// One address of the service.
struct Peer {
    address: SocketAddr,
    link: RefCell<Option<Rc<Link>>>,
    /// Something keeps a connection to it.
    kept: Cell<bool>,
    /// Attempts in a row that came to nothing.
    failures: Cell<u32>,
}

impl Peer {
    fn new(address: SocketAddr) -> Rc<Peer> {
        Rc::new(Peer {
            address,
            link: RefCell::default(),
            kept: Cell::new(false),
            failures: Cell::new(0),
        })
    }

    fn open_link(&self) -> Option<Rc<Link>> {
        let link = self.link.borrow();
        link.as_ref().filter(|link| link.is_open()).cloned()
    }

    /// Another attempt ended; how long to wait for the next.
    fn failed(&self) -> Duration {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let wait = BACKOFF_FIRST * (1 << failures.min(6));
        wait.min(BACKOFF_MAX)
    }
}

/// Who may be asked.
pub(crate) struct Asker {
    shared: Arc<Shared>,
    timers: Rc<Timers>,
    known: RefCell<Known>,
    /// A connection came about, or did not.
    changed: Notify,
    /// A question found nobody: the next attempts are due at once.
    wanted: Notify,
}

#[derive(Default)]
struct Known {
    version: Option<u64>,
    config: Arc<ServiceConfig>,
    peers: Vec<Rc<Peer>>,
}

impl Asker {
    pub fn new(shared: Arc<Shared>, timers: Rc<Timers>) -> Asker {
        Asker {
            shared,
            timers,
            known: RefCell::default(),
            changed: Notify::new(),
            wanted: Notify::new(),
        }
    }

    /// What is in force now.
    pub fn config(&self) -> Arc<ServiceConfig> {
        self.refresh();
        self.known.borrow().config.clone()
    }

    /// A connection for a new exchange: the one with the fewest, rather one that answered last
    /// time, and none of `avoided`. Waits while one may yet come about; `None`: nobody is there,
    /// also not after an attempt made for this question.
    pub async fn link(self: &Rc<Self>, avoided: &[SocketAddr]) -> Option<Rc<Link>> {
        let mut last_resort = None;
        loop {
            let config = self.config();
            self.connect();
            let peers: Vec<Rc<Peer>> = {
                let known = self.known.borrow();
                let wanted = |peer: &&Rc<Peer>| !avoided.contains(&peer.address);
                known.peers.iter().filter(wanted).cloned().collect()
            };
            let open = peers.iter().filter_map(|peer| peer.open_link());
            let free = open.filter(|link| link.load() < config.in_flight_max);
            if let Some(link) = free.min_by_key(|link| (link.is_suspect(), link.load())) {
                return Some(link);
            }
            let is_hopeful =
                |peer: &Rc<Peer>| peer.open_link().is_none() && peer.failures.get() < PATIENCE;
            if !peers.iter().any(is_hopeful) {
                let (until, before) = last_resort.get_or_insert_with(|| {
                    let failures = peers.iter().map(|peer| (peer.clone(), peer.failures.get()));
                    (Instant::now() + LAST_RESORT, failures.collect::<Vec<_>>())
                });
                let was_tried = |(peer, then): &(Rc<Peer>, u32)| {
                    peer.open_link().is_some() || peer.failures.get() > *then
                };
                if before.iter().all(was_tried) || Instant::now() >= *until {
                    return None;
                }
                self.wanted.notify_waiters();
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.timers.after(BACKOFF_FIRST) => {}
            }
        }
    }

    /// Whether the service has more than one address.
    pub fn has_others(&self, avoided: &[SocketAddr]) -> bool {
        let known = self.known.borrow();
        let others = known.peers.iter();
        others
            .filter(|peer| !avoided.contains(&peer.address))
            .any(|peer| peer.open_link().is_some() || peer.failures.get() < PATIENCE)
    }

    /// Takes another set of addresses over; what is under way at those that are gone ends there.
    fn refresh(&self) {
        let version = self.shared.service_version();
        let mut known = self.known.borrow_mut();
        if known.version == Some(version) {
            return;
        }
        let config = self.shared.service();
        let is_same = config.secret == known.config.secret;
        let mut before = std::mem::take(&mut known.peers);
        for address in &config.addresses {
            let found = before.iter().position(|peer| peer.address == *address);
            let peer = match found.filter(|_| is_same) {
                Some(index) => before.swap_remove(index),
                None => Peer::new(*address),
            };
            known.peers.push(peer);
        }
        for gone in before {
            gone.link.borrow().iter().for_each(|link| link.leave());
        }
        (known.version, known.config) = (Some(version), config);
    }

    /// Begins what keeps a connection to each peer.
    fn connect(self: &Rc<Self>) {
        for peer in &self.known.borrow().peers {
            if !peer.kept.replace(true) {
                let (asker, peer) = (self.clone(), peer.clone());
                tokio::task::spawn_local(async move { asker.keep(&peer).await });
            }
        }
    }

    /// One connection after the other, also while nobody asks: a service that is back is known
    /// before the next question.
    async fn keep(self: &Rc<Self>, peer: &Rc<Peer>) {
        loop {
            let config = self.config();
            let is_known = |known: &Known| known.peers.iter().any(|one| Rc::ptr_eq(one, peer));
            if !is_known(&self.known.borrow()) {
                return;
            }
            let wait = self.attempt(peer, &config).await;
            self.changed.notify_waiters();
            // However many ask: attempts stay `BACKOFF_FIRST` apart.
            self.timers.after(wait.min(BACKOFF_FIRST)).await;
            tokio::select! {
                () = self.timers.after(wait.saturating_sub(BACKOFF_FIRST)) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// One connection, from its first packet to its end; how long to wait before the next.
    async fn attempt(self: &Rc<Self>, peer: &Rc<Peer>, config: &ServiceConfig) -> Duration {
        let patience = Duration::from_millis(config.timeout_ms);
        let opening = Link::open(peer.address, config);
        let Some(Ok((link, stream, buffer))) = self.timers.within(patience, opening).await else {
            self.shared.stats.service_connects_failed.add(1);
            return peer.failed();
        };
        self.shared.stats.service_connections.add(1);
        peer.failures.set(0);
        peer.link.replace(Some(link.clone()));
        self.changed.notify_waiters();
        link.run(stream, buffer).await;
        *peer.link.borrow_mut() = None;
        peer.failed()
    }
}

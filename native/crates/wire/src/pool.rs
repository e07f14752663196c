//! Idle connections to endpoints, newest first, and the endpoint table as this thread sees it.

use crate::shared::{Endpoint, Endpoints, Shared};
use crate::upstream::Link;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The idle connections of one wire thread.
pub struct Pool {
    shared: Arc<Shared>,
    idle: RefCell<HashMap<SocketAddr, VecDeque<Link>>>,
    count: Cell<usize>,
    endpoints: RefCell<(u64, Arc<Endpoints>)>,
    filled: Notify,
}

impl Pool {
    pub fn new(shared: Arc<Shared>) -> Pool {
        let endpoints = RefCell::new(shared.endpoints());
        let (idle, count) = (RefCell::default(), Cell::new(0));
        Pool {
            shared,
            idle,
            count,
            endpoints,
            filled: Notify::new(),
        }
    }

    /// Endpoint `id` in the newest table.
    pub fn endpoint(&self, id: u32) -> Option<Arc<Endpoint>> {
        if self.endpoints.borrow().0 != self.shared.endpoints_version() {
            *self.endpoints.borrow_mut() = self.shared.endpoints();
        }
        self.endpoints.borrow().1.get(&id).cloned()
    }

    /// The newest idle connection that is still open.
    pub fn take(&self, address: SocketAddr) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(&address)?;
        while let Some(link) = links.pop_back() {
            self.count.set(self.count.get().saturating_sub(1));
            if link.is_idle() {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection whose last response was read to its end.
    pub fn give(&self, address: SocketAddr, mut link: Link) {
        let (_, limits) = self.shared.limits();
        if !link.is_idle() || limits.upstream_idle_connections_max == 0 {
            return;
        }
        link.idle_since = Instant::now();
        let mut idle = self.idle.borrow_mut();
        let links = idle.entry(address).or_default();
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
            let timeout = Duration::from_millis(self.shared.limits().1.upstream_idle_timeout_ms);
            if self.count.get() == 0 {
                self.filled.notified().await;
            }
            tokio::time::sleep(timeout / 2 + Duration::from_millis(10)).await;
            let mut left = 0;
            self.idle.borrow_mut().retain(|_, links| {
                links.retain(|link| link.idle_since.elapsed() < timeout && link.is_idle());
                left += links.len();
                !links.is_empty()
            });
            self.count.set(left);
        }
    }
}

//! Where the thread that decides leaves word for one carrier, and what all carriers have in common.

use crate::lane::Buffers;
use crate::port::Scratch;
use crate::train::Train;
use crate::{Event, Options};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Packets in one train to the device: Linux takes no more (UDP_MAX_SEGMENTS was 64 for long).
const SEGMENTS_MAX: usize = 64;

#[derive(Default)]
struct Events {
    queue: Vec<Event>,
    /// Somebody was woken, and will take them all.
    is_woken: bool,
}

/// What both threads have.
pub struct Shared {
    pub options: Options,
    numbers: AtomicU32,
    events: Mutex<Events>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    pub fn new(options: Options, wake: Box<dyn Fn() + Send + Sync>) -> Shared {
        Shared {
            options,
            numbers: AtomicU32::new(1),
            events: Mutex::default(),
            wake,
        }
    }

    /// A number for a new carrier.
    pub fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub fn happened(&self, event: Event) {
        let mut events = lock(&self.events);
        // Who goes to and fro is told of once, however often: the queue has an end.
        if let Event::Moved { carrier, .. } = event {
            let is_older =
                |old: &Event| matches!(old, Event::Moved { carrier: of, .. } if *of == carrier);
            events.queue.retain(|old| !is_older(old));
        }
        events.queue.push(event);
        let is_news = !std::mem::replace(&mut events.is_woken, true);
        drop(events);
        if is_news {
            (self.wake)();
        }
    }

    /// All of them; the next one wakes again.
    pub fn take(&self) -> Vec<Event> {
        let mut events = lock(&self.events);
        events.is_woken = false;
        std::mem::take(&mut events.queue)
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// Where the relay takes such connections.
    pub to: SocketAddr,
    /// Where it has its device, as it says itself.
    pub target: SocketAddr,
    /// The key that it must have.
    pub identity: [u8; 32],
}

/// What was decided about one carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Admit,
    Refuse,
    End,
}

/// One carrier's.
#[derive(Default)]
pub struct Desk {
    decision: Cell<Option<Decision>>,
    /// There is something to look at.
    pub bell: Notify,
}

impl Desk {
    pub fn put(&self, decision: Decision) {
        self.decision.set(Some(decision));
        self.bell.notify_one();
    }

    pub fn take(&self) -> Option<Decision> {
        self.decision.take()
    }
}

/// What all carriers of the thread share.
pub struct Room {
    pub shared: Arc<Shared>,
    pub buffers: Buffers,
    desks: RefCell<HashMap<u32, Rc<Desk>>>,
    /// Carriers of others that are served here, whatever became of them yet.
    pub served: Cell<usize>,
}

impl Room {
    pub fn new(shared: Arc<Shared>) -> Room {
        Room {
            shared,
            buffers: Buffers {
                scratch: RefCell::new(Scratch::default()),
                to_device: RefCell::new(Train::new(SEGMENTS_MAX)),
                outward: RefCell::new(Train::new(SEGMENTS_MAX)),
                plain: RefCell::new(BytesMut::new()),
            },
            desks: RefCell::default(),
            served: Cell::new(0),
        }
    }

    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A carrier gets its number, by which it is told what was decided.
    pub fn enter(&self, number: u32, desk: &Rc<Desk>) {
        self.desks.borrow_mut().insert(number, Rc::clone(desk));
    }

    /// It is over.
    pub fn leave(&self, number: u32, reason: String, dropped: u64) {
        if self.desks.borrow_mut().remove(&number).is_some() {
            self.shared.happened(Event::Ended {
                carrier: number,
                reason,
                dropped,
            });
        }
    }

    /// What is decided about one that is gone goes nowhere.
    pub fn put(&self, number: u32, decision: Decision) {
        if let Some(desk) = self.desks.borrow().get(&number) {
            desk.put(decision);
        }
    }

    pub fn end_all(&self) {
        for desk in self.desks.borrow().values() {
            desk.put(Decision::End);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.desks.borrow().is_empty()
    }
}

/// IPv4 in IPv6, as a socket of both families shows it, is IPv4 to whoever reads it.
pub fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::options;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn who_moves_often_is_told_of_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let shared = Shared::new(options(), Box::new(wake));
        let moved = |carrier, port| Event::Moved {
            carrier,
            remote: SocketAddr::from(([192, 0, 2, 1], port)),
        };
        for port in 1..1000 {
            shared.happened(moved(1, port));
            shared.happened(moved(2, port));
        }
        assert_eq!(shared.take(), [moved(1, 999), moved(2, 999)]);
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        assert_eq!(shared.take(), []);
    }
}

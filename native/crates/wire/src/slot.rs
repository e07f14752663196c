//! One worker's inbox, and the exchanges it knows.

use crate::exchange::Exchange;
use crate::mailbox::Seat;
use crate::record::{Outcome, Record, Refused};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Wakes a worker; called from any thread, also after the worker died.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Records in one batch: bounds the worker's buffer and the latency of the first of them.
const BATCH_RECORDS_MAX: usize = 256;

/// An exchange that the worker knows, or whose head waits for it.
pub struct Held {
    pub exchange: Arc<Exchange>,
    /// Times a worker died over it, while its head is in the queue.
    attempt: Option<u32>,
    /// Records that want an answer and have none.
    pub awaiting: u32,
    /// Those of them still in the queue.
    pub queued: u32,
    pub outcome: Option<Arc<Outcome>>,
    /// Told for the log only.
    pub orphan: bool,
}

impl Held {
    fn new(exchange: Arc<Exchange>, attempt: Option<u32>) -> Held {
        Held {
            exchange,
            attempt,
            awaiting: 0,
            queued: 0,
            outcome: None,
            orphan: false,
        }
    }
}

/// What waits in a slot's queue.
enum Queued {
    /// The head of the exchange with that handle. Stale when the exchange was forgotten meanwhile;
    /// should another have its handle by then, the head of that one goes in its place.
    Head(u32),
    Record(Record),
}

/// What became of an outcome.
#[derive(Debug, PartialEq, Eq)]
pub enum Posted {
    Queued,
    /// The worker is gone.
    Gone,
    /// It had no room for it.
    Lost,
}

/// What the slot's lock guards.
#[derive(Default)]
pub struct SlotState {
    pub generation: u32,
    wake: Option<Wake>,
    queue: VecDeque<Queued>,
    /// Exchanges that ended while their heads were in the queue.
    abandoned: u32,
    held: Slab<Held>,
    /// Awake, or on its way to be: it takes until nothing is left, so it needs no wake-up.
    awake: bool,
    /// When the worker last took or answered, or when work came to an idle worker.
    alive: Option<Instant>,
}

/// One worker slot.
#[derive(Default)]
pub struct Slot {
    pub live: AtomicBool,
    /// Records without an answer.
    pub pending: AtomicU32,
    state: Mutex<SlotState>,
}

fn handle_of(key: usize) -> u32 {
    u32::try_from(key).unwrap_or(u32::MAX)
}

impl Slot {
    pub fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot's state if the worker of `generation` lives.
    fn lock_live(&self, generation: u32) -> Option<MutexGuard<'_, SlotState>> {
        let state = self.lock();
        (state.wake.is_some() && state.generation == generation).then_some(state)
    }

    /// A new worker; its generation.
    pub fn attach(&self, wake: Wake) -> u32 {
        let mut state = self.lock();
        state.generation = state.generation.wrapping_add(1);
        state.wake = Some(wake);
        state.awake = false;
        self.live.store(true, Ordering::Release);
        state.generation
    }

    /// The worker is gone: everything it knew. `None` when another one sits here.
    pub fn detach(&self, generation: u32) -> Option<Slab<Held>> {
        let mut state = self.lock_live(generation)?;
        self.live.store(false, Ordering::Release);
        self.pending.store(0, Ordering::Relaxed);
        let wake = state.wake.take();
        let queue = std::mem::take(&mut state.queue);
        let held = std::mem::take(&mut state.held);
        state.abandoned = 0;
        drop(state);
        drop((wake, queue)); // both may run foreign drops: outside the lock
        Some(held)
    }

    /// The function to wake the worker with, when it must be woken.
    pub fn signal(&self) -> Option<Wake> {
        let mut state = self.lock();
        if state.awake || state.queue.is_empty() {
            return None;
        }
        let wake = state.wake.clone()?;
        state.awake = true;
        Some(wake)
    }

    /// Seats an exchange and queues its head. `None`: no worker; false: the exchange is over.
    pub fn seat(&self, slot: usize, exchange: &Arc<Exchange>) -> Option<bool> {
        let mut state = self.lock();
        state.wake.as_ref()?;
        let handle = handle_of(state.held.vacant_key());
        let seat = Seat {
            slot,
            generation: state.generation,
            handle,
        };
        if !exchange.mailbox.seat_at(seat) {
            return Some(false);
        }
        let attempt = exchange.mailbox.losses();
        let held = Held::new(exchange.clone(), Some(attempt));
        state.held.insert(held);
        self.push(&mut state, Some(handle), Queued::Head(handle));
        Some(true)
    }

    /// Queues head and outcome of an exchange that has no worker. False: there is none here.
    pub fn seat_orphan(&self, exchange: &Arc<Exchange>, outcome: &Arc<Outcome>) -> bool {
        let mut state = self.lock();
        if state.wake.is_none() {
            return false;
        }
        let mut held = Held::new(exchange.clone(), None);
        (held.outcome, held.orphan) = (Some(outcome.clone()), true);
        let handle = handle_of(state.held.insert(held));
        let (exchange, outcome) = (exchange.clone(), outcome.clone());
        let record = Record::Orphan {
            handle,
            exchange,
            outcome,
        };
        self.push(&mut state, Some(handle), Queued::Record(record));
        true
    }

    /// Queues a record for the exchange at `seat`.
    pub fn post(&self, seat: Seat, record: Record) -> bool {
        let Some(mut state) = self.lock_live(seat.generation) else {
            return false;
        };
        self.push(&mut state, record.handle(), Queued::Record(record));
        true
    }

    /// Queues the outcome of the exchange at `seat`. An exchange that ended before the worker saw
    /// its head waits for nothing: it takes no place from those that do, and the worker learns head
    /// and outcome in one, for the log, of up to `abandoned_max` of them.
    pub fn post_outcome(&self, seat: Seat, outcome: &Arc<Outcome>, abandoned_max: u32) -> Posted {
        let Some(mut state) = self.lock_live(seat.generation) else {
            return Posted::Gone;
        };
        let (handle, abandoned) = (seat.handle, state.abandoned);
        if let Some(held) = state.held.get_mut(handle as usize) {
            if held.attempt.is_some() {
                self.pending.fetch_sub(held.awaiting, Ordering::Relaxed);
                (held.awaiting, held.queued) = (0, 0);
                if abandoned >= abandoned_max {
                    state.held.try_remove(handle as usize);
                    return Posted::Lost;
                }
                held.outcome = Some(outcome.clone());
                state.abandoned += 1;
                return Posted::Queued;
            }
            held.outcome = Some(outcome.clone());
        }
        let outcome = outcome.clone();
        let record = Record::Outcome { handle, outcome };
        self.push(&mut state, Some(handle), Queued::Record(record));
        Posted::Queued
    }

    /// Queues a refusal, unless the worker is behind.
    pub fn post_refusal(&self, refused: Refused, queue_max: u32) -> bool {
        let mut state = self.lock();
        let takes = state.wake.is_some() && state.queue.len() < queue_max as usize;
        if takes {
            let record = Record::Refused(Box::new(refused));
            self.push(&mut state, None, Queued::Record(record));
        }
        takes
    }

    fn push(&self, state: &mut SlotState, handle: Option<u32>, queued: Queued) {
        if state.queue.is_empty() && self.pending.load(Ordering::Relaxed) == 0 {
            state.alive = Some(Instant::now());
        }
        if let Some(held) = handle.and_then(|handle| state.held.get_mut(handle as usize)) {
            held.awaiting += 1;
            held.queued += 1;
            self.pending.fetch_add(1, Ordering::Relaxed);
        }
        state.queue.push_back(queued);
    }

    /// The record to give to the worker. `None`: nobody waits for it any more.
    fn ripe(&self, state: &mut SlotState, queued: Queued) -> Option<Record> {
        let handle = match &queued {
            Queued::Head(handle) => Some(*handle),
            Queued::Record(record) => record.handle(),
        };
        let held = handle.and_then(|handle| state.held.get_mut(handle as usize));
        if let Queued::Record(record) = queued {
            if let Some(held) = held {
                held.queued = held.queued.saturating_sub(1);
            }
            return Some(record);
        }
        let (handle, held) = (handle?, held?);
        let attempt = held.attempt.take()?;
        let exchange = held.exchange.clone();
        let Some(outcome) = held.outcome.clone() else {
            held.queued = held.queued.saturating_sub(1);
            return Some(Record::Head {
                handle,
                attempt,
                exchange,
            });
        };
        (held.awaiting, held.orphan) = (1, true);
        self.pending.fetch_add(1, Ordering::Relaxed);
        state.abandoned = state.abandoned.saturating_sub(1);
        Some(Record::Orphan {
            handle,
            exchange,
            outcome,
        })
    }

    /// Moves the next batch into `records`. Who gets any comes again, until there is none.
    ///
    /// An exchange that was in a dead worker's hands ends its batch: should it be what kills, it
    /// takes no other suspect along.
    pub fn take(&self, generation: u32, records: &mut Vec<Record>) {
        let Some(mut state) = self.lock_live(generation) else {
            return;
        };
        state.alive = Some(Instant::now());
        while records.len() < BATCH_RECORDS_MAX {
            let Some(queued) = state.queue.pop_front() else {
                break;
            };
            let Some(record) = self.ripe(&mut state, queued) else {
                continue;
            };
            let suspect = matches!(record, Record::Head { attempt: 1.., .. });
            records.push(record);
            if suspect {
                break;
            }
        }
        state.awake = !records.is_empty();
    }

    /// The worker answered one record of `handle`, or is `done` with it.
    pub fn answered(
        &self,
        state: &mut SlotState,
        handle: u32,
        done: bool,
    ) -> Option<Arc<Exchange>> {
        let key = handle as usize;
        if done {
            let held = state.held.try_remove(key)?;
            self.pending.fetch_sub(held.awaiting, Ordering::Relaxed);
            return Some(held.exchange);
        }
        let held = state.held.get_mut(key)?;
        if held.awaiting > 0 {
            held.awaiting -= 1;
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
        Some(held.exchange.clone())
    }

    /// The state for a batch of answers; also a sign of life.
    pub fn lock_for_answers(&self, generation: u32) -> Option<MutexGuard<'_, SlotState>> {
        let mut state = self.lock_live(generation)?;
        state.alive = Some(Instant::now());
        Some(state)
    }

    /// The exchange that the worker of `generation` knows as `handle`.
    pub fn exchange(&self, generation: u32, handle: u32) -> Option<Arc<Exchange>> {
        let state = self.lock_live(generation)?;
        state
            .held
            .get(handle as usize)
            .map(|held| held.exchange.clone())
    }

    /// Milliseconds without a sign of life while there is work; -1: no worker.
    pub fn silence(&self) -> i64 {
        let state = self.lock();
        if state.wake.is_none() {
            return -1;
        }
        if state.queue.is_empty() && self.pending.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let silent = state.alive.map_or(0, |alive| alive.elapsed().as_millis());
        i64::try_from(silent).unwrap_or(i64::MAX)
    }
}

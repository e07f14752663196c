//! The queues between wire threads and workers: one slot per worker, each with a generation, so
//! that a worker can be replaced while its exchanges wait.

use crate::error_code::ErrorCode;
use crate::exchange::Exchange;
use crate::mailbox::{AfterLoss, Seat};
use crate::outbox::{Outbox, Worklist};
use crate::port::Port;
use crate::record::{Outcome, Record, Refused};
use crate::slot::{Held, Posted, Slot, Wake};
use crate::stats::Stats;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// More worker slots than any machine here has cores for; the worklist is one word of bits.
pub const WORKERS_MAX: usize = 64;
/// Exchanges and outcomes that wait while no worker lives. Each is bounded by its own timeout.
const PARKED_MAX: usize = 65_536;

enum Parked {
    Exchange(Arc<Exchange>),
    Orphan(Arc<Exchange>, Arc<Outcome>),
}

/// All worker slots, and the way back to the wire threads.
pub struct Hub {
    slots: Vec<Slot>,
    pub(crate) outboxes: Vec<Arc<Outbox>>,
    parked: Mutex<VecDeque<Parked>>,
    queue_max: u32,
    pub(crate) stats: Arc<Stats>,
}

impl Hub {
    /// A hub for `workers` slots and `threads` wire threads.
    pub fn new(workers: usize, threads: usize, queue_max: u32, stats: Arc<Stats>) -> Hub {
        Hub {
            slots: (0..workers.min(WORKERS_MAX))
                .map(|_| Slot::default())
                .collect(),
            outboxes: (0..threads).map(|_| Arc::default()).collect(),
            parked: Mutex::default(),
            queue_max,
            stats,
        }
    }

    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// Attaches a worker to `slot`; one that was there is taken for dead.
    pub fn attach(self: &Arc<Hub>, slot: usize, wake: Wake) -> Option<Port> {
        let found = self.slot(slot)?;
        let earlier = found.lock().generation;
        self.detach(slot, earlier);
        let generation = found.attach(wake);
        let parked = std::mem::take(&mut *self.lock_parked());
        for waiting in parked {
            match waiting {
                Parked::Exchange(exchange) => self.place_again(exchange),
                Parked::Orphan(exchange, outcome) => self.orphan(exchange, outcome),
            }
        }
        self.wake(slot);
        Some(Port::new(self.clone(), slot, generation))
    }

    /// Gives a new exchange to the worker with the fewest pending records.
    pub(crate) fn submit(
        &self,
        worklist: &Worklist,
        exchange: &Arc<Exchange>,
    ) -> Result<(), ErrorCode> {
        match self.place(exchange, self.queue_max) {
            Place::At(slot) => worklist.mark(slot),
            Place::Full => return Err(ErrorCode::WafQueueFull),
            Place::Nowhere => return self.park(Parked::Exchange(exchange.clone())),
            Place::Over => {}
        }
        Ok(())
    }

    /// Tells the exchange's worker something. False: that worker is gone, and the exchange was or
    /// will be given to another.
    pub(crate) fn post(&self, worklist: &Worklist, seat: Seat, record: Record) -> bool {
        let posted = self
            .slot(seat.slot)
            .is_some_and(|slot| slot.post(seat, record));
        if posted {
            worklist.mark(seat.slot);
        }
        posted
    }

    /// Reports how an exchange ended, to its worker, or to another when that one is gone.
    pub(crate) fn outcome(&self, worklist: &Worklist, exchange: &Arc<Exchange>, outcome: Outcome) {
        let outcome = Arc::new(outcome);
        let seat = exchange.mailbox.finish();
        let slot = seat.and_then(|seat| Some((seat, self.slot(seat.slot)?)));
        let posted = slot.map(|(seat, slot)| {
            let posted = slot.post_outcome(seat, &outcome, self.queue_max);
            (seat, posted)
        });
        match posted {
            Some((seat, Posted::Queued)) => worklist.mark_later(seat.slot),
            Some((_, Posted::Lost)) => self.stats.records_lost.add(1),
            Some((_, Posted::Gone)) | None => self.orphan(exchange.clone(), outcome),
        }
    }

    /// Records a refusal with any worker.
    pub(crate) fn refused(&self, worklist: &Worklist, refused: Refused) {
        let chosen = self.fewest_pending();
        let index = chosen.filter(|(slot, _)| slot.post_refusal(refused, self.queue_max));
        match index {
            Some((_, index)) => worklist.mark_later(index),
            None => self.stats.records_lost.add(1),
        }
    }

    /// Takes the exchanges of a dead worker away and gives each to another, once.
    pub fn detach(&self, slot: usize, generation: u32) {
        let Some(held) = self.slot(slot).and_then(|slot| slot.detach(generation)) else {
            return;
        };
        for (
            _,
            Held {
                exchange,
                awaiting,
                queued,
                outcome,
                orphan,
                ..
            },
        ) in held
        {
            if let Some(outcome) = outcome {
                if orphan {
                    self.stats.records_lost.add(1);
                } else {
                    self.orphan(exchange, outcome);
                }
            } else if exchange.mailbox.lose_worker(awaiting > queued) == AfterLoss::Redeliver {
                self.stats.redelivered.add(1);
                self.place_again(exchange);
            }
        }
    }

    /// For each slot: milliseconds without a sign of life while it has work; -1: no worker.
    pub fn silence(&self) -> Vec<i64> {
        self.slots.iter().map(Slot::silence).collect()
    }

    /// Wakes the slot's worker if it has something to take and rests.
    pub(crate) fn wake(&self, slot: usize) {
        if let Some(wake) = self.slot(slot).and_then(Slot::signal) {
            self.stats.wakeups.add(1);
            wake();
        }
    }

    fn fewest_pending(&self) -> Option<(&Slot, usize)> {
        let live = self
            .slots
            .iter()
            .zip(0..)
            .filter(|(slot, _)| slot.live.load(Ordering::Acquire));
        live.min_by_key(|(slot, _)| slot.pending.load(Ordering::Relaxed))
    }

    fn place(&self, exchange: &Arc<Exchange>, queue_max: u32) -> Place {
        for _ in 0..=self.slots.len() {
            let Some((slot, index)) = self.fewest_pending() else {
                return Place::Nowhere;
            };
            if slot.pending.load(Ordering::Relaxed) >= queue_max {
                return Place::Full;
            }
            match slot.seat(index, exchange) {
                Some(true) => return Place::At(index),
                Some(false) => return Place::Over,
                None => {} // it died just now
            }
        }
        Place::Nowhere
    }

    fn place_again(&self, exchange: Arc<Exchange>) {
        match self.place(&exchange, u32::MAX) {
            Place::At(slot) => self.wake(slot),
            Place::Nowhere => {
                if let Err(code) = self.park(Parked::Exchange(exchange.clone())) {
                    exchange.mailbox.fail(code);
                }
            }
            Place::Full | Place::Over => {}
        }
    }

    /// For the log of any worker: the outcome of an exchange that has no worker.
    fn orphan(&self, exchange: Arc<Exchange>, outcome: Arc<Outcome>) {
        for _ in 0..=self.slots.len() {
            let Some((slot, index)) = self.fewest_pending() else {
                break;
            };
            if slot.pending.load(Ordering::Relaxed) >= self.queue_max.saturating_mul(2) {
                return self.stats.records_lost.add(1);
            }
            if slot.seat_orphan(&exchange, &outcome) {
                return self.wake(index);
            }
        }
        let _ = self.park(Parked::Orphan(exchange, outcome));
    }

    /// Keeps what no worker can take now. A worker that attached meanwhile gets it at once.
    fn park(&self, waiting: Parked) -> Result<(), ErrorCode> {
        let mut parked = self.lock_parked();
        if self.fewest_pending().is_some() {
            drop(parked);
            match waiting {
                Parked::Exchange(exchange) => match self.place(&exchange, self.queue_max) {
                    Place::At(slot) => self.wake(slot),
                    Place::Full => return Err(ErrorCode::WafQueueFull),
                    Place::Nowhere => return Err(ErrorCode::WafUnavailable),
                    Place::Over => {}
                },
                Parked::Orphan(..) => self.stats.records_lost.add(1),
            }
            return Ok(());
        }
        if parked.len() >= PARKED_MAX {
            self.stats.records_lost.add(1);
            return Err(ErrorCode::WafUnavailable);
        }
        parked.push_back(waiting);
        Ok(())
    }

    fn lock_parked(&self) -> std::sync::MutexGuard<'_, VecDeque<Parked>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Place {
    At(usize),
    Full,
    Nowhere,
    /// The exchange ended while it waited.
    Over,
}

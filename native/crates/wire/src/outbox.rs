//! Between threads: plans on their way to a wire thread, and workers that a wire thread will wake.

use crate::exchange::Exchange;
use crate::hub::Hub;
use crate::mailbox::Seat;
use crate::plan::Plan;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A plan for an exchange.
pub struct Delivery {
    pub exchange: Arc<Exchange>,
    pub seat: Seat,
    pub plan: Plan,
}

impl Delivery {
    /// Wakes the exchange with its plan. On its own thread, where waking is a push to a list.
    pub fn hand_over(self) {
        self.exchange.mailbox.deliver(self.seat, self.plan);
    }
}

/// Plans for the exchanges of one wire thread: one wake-up of that thread per batch.
#[derive(Default)]
pub struct Outbox {
    plans: Mutex<Vec<Delivery>>,
    filled: Notify,
}

impl Outbox {
    /// Adds plans and wakes the thread if it was empty.
    pub fn put(&self, plans: &mut Vec<Delivery>) {
        let mut waiting = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.append(plans);
        drop(waiting);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Waits for plans and swaps them into `plans`.
    pub async fn wait(&self, plans: &mut Vec<Delivery>) {
        self.filled.notified().await;
        std::mem::swap(
            &mut *self.plans.lock().unwrap_or_else(PoisonError::into_inner),
            plans,
        );
    }
}

/// Workers that got records in this turn of the loop. They are woken once, behind all tasks that
/// were ready in the turn: a batch is a turn's worth, and nothing waits for a timer.
pub struct Worklist {
    hub: Arc<Hub>,
    marked: Cell<u64>,
    filled: Notify,
}

impl Worklist {
    pub fn new(hub: Arc<Hub>) -> Worklist {
        Worklist {
            hub,
            marked: Cell::new(0),
            filled: Notify::new(),
        }
    }

    /// Slot `slot` got a record.
    pub fn mark(&self, slot: usize) {
        let marked = self.marked.get();
        self.marked.set(marked | 1 << slot);
        if marked == 0 {
            self.filled.notify_one();
        }
    }

    /// Wakes marked workers, for as long as the thread lives.
    pub async fn run(&self) {
        loop {
            self.filled.notified().await;
            let mut marked = self.marked.replace(0);
            while marked != 0 {
                self.hub.wake(marked.trailing_zeros() as usize);
                marked &= marked - 1;
            }
        }
    }
}

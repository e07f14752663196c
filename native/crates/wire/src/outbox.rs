//! Between threads: plans on their way to a wire thread, and workers that a wire thread will wake.

use crate::exchange::Exchange;
use crate::hub::Hub;
use crate::mailbox::Seat;
use crate::plan::Plan;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long a record that nobody waits for may wait for company. With one exchange in flight, a
/// wake-up for its outcome alone costs as much as the one for its decision.
const LATER: Duration = Duration::from_millis(5);

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
    later: Cell<u64>,
    later_filled: Notify,
}

impl Worklist {
    pub fn new(hub: Arc<Hub>) -> Worklist {
        Worklist {
            hub,
            marked: Cell::new(0),
            filled: Notify::new(),
            later: Cell::new(0),
            later_filled: Notify::new(),
        }
    }

    /// Slot `slot` got a record that an exchange waits for.
    pub fn mark(&self, slot: usize) {
        let marked = self.marked.get();
        self.marked.set(marked | 1 << slot);
        if marked == 0 {
            self.filled.notify_one();
        }
    }

    /// Slot `slot` got a record for log and metrics only: it goes with the next one that somebody
    /// waits for, or alone after a moment.
    pub fn mark_later(&self, slot: usize) {
        let later = self.later.get();
        self.later.set(later | 1 << slot);
        if later == 0 {
            self.later_filled.notify_one();
        }
    }

    /// Wakes marked workers, for as long as the thread lives.
    pub async fn run(&self) {
        let mut due = None;
        loop {
            let until = due.unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                () = self.filled.notified() => {
                    let marked = self.marked.replace(0);
                    self.later.set(self.later.get() & !marked);
                    self.wake(marked);
                }
                () = self.later_filled.notified(), if due.is_none() => {
                    due = Some(Instant::now() + LATER);
                }
                () = sleep_until(until), if due.is_some() => {
                    due = None;
                    self.wake(self.later.replace(0));
                }
            }
        }
    }

    fn wake(&self, slots: u64) {
        let mut left = slots;
        while left != 0 {
            self.hub.wake(left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

//! One worker's end of the queue.

use crate::encode::Batch;
use crate::exchange::Exchange;
use crate::hub::Hub;
use crate::mailbox::Seat;
use crate::outbox::Delivery;
use crate::plan::{BadPlan, Plan, PlanReader};
use crate::record::Record;
use bytes::Bytes;
use std::sync::Arc;

/// What [`Port::take`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// This many bytes were written; 0: nothing was waiting.
    Written(usize),
    /// Nothing was written: this many bytes are needed. The records wait.
    Needs(usize),
}

/// A worker's end of the queue. Dropping it means that the worker is gone.
pub struct Port {
    hub: Arc<Hub>,
    slot: usize,
    generation: u32,
    batch: Batch,
    records: Vec<Record>,
    /// Plans of one batch, by wire thread.
    deliveries: Vec<Vec<Delivery>>,
}

impl Port {
    pub(crate) fn new(hub: Arc<Hub>, slot: usize, generation: u32) -> Port {
        let deliveries = hub.outboxes.iter().map(|_| Vec::new()).collect();
        let (batch, records) = (Batch::default(), Vec::new());
        Port {
            hub,
            slot,
            generation,
            batch,
            records,
            deliveries,
        }
    }

    /// Tells this worker from earlier and later ones of its slot.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The exchange known as `handle`, until `answer` says done.
    pub fn exchange(&self, handle: u32) -> Option<Arc<Exchange>> {
        self.hub.slot(self.slot)?.exchange(self.generation, handle)
    }

    /// Lays pending records out in `out`. The worker must come again until it gets none: until then
    /// nobody wakes it.
    pub fn take(&mut self, out: &mut [u8]) -> Taken {
        if self.batch.is_empty() {
            let Some(slot) = self.hub.slot(self.slot) else {
                return Taken::Written(0);
            };
            slot.take(self.generation, &mut self.records);
            if self.records.is_empty() {
                return Taken::Written(0);
            }
            self.hub.stats.batches.add(1);
            self.hub.stats.records.add(self.records.len() as u64);
            for record in self.records.drain(..) {
                self.batch.push(&record);
            }
        }
        let size = self.batch.size();
        if self.batch.write(out) {
            Taken::Written(size)
        } else {
            Taken::Needs(size)
        }
    }

    /// Hands the plans to their exchanges and returns the handles that are free now. Plans of a
    /// worker that was replaced meanwhile are ignored.
    pub fn answer(&mut self, plans: &[u8]) -> Result<Vec<u32>, BadPlan> {
        let mut freed = Vec::new();
        let mut over = Vec::new();
        let mut reader = PlanReader::new(Bytes::copy_from_slice(plans));
        let Some(slot) = self.hub.slot(self.slot) else {
            return Ok(freed);
        };
        let Some(mut state) = slot.lock_for_answers(self.generation) else {
            return Ok(freed);
        };
        let result = loop {
            let (handle, plan) = match reader.next() {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let done = plan == Plan::Done;
            let Some(exchange) = slot.answered(&mut state, handle, done) else {
                continue;
            };
            if done {
                freed.push(handle);
                over.push(exchange);
                continue;
            }
            let seat = Seat {
                slot: self.slot,
                generation: self.generation,
                handle,
            };
            if let Some(deliveries) = self.deliveries.get_mut(exchange.thread) {
                deliveries.push(Delivery {
                    exchange,
                    seat,
                    plan,
                });
            }
        };
        drop(state);
        for (outbox, deliveries) in self.hub.outboxes.iter().zip(&mut self.deliveries) {
            if !deliveries.is_empty() {
                outbox.put(deliveries);
            }
        }
        result.map(|()| freed)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.hub.detach(self.slot, self.generation);
    }
}

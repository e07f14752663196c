//! What is to become of one connection that asked something.

use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request.
    Keep,
    /// Nothing.
    Close,
}

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A whole response.
    Answer(Bytes, Then),
    /// The head of a response that is told piece by piece, without its framing and its empty line.
    Open(Bytes),
    /// What one is told: its own bytes, and behind them those that others are told as well.
    Piece(Bytes, Bytes),
    /// There is no more to tell.
    End,
}

#[derive(Default)]
struct State {
    orders: VecDeque<Order>,
    /// Bytes of pieces that are not written yet.
    queued: usize,
    is_full: bool,
}

/// Written by whoever decides, read by the connection.
#[derive(Default)]
pub(crate) struct Line {
    state: Mutex<State>,
    changed: Notify,
}

impl Line {
    pub fn put(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.changed.notify_one();
    }

    /// Whether more than `bytes_max` wait now; whoever is told so must wait for the drain. The
    /// connection looks when it is called.
    pub fn tell(&self, own: Bytes, shared: Bytes, bytes_max: usize) -> bool {
        let mut state = self.lock();
        state.queued += own.len() + shared.len();
        state.is_full |= state.queued > bytes_max;
        let is_full = state.is_full;
        state.orders.push_back(Order::Piece(own, shared));
        is_full
    }

    /// Something was told.
    pub fn call(&self) {
        self.changed.notify_one();
    }

    /// So many bytes of a piece are written; true when that ends a wait.
    pub fn wrote(&self, bytes: usize) -> bool {
        let mut state = self.lock();
        state.queued = state.queued.saturating_sub(bytes);
        let is_drained = state.is_full && state.queued == 0;
        state.is_full &= !is_drained;
        if state.orders.is_empty() {
            state.orders.shrink_to_fit(); // most lines wait most of the time
        }
        is_drained
    }

    pub async fn next(&self) -> Order {
        loop {
            let order = self.lock().orders.pop_front();
            match order {
                Some(order) => return order,
                None => self.changed.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_full_until_everything_is_written() {
        let line = Line::default();
        let piece = || Bytes::from_static(b"12345");
        assert!(!line.tell(piece(), Bytes::new(), 10));
        assert!(!line.tell(Bytes::new(), piece(), 10));
        assert!(line.tell(piece(), piece(), 10));
        assert!(!line.wrote(5));
        assert!(!line.wrote(5));
        assert!(line.wrote(10));
        assert!(!line.tell(piece(), Bytes::new(), 10));
        assert!(!line.wrote(5));
    }
}

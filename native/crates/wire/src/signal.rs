//! A flag that one task waits for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Set by one, waited for by another.
#[derive(Default)]
pub struct Signal {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// Sets it and wakes who waits.
    pub fn raise(&self) {
        self.set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether it is set.
    #[cfg(test)]
    pub fn is_raised(&self) -> bool {
        self.set.get()
    }

    /// Waits until it is set, and takes it back.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Ready once it is set, which is taken back then.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.set.replace(false) {
            return Poll::Ready(());
        }
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

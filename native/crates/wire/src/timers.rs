//! Deadlines of exchanges and connections. Almost none is ever reached, and a runtime timer is
//! dear: setting one that is earlier than all others costs a system call. So one runtime timer
//! stands for all deadlines of a thread; setting and dropping one is a slab insert and remove.

use slab::Slab;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Deadlines may be this late.
const GRAIN: Duration = Duration::from_millis(10);

struct Entry {
    deadline: Instant,
    expired: bool,
    waker: Option<Waker>,
}

/// The deadlines of one wire thread.
#[derive(Default)]
pub struct Timers {
    entries: RefCell<Slab<Entry>>,
    /// When the runtime timer fires; `None` while it rests.
    next: Cell<Option<Instant>>,
    earlier: Notify,
}

impl Timers {
    /// A future that is ready after `duration`.
    pub fn after(self: &Rc<Timers>, duration: Duration) -> Timer {
        let deadline = Instant::now() + duration;
        let entry = Entry {
            deadline,
            expired: false,
            waker: None,
        };
        let key = self.entries.borrow_mut().insert(entry);
        if self.next.get().is_none_or(|next| deadline < next) {
            self.next.set(Some(deadline));
            self.earlier.notify_one();
        }
        Timer {
            timers: self.clone(),
            key,
        }
    }

    /// Fires deadlines, for as long as the thread lives. Rests while there are none.
    pub async fn run(self: Rc<Timers>) {
        loop {
            let Some(next) = self.next.get() else {
                self.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(next + GRAIN) => self.fire(),
                () = self.earlier.notified() => {}
            }
        }
    }

    fn fire(&self) {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for (_, entry) in self.entries.borrow_mut().iter_mut() {
            if entry.expired {
                continue;
            }
            if entry.deadline > now {
                next = Some(next.map_or(entry.deadline, |next| next.min(entry.deadline)));
                continue;
            }
            entry.expired = true;
            entry.waker.take().inspect(Waker::wake_by_ref);
        }
        self.next.set(next);
    }
}

/// One deadline; dropping it takes it back.
pub struct Timer {
    timers: Rc<Timers>,
    key: usize,
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut entries = self.timers.entries.borrow_mut();
        let Some(entry) = entries.get_mut(self.key) else {
            return Poll::Ready(());
        };
        if entry.expired {
            return Poll::Ready(());
        }
        match &entry.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => entry.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.timers.entries.borrow_mut().try_remove(self.key);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_time_and_rests_when_dropped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let timers = Rc::new(Timers::default());
            tokio::task::spawn_local(timers.clone().run());
            let begun = Instant::now();
            let far = timers.after(Duration::from_secs(60));
            timers.after(Duration::from_millis(30)).await;
            assert!(begun.elapsed() >= Duration::from_millis(30));
            assert!(begun.elapsed() < Duration::from_secs(5));
            drop(far);
            assert!(timers.entries.borrow().is_empty());
        });
    }
}

//! Deadlines of exchanges and connections. Almost none is ever reached, and a runtime timer is
//! dear: setting one that is earlier than all others costs a system call. So one runtime timer
//! stands for all deadlines of a thread; setting and dropping one only touches a wheel.

use crate::wheel::Wheel;
use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Deadlines may be this late.
const TICK: Duration = Duration::from_millis(8);

/// The deadlines of one wire thread.
pub struct Timers {
    wheel: RefCell<Wheel>,
    origin: Instant,
    /// The tick at which the runtime timer fires; `None` while it rests.
    next: Cell<Option<u64>>,
    earlier: Notify,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            wheel: RefCell::default(),
            origin: Instant::now(),
            next: Cell::new(None),
            earlier: Notify::new(),
        }
    }
}

impl Timers {
    /// A future that is ready after `duration`.
    pub fn after(self: &Rc<Timers>, duration: Duration) -> Timer {
        let due = self.tick(Instant::now() + duration) + 1;
        let key = self.wheel.borrow_mut().insert(due);
        if self.next.get().is_none_or(|next| due < next) {
            self.next.set(Some(due));
            self.earlier.notify_one();
        }
        Timer {
            timers: self.clone(),
            key,
        }
    }

    /// `future`, or `None` when it takes longer than `duration`. What is ready at once costs no
    /// deadline.
    pub async fn within<F: Future>(
        self: &Rc<Timers>,
        duration: Duration,
        future: F,
    ) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut timer: Option<Timer> = None;
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let timer = timer.get_or_insert_with(|| self.after(duration));
            Pin::new(timer).poll(context).map(|()| None)
        })
        .await
    }

    /// Fires deadlines, for as long as the thread lives. Rests while there are none.
    pub async fn run(self: Rc<Timers>) {
        loop {
            let Some(next) = self.next.get() else {
                self.earlier.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(self.instant(next)) => self.fire(),
                () = self.earlier.notified() => {}
            }
        }
    }

    fn fire(&self) {
        let mut wheel = self.wheel.borrow_mut();
        wheel.advance(self.tick(Instant::now()));
        self.next.set(wheel.next());
    }

    fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis() / TICK.as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn instant(&self, tick: u64) -> Instant {
        let ticks = u32::try_from(tick).unwrap_or(u32::MAX);
        self.origin + TICK * ticks
    }
}

/// One deadline; dropping it takes it back.
pub struct Timer {
    timers: Rc<Timers>,
    key: u32,
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut wheel = self.timers.wheel.borrow_mut();
        match wheel.poll(self.key, context.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.timers.wheel.borrow_mut().remove(self.key);
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
            let late = timers.within(Duration::from_millis(20), std::future::pending::<()>());
            assert_eq!(late.await, None);
            assert_eq!(timers.within(Duration::ZERO, async { 1 }).await, Some(1));
            drop(far);
            assert_eq!(timers.wheel.borrow().len(), 0);
        });
    }
}

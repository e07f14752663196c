//! Turns of the connections of a thread. Its tasks run one after the other, so a connection that
//! has more to do than the others should wait for gives way: it goes on when it is called, behind
//! the sockets that have something new by then.

use crate::signal::Signal;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::task::yield_now;

/// Of the connections that gave way, one in so many is called at a time. An exchange waits several
/// times on its way, each time as long as all who are called then.
const SHARE: usize = 8;

/// Who gave way, in order.
#[derive(Default)]
pub struct Turns {
    waiting: RefCell<VecDeque<Rc<Signal>>>,
    begun: Signal,
}

impl Turns {
    /// A place behind all who wait: raised when it is called.
    pub fn give_way(&self) -> Rc<Signal> {
        let place = Rc::<Signal>::default();
        self.waiting.borrow_mut().push_back(place.clone());
        self.begun.raise();
        place
    }

    /// Calls who gave way, for as long as the thread lives.
    pub async fn run(self: Rc<Turns>) {
        loop {
            self.begun.wait().await;
            while !self.waiting.borrow().is_empty() {
                // The runtime looks for news of the sockets first, and wakes this task last.
                yield_now().await;
                self.call();
            }
        }
    }

    fn call(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().div_ceil(SHARE);
        waiting.drain(..count).for_each(|place| place.raise());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Calls until all of `count` who gave way at once were called: how many were, each time.
    fn rounds(count: usize) -> Vec<usize> {
        let turns = Turns::default();
        let places: Vec<_> = (0..count).map(|_| turns.give_way()).collect();
        let called = || places.iter().filter(|place| place.is_raised()).count();
        let mut rounds = Vec::new();
        while called() < count {
            let before = called();
            turns.call();
            rounds.push(called() - before);
        }
        rounds
    }

    #[test]
    fn few_of_many_are_called_at_a_time() {
        assert_eq!(rounds(1), [1]);
        assert_eq!(rounds(9), [2, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(rounds(50).get(..3), Some(&[7, 6, 5][..]));
    }

    #[test]
    fn who_gives_way_is_called_in_order_again_and_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async {
            let turns = Rc::new(Turns::default());
            tokio::task::spawn_local(turns.clone().run());
            let taken = Rc::new(Cell::new(0));
            let greedy = |of: usize| {
                let (turns, taken) = (turns.clone(), taken.clone());
                async move {
                    for turn in 0..100 {
                        turns.give_way().wait().await;
                        assert_eq!(taken.replace(taken.get() + 1), 2 * turn + of);
                    }
                }
            };
            tokio::join!(greedy(0), greedy(1));
            assert_eq!(taken.get(), 200);
        });
    }
}

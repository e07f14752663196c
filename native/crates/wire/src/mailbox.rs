//! Where an exchange waits for its worker's decision, and what becomes of it when the worker dies.

use crate::error_code::ErrorCode;
use crate::plan::Plan;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Where a worker knows the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub slot: usize,
    pub generation: u32,
    pub handle: u32,
}

/// What the exchange's task learns.
#[derive(Debug)]
pub enum News {
    Plan(Plan),
    Failed(ErrorCode),
}

/// How far the exchange is, as far as the loss of its worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// No final plan yet: another worker may begin again from the head.
    #[default]
    Deciding,
    /// The request was forwarded and a worker looks at the response: cannot begin again.
    Inspecting,
    /// A final plan is known; only the outcome is left to tell.
    Decided,
}

/// What the hub has to do after the loss of a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum AfterLoss {
    /// Give the exchange to another worker.
    Redeliver,
    /// Nothing: it goes on alone, or was told to fail.
    Leave,
}

#[derive(Debug, Default)]
struct State {
    seat: Option<Seat>,
    news: Option<News>,
    waker: Option<Waker>,
    stage: Stage,
    losses: u32,
    /// Changes when the exchange begins again at another worker.
    epoch: u32,
    finished: bool,
}

/// The mailbox of one exchange. Its lock is taken inside a slot's lock, never around one.
#[derive(Debug, Default)]
pub struct Mailbox {
    state: Mutex<State>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next plan or failure.
    pub async fn news(&self) -> News {
        poll_fn(|context| {
            let mut state = self.lock();
            let Some(news) = state.news.take() else {
                match &state.waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    _ => state.waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            };
            if is_final(&news) {
                state.stage = Stage::Decided;
            }
            Poll::Ready(news)
        })
        .await
    }

    /// Takes a plan from the worker at `seat`; one from a seat lost meanwhile is ignored.
    pub fn deliver(&self, seat: Seat, plan: Plan) {
        let mut state = self.lock();
        if state.seat != Some(seat) || state.news.is_some() {
            return;
        }
        state.news = Some(News::Plan(plan));
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
    }

    /// The worker that will decide. Called inside the slot's lock. False: the exchange is over.
    pub fn seat_at(&self, seat: Seat) -> bool {
        let mut state = self.lock();
        if state.finished {
            return false;
        }
        state.seat = Some(seat);
        true
    }

    /// The seat and the epoch now.
    pub fn seat(&self) -> (Option<Seat>, u32) {
        let state = self.lock();
        (state.seat, state.epoch)
    }

    /// Times a worker died over this exchange.
    pub fn losses(&self) -> u32 {
        self.lock().losses
    }

    /// The worker is about to see the response; where it sits, unless it was lost.
    pub fn inspect(&self) -> Option<Seat> {
        let mut state = self.lock();
        state.stage = Stage::Inspecting;
        state.seat
    }

    /// The exchange is over: its seat, if it has one, is told the outcome.
    pub fn finish(&self) -> Option<Seat> {
        let mut state = self.lock();
        state.finished = true;
        state.stage = Stage::Decided;
        state.seat
    }

    /// The worker is gone. `suspect`: it had taken a record of this exchange and not answered it,
    /// so that the exchange may be what killed it.
    pub fn lose_worker(&self, suspect: bool) -> AfterLoss {
        let mut state = self.lock();
        state.seat = None;
        if state.news.as_ref().is_some_and(is_final) {
            return AfterLoss::Leave;
        }
        let failure = match state.stage {
            Stage::Decided => return AfterLoss::Leave,
            Stage::Inspecting if state.news.is_some() => return AfterLoss::Leave,
            Stage::Inspecting => ErrorCode::WafUnavailable,
            Stage::Deciding => {
                state.losses += u32::from(suspect);
                state.epoch += 1;
                state.news = None;
                if state.losses < 2 {
                    return AfterLoss::Redeliver;
                }
                ErrorCode::WafPoison
            }
        };
        state.news = Some(News::Failed(failure));
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
        AfterLoss::Leave
    }

    /// Fails the exchange, unless it has news already.
    pub fn fail(&self, code: ErrorCode) {
        let mut state = self.lock();
        if state.news.is_none() {
            state.news = Some(News::Failed(code));
        }
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
    }
}

fn is_final(news: &News) -> bool {
    !matches!(
        news,
        News::Plan(
            Plan::ReadBody { .. } | Plan::ReadResponseBody { .. } | Plan::Ask(_) | Plan::Verdict(_)
        )
    )
}

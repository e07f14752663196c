//! The queue without sockets: layout, redelivery, poison, stale answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::budget::Budget;
use crate::error_code::ErrorCode;
use crate::exchange::{ConnectionFacts, Exchange};
use crate::hub::Hub;
use crate::mailbox::News;
use crate::outbox::Worklist;
use crate::plan::Plan;
use crate::port::{Port, Taken};
use crate::record::{Outcome, Record};
use bytes::BytesMut;
use edge_http_policy::{HeadLimits, read_head};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

struct Bench {
    hub: Arc<Hub>,
    worklist: Worklist,
    wakes: Arc<AtomicU32>,
}

fn bench(workers: usize) -> Bench {
    let hub = Arc::new(Hub::new(workers, 1, 100, Arc::default()));
    let worklist = Worklist::new(hub.clone());
    let wakes = Arc::default();
    Bench {
        hub,
        worklist,
        wakes,
    }
}

impl Bench {
    fn attach(&self, slot: usize) -> Port {
        let wakes = self.wakes.clone();
        let wake = move || {
            wakes.fetch_add(1, Ordering::Relaxed);
        };
        self.hub.attach(slot, Arc::new(wake)).unwrap()
    }

    fn submit(&self) -> Arc<Exchange> {
        let exchange = exchange();
        self.hub.submit(&self.worklist, &exchange).unwrap();
        exchange
    }

    /// Hands over what workers answered, as the wire thread's pump would.
    fn pump(&self) {
        let outbox = self.hub.outboxes[0].clone();
        let mut deliveries = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        if pin!(outbox.wait(&mut deliveries))
            .poll(&mut context)
            .is_ready()
        {
            deliveries
                .drain(..)
                .for_each(crate::outbox::Delivery::hand_over);
        }
    }
}

fn exchange() -> Arc<Exchange> {
    let text = "GET /a?b HTTP/1.1\r\nhost: x\r\nX-Odd: 1\r\n\r\n";
    let limits = HeadLimits {
        bytes_max: 1000,
        line_bytes_max: 1000,
        count_max: 10,
    };
    let head = read_head(&mut BytesMut::from(text), &limits)
        .unwrap()
        .unwrap();
    let facts = ConnectionFacts::new(0, "192.0.2.1:9".parse().unwrap(), 80);
    Arc::new(Exchange::new(
        head,
        Arc::new(facts),
        0,
        Arc::new(Budget::new(10)),
    ))
}

fn news(exchange: &Exchange) -> Option<News> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(exchange.mailbox.news()).poll(&mut context) {
        Poll::Ready(news) => Some(news),
        Poll::Pending => None,
    }
}

/// Words and text of the next batch.
fn take(port: &mut Port) -> (Vec<u32>, String) {
    let mut out = vec![0; 4096];
    let Taken::Written(size) = port.take(&mut out) else {
        return (Vec::new(), String::new());
    };
    if size == 0 {
        return (Vec::new(), String::new());
    }
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    let (words, text) = (word(0) as usize, word(4) as usize);
    let from = 8 + words * 4;
    assert_eq!(size, from + text);
    let words = (0..words).map(|index| word(8 + index * 4)).collect();
    (
        words,
        String::from_utf8(out[from..from + text].to_vec()).unwrap(),
    )
}

fn read_body(handle: u32) -> Vec<u8> {
    let mut plan = vec![2];
    plan.extend(handle.to_le_bytes());
    plan.extend(9_u32.to_le_bytes());
    plan
}

#[test]
fn a_head_is_laid_out_as_agreed() {
    let bench = bench(1);
    let mut port = bench.attach(0);
    bench.submit();
    let mut small = [0; 16];
    assert!(matches!(port.take(&mut small), Taken::Needs(_)));
    let (words, text) = take(&mut port);
    assert_eq!(words[..9], [1, 0, 32, 11, 0, u32::MAX, 9, 80, 0]);
    assert_eq!(words[9..17], [3, 4, 2, 1, 1, 0, 9, 2]);
    assert_eq!(words[17..], [1 << 31, 1, 5, 1]);
    assert_eq!(text, "GET/a?b/abx192.0.2.1xX-Odd1");
    assert!(take(&mut port).0.is_empty());
}

#[test]
fn an_answer_reaches_its_exchange_and_done_frees_the_handle() {
    let bench = bench(1);
    let mut port = bench.attach(0);
    let exchange = bench.submit();
    take(&mut port);
    assert!(port.exchange(0).is_some());
    port.answer(&read_body(0)).unwrap();
    bench.pump();
    assert!(matches!(
        news(&exchange),
        Some(News::Plan(Plan::ReadBody { max: 9 }))
    ));
    bench
        .hub
        .outcome(&bench.worklist, &exchange, Outcome::default());
    assert_eq!(take(&mut port).0[..2], [3, 0]);
    assert_eq!(port.answer(&[6, 0, 0, 0, 0]).unwrap(), vec![0]);
    assert!(port.exchange(0).is_none());
    assert_eq!(bench.hub.silence(), vec![0]);
}

#[test]
fn a_lost_exchange_is_redelivered_once_and_then_refused() {
    let bench = bench(2);
    let (mut first, mut second) = (bench.attach(0), bench.attach(1));
    let exchange = bench.submit();
    take(&mut first);
    bench.hub.detach(0, first.generation());
    first.answer(&read_body(0)).unwrap(); // stale: ignored
    bench.pump();
    assert!(news(&exchange).is_none());
    assert_eq!(take(&mut second).0[8], 1, "attempt");
    drop(second);
    let failed = news(&exchange);
    assert!(matches!(failed, Some(News::Failed(ErrorCode::WafPoison))));
    assert_eq!(bench.hub.silence(), vec![-1, -1]);
}

#[test]
fn what_was_never_taken_is_no_suspect() {
    let bench = bench(1);
    let exchange = {
        let _port = bench.attach(0);
        bench.submit()
    };
    for _ in 0..3 {
        assert!(news(&exchange).is_none());
        drop(bench.attach(0));
    }
    let mut port = bench.attach(0);
    assert_eq!(take(&mut port).0[8], 0, "attempt");
}

#[test]
fn each_suspect_comes_alone() {
    let bench = bench(1);
    let mut port = bench.attach(0);
    let _exchanges = [bench.submit(), bench.submit()];
    take(&mut port);
    drop(port);
    let mut port = bench.attach(0);
    assert_eq!(take(&mut port).0.len(), 21);
    assert_eq!(take(&mut port).0.len(), 21);
}

#[test]
fn who_takes_is_not_woken_until_nothing_is_left() {
    let bench = bench(1);
    let mut port = bench.attach(0);
    let wakes = || {
        bench.hub.wake(0);
        bench.wakes.load(Ordering::Relaxed)
    };
    let before = wakes();
    let mut exchanges = vec![bench.submit()];
    assert_eq!([wakes(), wakes()], [before + 1; 2], "once is enough");
    assert_eq!(take(&mut port).0.len(), 21);
    exchanges.push(bench.submit());
    assert_eq!(wakes(), before + 1, "it comes again by itself");
    assert_eq!(take(&mut port).0.len(), 21);
    assert!(take(&mut port).0.is_empty());
    exchanges.push(bench.submit());
    assert_eq!(wakes(), before + 2, "now it rests");
}

#[test]
fn the_outcome_of_a_forwarded_exchange_goes_to_another_worker() {
    let bench = bench(2);
    let (mut first, mut second) = (bench.attach(0), bench.attach(1));
    let exchange = bench.submit();
    take(&mut first);
    let respond = [1, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0];
    first.answer(&respond).unwrap();
    bench.pump();
    assert!(matches!(news(&exchange), Some(News::Plan(_))));
    drop(first);
    assert!(take(&mut second).0.is_empty());
    bench
        .hub
        .outcome(&bench.worklist, &exchange, Outcome::default());
    let (words, _) = take(&mut second);
    assert_eq!(words[2] & 16, 16, "orphan");
    assert_eq!(words[21], 3, "its outcome follows");
}

#[test]
fn what_ended_before_a_worker_saw_it_takes_no_place_from_others() {
    let bench = bench(1);
    let port = bench.attach(0);
    let end = |exchange: &Arc<Exchange>| {
        bench
            .hub
            .outcome(&bench.worklist, exchange, Outcome::default());
    };
    let full = || bench.hub.submit(&bench.worklist, &exchange()) == Err(ErrorCode::WafQueueFull);
    let waiting: Vec<_> = (0..100).map(|_| bench.submit()).collect();
    assert!(full());
    waiting.iter().for_each(end);
    let later: Vec<_> = (0..100).map(|_| bench.submit()).collect();
    assert!(full());
    // So many are remembered for the log, no more.
    later.iter().take(60).for_each(end);
    assert_eq!(bench.hub.stats.records_lost.get(), 60);
    // Their handles are used again before the worker comes to what they left in the queue.
    let last: Vec<_> = (0..60).map(|_| bench.submit()).collect();
    assert!(full());
    let (slot, mut records) = (bench.hub.slot(0).unwrap(), Vec::new());
    slot.take(port.generation(), &mut records);
    let heads = records
        .iter()
        .filter(|it| matches!(it, Record::Head { .. }));
    let orphans = records
        .iter()
        .filter(|it| matches!(it, Record::Orphan { .. }));
    assert_eq!((heads.count(), orphans.count()), (100, 100));
    assert_eq!((records.len(), last.len()), (200, 60));
}

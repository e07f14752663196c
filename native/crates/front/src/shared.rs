//! What the thread of the connections and the one that decides have in common.

use crate::line::Line;
use crate::{Event, Options};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
struct Events {
    queue: VecDeque<Event>,
    /// Somebody was woken, and will take them all.
    is_woken: bool,
}

#[derive(Default)]
struct Lines {
    all: HashMap<u32, Arc<Line>>,
    last: u32,
}

pub(crate) struct Shared {
    pub options: Options,
    pub connections: AtomicUsize,
    /// Wakes those that wait for a request when there will be none.
    pub ending: Notify,
    events: Mutex<Events>,
    lines: Mutex<Lines>,
    /// Lines that were told something and are not called yet.
    told: Mutex<Vec<Arc<Line>>>,
    calling: Notify,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    pub fn new(options: Options, wake: Box<dyn Fn() + Send + Sync>) -> Shared {
        Shared {
            options,
            connections: AtomicUsize::new(0),
            ending: Notify::new(),
            events: Mutex::default(),
            lines: Mutex::default(),
            told: Mutex::default(),
            calling: Notify::new(),
            wake,
        }
    }

    /// Something to take: wakes whoever does not know yet that there is something.
    pub fn happened(&self, event: Event) {
        let mut events = lock(&self.events);
        events.queue.push_back(event);
        let is_news = !std::mem::replace(&mut events.is_woken, true);
        drop(events);
        if is_news {
            (self.wake)();
        }
    }

    /// Up to so many; fewer: those are all, and the next one wakes again.
    pub fn take(&self, most: usize) -> Vec<Event> {
        let mut events = lock(&self.events);
        let count = most.min(events.queue.len());
        let taken = events.queue.drain(..count).collect();
        events.is_woken = count == most;
        if events.queue.is_empty() {
            events.queue.shrink_to(most);
        }
        taken
    }

    /// A number of its own for a connection that asks.
    pub fn enter(&self) -> (u32, Arc<Line>) {
        let mut lines = lock(&self.lines);
        while {
            lines.last = lines.last.wrapping_add(1);
            lines.all.contains_key(&lines.last)
        } {}
        let line = Arc::new(Line::default());
        let number = lines.last;
        lines.all.insert(number, Arc::clone(&line));
        (number, line)
    }

    pub fn leave(&self, number: u32) {
        lock(&self.lines).all.remove(&number);
    }

    /// `None`: it has gone.
    pub fn line(&self, number: u32) -> Option<Arc<Line>> {
        lock(&self.lines).all.get(&number).cloned()
    }

    /// These have something to write. Called on the connections' own thread: to wake each of them
    /// from another one would be a system call for each.
    pub fn told(&self, lines: Vec<Arc<Line>>) {
        let mut told = lock(&self.told);
        if told.is_empty() {
            *told = lines;
        } else {
            told.extend(lines);
        }
        drop(told);
        self.calling.notify_one();
    }

    /// Calls those that were told something, for ever.
    pub async fn call(&self) {
        loop {
            self.calling.notified().await;
            let told = std::mem::take(&mut *lock(&self.told));
            told.iter().for_each(|line| line.call());
        }
    }

    pub fn every_line(&self) -> Vec<Arc<Line>> {
        lock(&self.lines).all.values().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

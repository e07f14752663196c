//! The task that owns one UDP socket and every connection on it.
//!
//! A turn: take some batches of datagrams, let each touched connection turn its own into events,
//! expire timers, then send what the connections on the queue have. Nothing here walks all
//! connections except the drain.

use super::cid::Owner;
use super::connection::Connection;
use super::inbox::{Inbox, Parcel};
use super::queue::Queue;
use super::settings;
use super::socket::{Counts, Sent, Socket};
use super::state::{H3_NO_ERROR, Patience};
use super::table::{Place, Reply, Table};
use super::timers::Timers;
use crate::thread::WireThread;
use std::future::{Future, poll_fn};
use std::io::{Error, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Batches received, and trains sent for one connection, before others get their turn.
const BATCHES_PER_TURN: usize = 4;
const TRAINS_PER_TURN: usize = 4;
/// Datagrams of one connection that go through another program in one turn.
const GIVEN_BACK_PER_TURN: usize = 64;
/// An acknowledgement waits this long for a response to ride on, unless more datagrams came.
const LINGER: Duration = Duration::from_millis(1);
const LINGER_DATAGRAMS_MAX: u32 = 4;
const STATS_INTERVAL: Duration = Duration::from_millis(200);

/// One UDP socket and its connections.
pub(super) struct Endpoint {
    thread: Rc<WireThread>,
    socket: Socket,
    table: Table,
    h3: quiche::h3::Config,
    queue: Rc<Queue>,
    timers: Timers,
    lingering: Vec<usize>,
    linger_until: Option<Instant>,
    inbox: Arc<Inbox>,
    patience: Patience,
    drain: Option<Pin<Box<dyn Future<Output = ()>>>>,
    sleep: Pin<Box<Sleep>>,
    counted: Instant,
}

impl Endpoint {
    /// Takes over a bound socket.
    pub fn new(
        thread: Rc<WireThread>,
        listener: u32,
        socket: std::net::UdpSocket,
    ) -> Result<Endpoint> {
        let limits = thread.limits();
        let h3 = settings::h3(&limits).map_err(Error::other)?;
        let socket = Socket::new(socket)?;
        let queue = Rc::<Queue>::default();
        let host = &thread.shared.quic;
        let inbox = host.register(thread.index, socket.local());
        let place = Place {
            listener,
            port: socket.local().port(),
            owner: Owner {
                thread: u8::try_from(thread.index).map_err(Error::other)?,
                generation: host.generation,
            },
        };
        let table = Table::new(thread.clone(), place, queue.clone()).map_err(Error::other)?;
        Ok(Endpoint {
            socket,
            table,
            h3,
            queue,
            timers: Timers::default(),
            lingering: Vec::new(),
            linger_until: None,
            inbox,
            patience: Patience::new(&limits, false),
            drain: Some(Box::pin(thread.shared.drain_begun())),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            counted: Instant::now(),
            thread,
        })
    }

    /// Serves until dropped.
    pub async fn run(mut self) {
        loop {
            let readable = self.wait().await;
            let pressure = self.thread.shared.pressure();
            self.patience = Patience::new(&self.thread.limits(), pressure);
            self.receive(readable);
            self.expire(Instant::now());
            self.flush();
            self.count();
        }
    }

    /// Waits for datagrams, for connections with something to send, or for a timer. Returns
    /// whether datagrams may be there. Lets the requests' tasks run at least once.
    async fn wait(&mut self) -> bool {
        let mut yielded = false;
        poll_fn(|context| {
            if self
                .drain
                .as_mut()
                .is_some_and(|drain| drain.as_mut().poll(context).is_ready())
            {
                self.drain = None;
                self.table.neighbours.leave();
                self.table.all().for_each(|connection| connection.go_away());
            }
            let host = &self.thread.shared.quic;
            let threads = self.thread.shared.config.threads;
            // Others hand over to one endpoint of a port.
            let handed_over = self.table.neighbours.poll(context, |datagram| {
                if let Some(thread) = host.thread_of(&datagram, threads) {
                    host.pass(thread, datagram);
                }
            });
            let passed = self.inbox.poll(context) || handed_over;
            let readable = self.socket.poll_readable(context);
            let queued = self.queue.poll(context) && !self.socket.is_blocked();
            let unblocked = self.socket.poll_unblocked(context);
            let due = self.poll_timer(context);
            if !(readable || passed || queued || unblocked || due) {
                return Poll::Pending;
            }
            if !yielded {
                yielded = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(readable)
        })
        .await
    }

    /// The runtime's timer is moved only when it would come too late or has come.
    fn poll_timer(&mut self, context: &mut Context<'_>) -> bool {
        let times = [self.timers.next(), self.linger_until];
        let Some(next) = times.into_iter().flatten().min() else {
            return false;
        };
        if next <= Instant::now() {
            return true;
        }
        let next = tokio::time::Instant::from_std(next);
        if next < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(next);
        }
        self.sleep.as_mut().poll(context).is_ready()
    }

    fn receive(&mut self, mut readable: bool) {
        for parcel in self.inbox.take() {
            match parcel {
                Parcel::Received(datagram) => self.table.passed(datagram),
                Parcel::ToSend(answer) => {
                    self.socket
                        .send_once(&answer.contents, answer.from, answer.to);
                }
            }
        }
        for _ in 0..BATCHES_PER_TURN {
            if !readable {
                break;
            }
            let table = &mut self.table;
            readable = self
                .socket
                .receive(|packet, from, to| table.datagram(packet, from, to));
        }
        let neighbours = &mut self.table.neighbours;
        for Reply { contents, from, to } in self.table.replies.drain(..) {
            if !neighbours.give_back(&contents, from, to) {
                self.socket.send_once(&contents, from, to);
            }
        }
        neighbours.send();
        for connection in std::mem::take(&mut self.table.touched) {
            connection.touched.set(false);
            self.advance(&connection);
            self.linger(&connection);
        }
    }

    /// Turns what a connection received (or a timer that fired) into events.
    fn advance(&mut self, connection: &Rc<Connection>) {
        let stats = self.thread.shared.stats.clone();
        if connection.establish(&self.h3) {
            self.table.issue_ids(connection);
            stats.handshakes.add(1);
            stats.connections_h3.add(1);
            if connection.state().quic.is_resumed() {
                stats.quic_add("resumed", 1);
            }
            if self.thread.shared.draining() {
                connection.go_away();
            }
        }
        connection.poll();
        if self.table.forget_retired(connection) {
            self.table.issue_ids(connection);
        }
        let mut state = connection.state();
        if state.follow() {
            stats.quic_add("migrations", 1);
        }
        state.retry_goaway();
        if state.quic.is_draining() || state.quic.is_closed() {
            state.lose_streams();
        }
    }

    /// Queues a connection that got datagrams: at once, unless all it does is wait for responses.
    fn linger(&mut self, connection: &Rc<Connection>) {
        let state = connection.state();
        let waits = state.h3.is_some()
            && !state.streams.is_empty()
            && connection.sending.get() == 0
            && connection.unanswered.get() <= LINGER_DATAGRAMS_MAX;
        drop(state);
        if !waits {
            connection.touch();
        } else if !connection.lingering.replace(true) {
            self.lingering.push(connection.key);
            self.linger_until
                .get_or_insert_with(|| Instant::now() + LINGER);
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.linger_until.is_some_and(|until| until <= now) {
            self.linger_until = None;
            for key in std::mem::take(&mut self.lingering) {
                let connection = self.table.get(key);
                if let Some(connection) = connection.filter(|known| known.lingering.get()) {
                    connection.touch();
                }
            }
        }
        while let Some((at, key)) = self.timers.pop(now) {
            let Some(connection) = self.table.get(key) else {
                continue;
            };
            self.timeout(&connection, at, now);
        }
    }

    fn timeout(&mut self, connection: &Rc<Connection>, at: Instant, now: Instant) {
        let mut state = connection.state();
        if state.scheduled != Some(at) {
            return; // an older entry, or one of the connection that had this key before
        }
        state.scheduled = None;
        if state
            .deadline(&self.patience)
            .is_none_or(|deadline| deadline > now)
        {
            drop(state);
            self.settle(connection);
            return;
        }
        state.quic.on_timeout();
        drop(state);
        connection.overdue(&self.patience, now);
        self.advance(connection);
        connection.touch();
    }

    /// Sends what the queued connections have, each its share.
    fn flush(&mut self) {
        if !self.socket.send_blocked() {
            return;
        }
        for _ in 0..self.queue.len() {
            let Some(connection) = self.queue.pop().and_then(|key| self.table.get(key)) else {
                continue;
            };
            connection.unqueue();
            let (neighbours, mut given_back) = (&self.table.neighbours, 0);
            let mut state = connection.state();
            let sent = self.socket.send_from(TRAINS_PER_TURN, |space| {
                while given_back < GIVEN_BACK_PER_TURN {
                    let (length, from, to) = state.send(space)?;
                    if !neighbours.give_back(space.get(..length)?, from, to) {
                        return Some((length, from, to));
                    }
                    given_back += 1;
                }
                None
            });
            drop(state);
            self.settle(&connection);
            if sent != Sent::All || given_back == GIVEN_BACK_PER_TURN {
                connection.touch();
            }
            if sent == Sent::Blocked {
                return;
            }
        }
    }

    /// Forgets a closed connection, or schedules the next look at an open one.
    fn settle(&mut self, connection: &Rc<Connection>) {
        let mut state = connection.state();
        if state.is_over() {
            drop(state);
            self.table.remove(connection);
            return;
        }
        if state.quic.is_draining() {
            state.lose_streams();
        }
        if let Some(at) = state.deadline(&self.patience) {
            self.timers
                .schedule(connection.key, at, &mut state.scheduled);
        }
    }

    /// Passes the socket's counts on, now and then: the counters are shared by all threads.
    fn count(&mut self) {
        if self.counted.elapsed() < STATS_INTERVAL {
            return;
        }
        self.counted = Instant::now();
        let Counts {
            datagrams_in,
            batches_in,
            datagrams_out,
            trains_out,
        } = std::mem::take(&mut self.socket.counts);
        let stats = &self.thread.shared.stats;
        stats.quic_add("datagramsIn", datagrams_in);
        stats.quic_add("batchesIn", batches_in);
        stats.quic_add("datagramsOut", datagrams_out);
        stats.quic_add("trainsOut", trains_out);
    }
}

impl Drop for Endpoint {
    /// Says goodbye, as far as the socket takes it.
    fn drop(&mut self) {
        for connection in self.table.all() {
            let Some(mut state) = connection.try_state() else {
                continue;
            };
            state.close(true, H3_NO_ERROR, b"");
            let neighbours = &self.table.neighbours;
            self.socket.send_from(1, |space: &mut [u8]| {
                let (length, from, to) = state.send(space)?;
                let is_sent = neighbours.give_back(space.get(..length)?, from, to);
                (!is_sent).then_some((length, from, to))
            });
        }
    }
}

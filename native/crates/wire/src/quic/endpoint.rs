//! The task that owns one UDP socket and every connection on it.
//!
//! A turn: take some batches of datagrams, let each touched connection turn its own into events,
//! expire timers, then send what the connections on the queue have. Nothing here walks all
//! connections except the drain.

use super::connection::{Connection, H3_NO_ERROR, Queue};
use super::settings;
use super::socket::{Counts, Sent, Socket};
use super::table::Table;
use super::timers::Timers;
use crate::thread::WireThread;
use std::future::{Future, poll_fn};
use std::io::{Error, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Batches received, and trains sent for one connection, before others get their turn.
const BATCHES_PER_TURN: usize = 4;
const TRAINS_PER_TURN: usize = 4;
/// An acknowledgement waits this long for a response to ride on, unless more datagrams came.
const LINGER: Duration = Duration::from_millis(1);
const LINGER_DATAGRAMS_MAX: u32 = 4;
/// While draining: how often to look, and how long a connection must have been idle to be closed.
const DRAIN_INTERVAL: Duration = Duration::from_millis(500);
const DRAIN_IDLE: Duration = Duration::from_secs(1);
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
    handshake_timeout: Duration,
    drain: Option<Pin<Box<dyn Future<Output = ()>>>>,
    drain_tick: Option<Instant>,
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
        let config = settings::quic(&thread.shared.tls, &limits).map_err(Error::other)?;
        let h3 = settings::h3(&limits).map_err(Error::other)?;
        let socket = Socket::new(socket)?;
        let queue = Rc::<Queue>::default();
        let place = (listener, socket.port());
        let table = Table::new(thread.clone(), place, config, queue.clone())
            .ok_or_else(|| Error::other("no random bytes"))?;
        Ok(Endpoint {
            socket,
            table,
            h3,
            queue,
            timers: Timers::default(),
            lingering: Vec::new(),
            linger_until: None,
            handshake_timeout: Duration::from_millis(limits.handshake_timeout_ms),
            drain: Some(Box::pin(thread.shared.drain_begun())),
            drain_tick: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            counted: Instant::now(),
            thread,
        })
    }

    /// Serves until dropped.
    pub async fn run(mut self) {
        loop {
            if self.wait().await {
                self.receive();
            }
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
                self.begin_drain();
            }
            let readable = self.socket.poll_readable(context);
            let queued = self.queue.poll(context) && !self.socket.is_blocked();
            let unblocked = self.socket.poll_unblocked(context);
            let due = self.poll_timer(context);
            if !(readable || queued || unblocked || due) {
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
        let times = [self.timers.next(), self.linger_until, self.drain_tick];
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

    fn receive(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let table = &mut self.table;
            let more = self
                .socket
                .receive(|packet, from, to| table.datagram(packet, from, to));
            for reply in self.table.replies.drain(..) {
                self.socket.send_once(&reply.contents, reply.from, reply.to);
            }
            if !more {
                break;
            }
        }
        for connection in std::mem::take(&mut self.table.touched) {
            connection.touched.set(false);
            self.advance(&connection);
            self.linger(&connection);
        }
    }

    /// Turns what a connection received (or a timer that fired) into events.
    fn advance(&mut self, connection: &Rc<Connection>) {
        if connection.establish(&self.h3) {
            self.table.established(connection);
            self.thread.shared.stats.handshakes.add(1);
            self.thread.shared.stats.connections_h3.add(1);
        }
        connection.poll();
        self.table.forget_retired(connection);
        let mut state = connection.state();
        while state.quic.path_event_next().is_some() {}
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
        if self.drain_tick.is_some_and(|tick| tick <= now) {
            self.drain_tick = Some(now + DRAIN_INTERVAL);
            self.close_idle();
        }
    }

    fn timeout(&mut self, connection: &Rc<Connection>, at: Instant, now: Instant) {
        let mut state = connection.state();
        if state.scheduled != Some(at) {
            return; // an older entry, or one of the connection that had this key before
        }
        state.scheduled = None;
        if state
            .deadline(self.handshake_timeout)
            .is_none_or(|deadline| deadline > now)
        {
            drop(state);
            self.settle(connection);
            return;
        }
        state.quic.on_timeout();
        if state.h3.is_none() && state.accepted + self.handshake_timeout <= now {
            let _ = state.quic.close(false, 0, b"handshake timeout");
            state.accepted = now; // the closing itself gets the same time
        }
        drop(state);
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
            let mut state = connection.state();
            let quic = &mut state.quic;
            let sent = self
                .socket
                .send_from(TRAINS_PER_TURN, |space| match quic.send(space) {
                    Ok((length, info)) => Some((length, info.from, info.to)),
                    Err(quiche::Error::Done) => None,
                    Err(_) => {
                        let _ = quic.close(false, 1, b"");
                        None
                    }
                });
            drop(state);
            self.settle(&connection);
            if sent != Sent::All {
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
        if state.quic.is_closed() {
            drop(state);
            self.table.remove(connection);
            return;
        }
        if state.quic.is_draining() {
            state.lose_streams();
        }
        if let Some(at) = state.deadline(self.handshake_timeout) {
            self.timers
                .schedule(connection.key, at, &mut state.scheduled);
        }
    }

    fn begin_drain(&mut self) {
        self.drain_tick = Some(Instant::now() + DRAIN_INTERVAL);
        self.table.all().for_each(|connection| connection.go_away());
    }

    /// Closes connections that were told to go and have had nothing to do for a while.
    fn close_idle(&mut self) {
        for connection in self.table.all() {
            let mut state = connection.state();
            let idle = state.streams.is_empty() && state.last_request.elapsed() >= DRAIN_IDLE;
            if idle && state.h3.is_some() && state.quic.close(true, H3_NO_ERROR, b"").is_ok() {
                drop(state);
                connection.touch();
            }
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
            let _ = state.quic.close(true, H3_NO_ERROR, b"");
            state.lose_streams();
            let quic = &mut state.quic;
            let next = |space: &mut [u8]| {
                quic.send(space)
                    .ok()
                    .map(|(length, info)| (length, info.from, info.to))
            };
            self.socket.send_from(1, next);
        }
    }
}

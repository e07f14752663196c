//! HTTP/2 towards clients: one task per connection moves bytes between the socket and the codec
//! (crate edge-h2), in one write per turn; each request is a task of its own.

use crate::config::WireLimits;
use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::h2_link::Link;
use crate::h2_request::{Request, accept};
use crate::signal::Signal;
use crate::thread::WireThread;
use crate::timers::Timer;
use bytes::{Buf, BytesMut};
use edge_h2::{Cause, Connection, Event, Failure, Limits, ListLimits, Rate};
use edge_http_policy::Version;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

const SMALL_READ: usize = 4 * 1024;
const BULK_READ: usize = 64 * 1024;
/// One full TLS record.
const OUTPUT_MAX: usize = 16 * 1024;
/// Reads of one turn; the codec bounds the frames.
const READS_MAX: usize = 8;
/// Method, scheme, authority, path and protocol are no header lines.
const PSEUDO_FIELDS: usize = 5;
/// How long the answer to the PING behind the first GOAWAY may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long and how far a client is read after the last write: closing a socket with unread bytes
/// would reset it, and what the client had not read yet would be lost.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Serves a connection until either side ends it.
pub async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    mut stream: S,
) {
    let over = {
        let mut driver = Driver::new(thread, facts, &mut stream);
        let mut drain = pin!(thread.shared.drain_begun());
        let mut pressure = pin!(thread.shared.pressure_begun());
        let (mut draining, mut pressed) = (false, false);
        poll_fn(|context| {
            if !draining && drain.as_mut().poll(context).is_ready() {
                draining = true;
                driver.leave(Instant::now());
            }
            // The idle clock is read again.
            pressed = pressed || pressure.as_mut().poll(context).is_ready();
            driver.poll(context)
        })
        .await
    };
    if over == Over::Agreed {
        linger(thread, &mut stream).await;
    }
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(thread: &WireThread, stream: &mut S) {
    let farewell = async {
        let _ = poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await;
        let (mut rest, mut read) = (BytesMut::with_capacity(SMALL_READ), 0);
        while read < LINGER_BYTES_MAX {
            match stream.read_buf(&mut rest).await {
                Ok(count @ 1..) => read += count,
                _ => return,
            }
            rest.clear();
        }
    };
    tokio::select! {
        () = farewell => {}
        () = thread.timers.after(LINGER) => {}
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Everything was sent, GOAWAY included.
    Agreed,
    /// The client is gone, or takes nothing.
    Lost,
}

/// The client is gone.
struct Lost;

struct Driver<'a, S> {
    thread: &'a Rc<WireThread>,
    facts: &'a Arc<ConnectionFacts>,
    stream: &'a mut S,
    limits: Rc<WireLimits>,
    link: Rc<Link>,
    input: BytesMut,
    output: BytesMut,
    read_size: usize,
    /// It gave way, and takes nothing from the client until it is called.
    place: Option<Rc<Signal>>,
    clock: Option<(Instant, Timer)>,
    since: Since,
    /// A stream broke the protocol before.
    breached: bool,
}

/// When things began that must not last.
struct Since {
    opened: Instant,
    /// A head is incomplete, at this step of the codec.
    head: Option<(Instant, u64)>,
    /// The socket takes nothing.
    stalled: Option<Instant>,
    /// The first GOAWAY was sent.
    announced: Option<Instant>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Driver<'a, S> {
    fn new(
        thread: &'a Rc<WireThread>,
        facts: &'a Arc<ConnectionFacts>,
        stream: &'a mut S,
    ) -> Driver<'a, S> {
        let limits = thread.limits();
        let now = Instant::now();
        let pressure = thread.shared.pressure();
        Driver {
            thread,
            facts,
            stream,
            link: Link::new(Connection::new(codec_limits(&limits, pressure), now), now),
            limits,
            input: BytesMut::new(),
            output: BytesMut::new(),
            read_size: SMALL_READ,
            place: None,
            clock: None,
            since: Since {
                opened: now,
                head: None,
                stalled: None,
                announced: None,
            },
            breached: false,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        self.link.driven_by(context);
        if self.poll_turn(context).is_err() {
            return self.lost();
        }
        // Those who were woken get their turn first, so that their frames share one write.
        if self.poll_write(context).is_err() {
            return self.lost();
        }
        let now = Instant::now();
        if self.link.codec.borrow().is_over() && self.output.is_empty() {
            self.link.lose_all();
            return Poll::Ready(Over::Agreed);
        }
        self.poll_clock(now, context)
    }

    /// Takes from the client what one turn may take, and gives way when that may not be all.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Result<(), Lost> {
        if let Some(place) = &self.place {
            if place.poll(context).is_pending() {
                return Ok(());
            }
            self.place = None;
        }
        self.link.codec.borrow_mut().begin_turn();
        self.take_events(); // the rest of the last turn
        for _ in 0..READS_MAX {
            if self.link.codec.borrow().is_turn_over() {
                break;
            }
            match self.poll_read(context) {
                Poll::Ready(Ok(1..)) => self.take_events(),
                Poll::Ready(_) => return Err(Lost),
                Poll::Pending => return Ok(()),
            }
        }
        let place = self.thread.turns.give_way();
        let _ = place.poll(context); // not before this turn is over
        self.place = Some(place);
        Ok(())
    }

    fn lost(&mut self) -> Poll<Over> {
        self.link.lose_all();
        Poll::Ready(Over::Lost)
    }

    /// Reads once. An idle connection holds no buffer.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.read_size);
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        match &polled {
            Poll::Pending if self.input.is_empty() => self.input = BytesMut::new(),
            Poll::Ready(Ok(count)) if *count >= SMALL_READ => self.read_size = BULK_READ,
            Poll::Ready(Ok(_)) => self.read_size = SMALL_READ,
            _ => {}
        }
        polled
    }

    fn take_events(&mut self) {
        let now = Instant::now();
        loop {
            let event = self.link.codec.borrow_mut().next(&mut self.input, now);
            match event {
                Some(event) => self.take(event, now),
                None => return,
            }
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        let link = self.link.clone();
        match event {
            Event::Request {
                stream,
                fields,
                ended,
                too_large,
            } => {
                let request = Request {
                    stream,
                    fields,
                    ended,
                    too_large,
                };
                accept(self.thread, self.facts, &link, request);
                if link.codec.borrow().requests() >= self.limits.requests_per_connection_max {
                    self.leave(now);
                }
            }
            Event::Data {
                stream,
                piece,
                ended,
            } => {
                if let Some(exchange) = link.exchange(stream) {
                    exchange.push(piece, ended);
                }
            }
            Event::Trailers {
                stream,
                fields,
                too_large,
            } => {
                if let Some(exchange) = link.exchange(stream) {
                    exchange.finish(fields, too_large);
                }
            }
            Event::Reset { stream, fault } => {
                if let Some(exchange) = link.exchange(stream) {
                    exchange.lose(fault);
                }
                if let Some(fault) = fault {
                    self.breach(fault);
                }
            }
            Event::Refused { fault } => self.breach(fault),
            Event::Room { stream } => {
                if let Some(exchange) = link.exchange(stream) {
                    exchange.wake_writer();
                }
            }
            Event::Failed(failure) => {
                self.refuse(code(failure), failure.detail);
                link.lose_all();
            }
        }
    }

    /// A stream broke the protocol. The first of a connection is recorded, all are counted: a
    /// flood of them would cost more in the log than in the codec.
    fn breach(&mut self, fault: &str) {
        let code = ErrorCode::ProtocolViolation;
        match std::mem::replace(&mut self.breached, true) {
            true => self.thread.shared.stats.refused(code),
            false => self.refuse(code, fault),
        }
    }

    fn refuse(&self, code: ErrorCode, detail: &str) {
        let version = Version::Http2;
        self.thread
            .refuse(self.facts, version, code, detail.as_bytes());
    }

    /// Writes what the codec has, a record at a time.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.output.is_empty() {
                if !self.link.codec.borrow().has_output() {
                    self.since.stalled = None;
                    return Ok(());
                }
                self.link
                    .codec
                    .borrow_mut()
                    .transmit(&mut self.output, OUTPUT_MAX);
                self.take_events();
                if self.output.is_empty() {
                    // Nothing could be sent after all; a write of nothing looks like a lost peer.
                    continue;
                }
            }
            match Pin::new(&mut *self.stream).poll_write(context, &self.output)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) if written == self.output.len() => {
                    self.output = BytesMut::new(); // an idle connection holds no buffer
                    self.since.stalled = None;
                }
                Poll::Ready(written) => {
                    self.output.advance(written);
                    self.since.stalled = None;
                }
                Poll::Pending => {
                    self.since.stalled.get_or_insert_with(Instant::now);
                    return Ok(());
                }
            }
        }
    }

    /// Announces the end of the connection.
    fn leave(&mut self, now: Instant) {
        if self.since.announced.is_none() {
            self.since.announced = Some(now);
            self.link.codec.borrow_mut().drain();
        }
    }

    /// Carries out what is due, and sets the clock to what comes next.
    fn poll_clock(&mut self, now: Instant, context: &mut Context<'_>) -> Poll<Over> {
        loop {
            let next = match self.due(now) {
                Ok(next) => next,
                Err(over) => return over.map_or_else(|| self.again(context), Poll::Ready),
            };
            if self.clock.as_ref().is_none_or(|(at, _)| *at > next) {
                let after = next.saturating_duration_since(now);
                self.clock = Some((next, self.thread.timers.after(after)));
            }
            let Some((_, timer)) = &mut self.clock else {
                return Poll::Pending;
            };
            if Pin::new(timer).poll(context).is_pending() {
                return Poll::Pending;
            }
            self.clock = None;
            if next > now {
                return self.again(context);
            }
        }
    }

    fn again(&self, context: &Context<'_>) -> Poll<Over> {
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next deadline; or, when one passed, the end (`None`: there is something to send).
    fn due(&mut self, now: Instant) -> Result<Instant, Option<Over>> {
        let limits = self.limits.clone();
        let (idle_ms, shut) = match self.thread.shared.pressure() {
            true => (limits.keep_alive_idle_timeout_under_pressure_ms, true),
            false => (limits.keep_alive_idle_timeout_ms, false),
        };
        let stall = Duration::from_millis(limits.body_idle_timeout_ms);
        let mut next = now + Duration::from_millis(limits.keep_alive_idle_timeout_ms.max(1000));
        let mut passed = |at: Instant| {
            next = next.min(at.max(now));
            at <= now
        };
        if self
            .since
            .stalled
            .is_some_and(|since| passed(since + stall))
        {
            return Err(Some(Over::Lost));
        }
        let streams = self.link.codec.borrow().streams();
        if self.head_deadline(now).is_some_and(&mut passed) {
            self.link.codec.borrow_mut().give_up_head();
            self.take_events();
            return Err(None);
        }
        if let Some(since) = self.since.announced
            && !self.link.codec.borrow().is_final()
            && passed(since + FAREWELL)
        {
            self.link.codec.borrow_mut().leave();
            return Err(None);
        }
        if self.since.announced.is_none() {
            let age = Duration::from_millis(limits.connection_age_max_ms);
            if passed(self.since.opened + age) {
                self.leave(now);
                return Err(None);
            }
        }
        if let Some(since) = self.link.idle_since()
            && passed(since + Duration::from_millis(idle_ms))
        {
            if streams > 0 {
                return Err(Some(Over::Lost)); // answered, but the client does not take it
            }
            if self.since.announced.is_none() && !shut {
                self.leave(now);
                return Err(None);
            }
            if !self.link.codec.borrow().is_final() {
                self.link.codec.borrow_mut().leave();
                return Err(None);
            }
        }
        Ok(next)
    }

    /// Until when the head that is on its way must be there.
    fn head_deadline(&mut self, now: Instant) -> Option<Instant> {
        let codec = self.link.codec.borrow();
        let (awaits, steps) = (codec.awaits_head(&self.input), codec.steps());
        let same = self.since.head.filter(|(_, step)| awaits && *step == steps);
        self.since.head = same.or(awaits.then_some((now, steps)));
        let patience = match codec.is_established() {
            true => self.limits.header_timeout_ms,
            false => self.limits.handshake_timeout_ms,
        };
        let (since, _) = self.since.head?;
        Some(since + Duration::from_millis(patience))
    }
}

fn code(failure: Failure) -> ErrorCode {
    match failure.cause {
        Cause::Protocol => ErrorCode::ProtocolViolation,
        Cause::StreamResets => ErrorCode::StreamResetsExceeded,
        Cause::ControlFrames => ErrorCode::ControlFramesExceeded,
        Cause::ConnectionBytes => ErrorCode::ConnectionBytesExceeded,
        Cause::HeaderTimeout => ErrorCode::HeaderTimeout,
    }
}

fn codec_limits(limits: &WireLimits, pressure: bool) -> Limits {
    let list = |bytes_max, count_max| ListLimits {
        bytes_max,
        count_max,
    };
    let rate = |burst, per_second| Rate { burst, per_second };
    let streams = match pressure {
        true => limits.streams_max_under_pressure.min(limits.h2_streams_max),
        false => limits.h2_streams_max,
    };
    Limits {
        head: list(
            limits.header_bytes_max,
            limits.header_count_max + PSEUDO_FIELDS,
        ),
        trailers: list(limits.trailer_bytes_max, limits.trailer_count_max),
        streams_max: streams,
        stream_window: limits.h2_stream_window_bytes,
        connection_window: limits.h2_connection_window_bytes,
        connection_bytes_max: limits.connection_bytes_max,
        resets: rate(limits.stream_resets_max, limits.stream_resets_per_second),
        control_frames: rate(limits.control_frames_max, limits.control_frames_per_second),
    }
}

//! HTTP/1.1 towards clients: one exchange after the other, framing read strictly and rebuilt.

use crate::config::WireLimits;
use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::h1_body::H1Body;
use crate::h1_head::{Framing, write_head};
use crate::h1_io::{Bytestream, Transport};
use crate::h1_response::{H1Sink, Turn};
use crate::seam::{BodyLength, BodySource, ResponseHead};
use crate::serve::serve;
use crate::thread::WireThread;
use edge_http_policy::{BodyReader, Head, Version, read_head};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much of a request body that nobody wants is read for the sake of the connection, and how
/// long.
const REST_BYTES_MAX: usize = 1024 * 1024;
const REST: Duration = Duration::from_secs(3);

/// Serves a connection until either side ends it.
pub async fn connection<S: Transport>(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    stream: S,
) {
    let limits = thread.limits();
    let stream = Bytestream::new(stream, thread.timers.clone(), limits.pace());
    let age = Age {
        opened: Instant::now(),
        max: Duration::from_millis(limits.connection_age_max_ms),
    };
    drop(limits);
    let mut served = 0;
    loop {
        let head = match next_head(thread, &stream, served == 0, &age).await {
            Ok(Some(head)) => head,
            Ok(None) => return stream.part().await,
            Err(code) => return refuse(thread, facts, &stream, code).await,
        };
        served += 1;
        let limits = thread.limits();
        let enough = served >= limits.requests_per_connection_max || age.left().is_zero();
        let turn = Turn::new(&head, enough || !head.keep_alive);
        // Boxed: the task of an idle connection has no room for an exchange.
        Box::pin(exchange(thread, facts, &stream, head, &turn, &limits)).await;
        drop(limits);
        if stream.stalled.get() {
            thread.lost(facts, Version::Http11, ErrorCode::RequestTooSlow);
        }
        if !turn.ended.get() {
            return stream.abort();
        }
        if turn.close.get() || !turn.body_done.get() {
            return stream.close().await;
        }
        stream.rest();
    }
}

async fn exchange<S: Transport>(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    stream: &Bytestream<S>,
    head: Head,
    turn: &Turn,
    limits: &WireLimits,
) {
    let reader = BodyReader::with_trailer_limits(head.framing, limits.trailers());
    let mut body = H1Body::new(stream, reader, &turn.body_done);
    let sink = H1Sink {
        thread,
        facts,
        stream,
        turn,
        chunked: false,
    };
    serve(thread, facts, head, &mut body, sink).await;
    if turn.ended.get() && !turn.close.get() && !turn.waits.get() {
        thread.timers.within(REST, skip(&mut body)).await;
    }
}

/// Reads what is left of a request that was answered before its end: the client, who was promised
/// a connection for more, sends it to the end and may have the next request behind it.
async fn skip(body: &mut impl BodySource) {
    let mut read = 0;
    while let Some(Ok(piece)) = body.next().await {
        read += piece.len();
        if read > REST_BYTES_MAX {
            return;
        }
    }
}

/// How long a connection may serve.
struct Age {
    opened: Instant,
    max: Duration,
}

impl Age {
    fn left(&self) -> Duration {
        self.max.saturating_sub(self.opened.elapsed())
    }
}

/// The next request's head. `None`: the client has no further request, or none in time.
async fn next_head<S: Transport>(
    thread: &WireThread,
    stream: &Bytestream<S>,
    first: bool,
    age: &Age,
) -> Result<Option<Head>, ErrorCode> {
    let limits = thread.limits();
    let heads = limits.head();
    let read = || read_head(&mut stream.io.borrow_mut().input, &heads);
    if let Some(head) = read()? {
        return Ok(Some(head));
    }
    let begun = !stream.io.borrow().input.is_empty();
    if !begun && !first_bytes(thread, stream, first, age).await {
        return Ok(None);
    }
    let rest = async {
        loop {
            if let Some(head) = read()? {
                return Ok(Some(head));
            }
            if !matches!(stream.fill().await, Ok(1..)) {
                return Ok(None);
            }
        }
    };
    let patience = Duration::from_millis(limits.header_timeout_ms);
    let head = thread.timers.within(patience, rest).await;
    head.unwrap_or(Err(ErrorCode::HeaderTimeout))
}

/// Waits for a request to begin. False: the client closed, or was idle for too long.
async fn first_bytes<S: Transport>(
    thread: &WireThread,
    stream: &Bytestream<S>,
    first: bool,
    age: &Age,
) -> bool {
    let (limits, shared) = (thread.limits(), &thread.shared);
    let mut filled = pin!(stream.fill());
    if first {
        let patience = Duration::from_millis(limits.header_timeout_ms);
        let filled = thread.timers.within(patience, filled).await;
        return matches!(filled, Some(Ok(1..)));
    }
    let idle = Duration::from_millis(limits.keep_alive_idle_timeout_ms);
    let hurried = Duration::from_millis(limits.keep_alive_idle_timeout_under_pressure_ms);
    let hurried = hurried.min(idle);
    if let Some(filled) = thread.timers.within(hurried, filled.as_mut()).await {
        return matches!(filled, Ok(1..));
    }
    if shared.pressure() || shared.draining() {
        return false;
    }
    // From here on the beginning of pressure or of a drain ends the wait: nothing has to tick.
    let rest = (idle - hurried).min(age.left());
    drop(limits);
    tokio::select! {
        biased;
        filled = filled => matches!(filled, Ok(1..)),
        () = shared.drain_begun() => false,
        () = shared.pressure_begun() => false,
        () = thread.timers.after(rest) => false,
    }
}

/// Answers a request that is none, and closes: nobody can tell where the next one begins.
async fn refuse<S: Transport>(
    thread: &WireThread,
    facts: &ConnectionFacts,
    stream: &Bytestream<S>,
    code: ErrorCode,
) {
    {
        let io = stream.io.borrow();
        let line = io
            .input
            .as_ref()
            .split(|byte| matches!(byte, b'\r' | b'\n'))
            .next();
        thread.refuse(facts, Version::Http11, code, line.unwrap_or_default());
    }
    let Some(answer) = thread.shared.answer(code) else {
        return;
    };
    let head = ResponseHead {
        status: answer.status,
        headers: answer.headers.clone(),
        body: BodyLength::Known(answer.body.len() as u64),
    };
    stream.queue(|output| {
        write_head(
            output,
            &head,
            &Framing {
                http11: true,
                close: true,
                alt_svc: "",
            },
        );
        output.extend_from_slice(&answer.body);
    });
    if stream.flush().await.is_ok() {
        stream.close().await;
    }
}

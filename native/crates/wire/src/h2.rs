//! HTTP/2 towards clients: the `h2` crate for frames and flow control, our validator for heads.

use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::h2_io::Collected;
use crate::h2_stream::{H2Body, H2Sink, error_answer, fields};
use crate::serve::serve;
use crate::thread::WireThread;
use bytes::Bytes;
use edge_http_policy::{Refusal, Version, head_from_fields};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Response bytes held per stream before the endpoint is read no further.
const SEND_BUFFER_MAX: usize = 64 * 1024;
/// Streams reset by the client that we have not seen yet (rapid reset).
const PENDING_RESETS_MAX: usize = 20;
/// Resets that a client provokes from us (MadeYouReset).
const LOCAL_RESETS_MAX: usize = 200;

/// Streams of one connection: when none is open, the idle clock runs.
struct Activity {
    open: Cell<usize>,
    since: Cell<Instant>,
}

struct Opened(Rc<Activity>);

impl Opened {
    fn new(activity: &Rc<Activity>) -> Opened {
        activity.open.set(activity.open.get() + 1);
        Opened(activity.clone())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.since.set(Instant::now());
    }
}

/// Serves a connection until either side ends it.
pub async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    stream: S,
) {
    let limits = thread.limits();
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
    let patience = Duration::from_millis(limits.handshake_timeout_ms);
    let handshake = timeout(
        patience,
        builder.handshake::<_, Bytes>(Collected::new(stream)),
    );
    let Ok(Ok(mut connection)) = handshake.await else {
        return;
    };
    let idle = Duration::from_millis(limits.keep_alive_idle_timeout_ms);
    let activity = Rc::new(Activity {
        open: Cell::new(0),
        since: Cell::new(Instant::now()),
    });
    let mut idle_clock = pin!(sleep_until(Instant::now() + idle));
    let mut drain = pin!(thread.shared.drain_begun());
    let (mut served, mut closing) = (0, false);
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                served += 1;
                let opened = Opened::new(&activity);
                let (on, facts) = (thread.clone(), facts.clone());
                thread.spawn(async move {
                    exchange(&on, &facts, request, respond).await;
                    drop(opened);
                });
                if served == limits.requests_per_connection_max && !closing {
                    closing = true;
                    connection.graceful_shutdown();
                }
            }
            () = &mut drain, if !closing => {
                closing = true;
                connection.graceful_shutdown();
            }
            () = &mut idle_clock => {
                let until = activity.since.get() + idle;
                let is_idle = activity.open.get() == 0 && until <= Instant::now();
                if is_idle && closing {
                    return; // it did not go after GOAWAY either
                }
                if is_idle {
                    closing = true;
                    connection.graceful_shutdown();
                }
                idle_clock.as_mut().reset(until.max(Instant::now() + idle / 8));
            }
        }
    }
}

async fn exchange(
    thread: &Rc<WireThread>,
    facts: &Arc<ConnectionFacts>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let ended = body.is_end_stream();
    let fields = fields(&parts);
    let limits = thread.limits().head();
    let head = match head_from_fields(Version::Http2, fields.into_iter(), ended, &limits) {
        Ok(head) => head,
        Err(refusal) => {
            let target = parts
                .uri
                .path_and_query()
                .map_or("", |target| target.as_str());
            let line = format!("{} {target}", parts.method);
            let code = ErrorCode::from(refusal);
            thread.refuse(facts, Version::Http2, code, line.as_bytes());
            match (refusal, thread.shared.answer(code)) {
                // Well-formed for HTTP/2, so the client can be told.
                (Refusal::BadRequest(_), _) | (_, None) => {
                    respond.send_reset(Reason::PROTOCOL_ERROR);
                }
                (_, Some(answer)) => error_answer(&mut respond, answer),
            }
            return;
        }
    };
    let patience = Duration::from_millis(thread.limits().body_idle_timeout_ms);
    let listener = thread.shared.config.listeners.get(facts.listener as usize);
    let alt_svc = listener.map_or("", |listener| &listener.alt_svc);
    let source = H2Body {
        stream: body,
        consumed: 0,
        patience,
        failed: false,
    };
    let sink = H2Sink {
        respond,
        stream: None,
        left: None,
        patience,
        alt_svc,
    };
    // Boxed: a spawned task is moved several times, and most of its size is this.
    Box::pin(serve(thread, facts, head, source, sink)).await;
}

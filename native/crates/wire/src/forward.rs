//! Carries out a forward plan: request up, response down, both at once; once more on another
//! connection or endpoint when the first provably did nothing, or a repetition does no harm.
//!
//! What may be sent again, and what it costs:
//! - No connection came about: nothing was sent, so the alternative is tried once, whatever the
//!   retry budget says. It is no additional load: one endpoint sees one request.
//! - A reused connection broke before a response: once more on a new one to the same endpoint,
//!   which most likely had closed it for its age. No budget either: a connection breaks only once.
//! - A new connection broke before a response, in the way an endpoint that is about to end resets
//!   what waits to be accepted: on the alternative, if the budget allows.
//!
//! The last two only for what is idempotent (RFC 9110 §9.2.2) or was provably not looked at.

use crate::client::{Client, Failure, RequestBody};
use crate::error_code::ErrorCode;
use crate::outbound::{
    Outgoing, RequestFraming, edit_response, passing_trailers, without_hop_by_hop,
};
use crate::plan::{Forward, Respond};
use crate::relay::{Relayed, relay};
use crate::seam::{BodyLength, BodySource, Field, ResponseHead, ResponseSink};
use crate::serve::Run;
use crate::upstream::{
    Broken, Connection, Handshake, INTERIM_MAX, Key, Link, Manner, Progress, RequestSink,
    ResponseSource, Session, Target, UpstreamHead, exchange_h2, tunnel,
};
use bytes::Bytes;
use edge_http_policy::{Framing, Version};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

/// The most of a streamed body that is kept to be sent once more. What is longer cannot be: the
/// request then fails with the code of what broke.
const REPEAT_BYTES_MAX: usize = 16 * 1024;

/// What goes up.
struct Request {
    framing: RequestFraming,
    held: Bytes,
    /// There is more to read from the client.
    streamed: bool,
    /// Of a body that is held whole.
    trailers: Vec<Field>,
    /// Of a request that opens a tunnel.
    handshake: Option<Handshake>,
    /// RFC 9110 §9.2.2: may be sent again although it may have had its effect already.
    idempotent: bool,
    /// What was read while it was sent, at most `REPEAT_BYTES_MAX`: it may have to be sent again.
    kept: RefCell<Vec<Bytes>>,
    /// Something was read that is held nowhere: it cannot be sent once more.
    touched: Cell<bool>,
}

/// How one visit to an endpoint ended.
enum Visit {
    /// The client has the response.
    Sent,
    /// The worker answers instead.
    Replaced(Respond),
    /// The endpoint did nothing: the request may be sent again.
    Nothing { code: ErrorCode, at: Stage },
}

/// How far a visit came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No connection.
    Connect,
    /// A new connection.
    Fresh,
    /// A connection that others had used before: it may have been closed meanwhile.
    Reused,
}

/// How one request and its response on a connection ended.
enum Carried {
    /// The client has the response. `whole`: the request went out to its end as well.
    Sent {
        whole: bool,
    },
    Replaced(Respond),
    /// The endpoint agreed to a tunnel.
    Switched(UpstreamHead),
    /// It may be sent again.
    Nothing(ErrorCode),
}

/// Forwards the exchange. `Some`: the worker answers instead of the endpoint.
pub async fn forward<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    plan: &Forward,
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Option<Respond>, Failure> {
    let request = prepare(run, plan, body)?;
    let (mut endpoint, mut fresh) = (plan.endpoint, false);
    let (mut other, mut retry) = (plan.alternatives.first().copied(), plan.retry);
    loop {
        let visited = visit(run, plan, (&request, endpoint, fresh), body, client).await?;
        let (code, at) = match visited {
            Visit::Sent => return Ok(None),
            Visit::Replaced(respond) => return Ok(Some(respond)),
            Visit::Nothing { code, at } => (code, at),
        };
        if at == Stage::Reused && !fresh {
            fresh = true; // the same endpoint, which is most likely well
        } else {
            let next = match at {
                Stage::Connect => other.take(),
                _ if !retry => None,
                _ => {
                    retry = false;
                    other.take().or(Some(endpoint))
                }
            };
            let Some(next) = next else {
                return Err(code.into());
            };
            run.report.outcome.failed_first = Some((endpoint, code));
            (endpoint, fresh) = (next, false);
        }
        run.thread.shared.stats.upstream_retries.add(1);
    }
}

fn prepare<B: BodySource>(
    run: &Run<'_>,
    plan: &Forward,
    body: &mut RequestBody<B>,
) -> Result<Request, Failure> {
    let exchange = &run.exchange;
    let head = &exchange.head;
    let held = exchange.body.get().cloned().unwrap_or_default();
    let opens_tunnel = plan.tunnel && head.websocket;
    let streamed = !opens_tunnel && !body.ended();
    let held_length = held.len() as u64;
    let announced = match head.framing {
        Framing::Length(length) => length,
        _ => held_length,
    };
    if announced > plan.body_bytes_max {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    let mut trailers = Vec::new();
    if !streamed && !opens_tunnel {
        trailers = passing_trailers(body.trailers(), plan.all_trailers);
    }
    let whole = (!streamed && trailers.is_empty()).then_some(held_length);
    let handshake = match opens_tunnel {
        true => Some(Handshake::new(head).ok_or(ErrorCode::Internal)?),
        false => None,
    };
    Ok(Request {
        framing: match opens_tunnel {
            true => RequestFraming::None,
            false => RequestFraming::of(head.framing, whole),
        },
        held,
        streamed,
        trailers,
        handshake,
        idempotent: matches!(
            &*head.method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"
        ),
        kept: RefCell::default(),
        touched: Cell::new(false),
    })
}

/// One connection to one endpoint, and the request on it.
async fn visit<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    plan: &Forward,
    (request, endpoint, fresh): (&Request, u32, bool),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Visit, Failure> {
    run.report.outcome.endpoint = Some(endpoint);
    run.report.outcome.attempts += 1;
    let (pool, stats) = (run.thread.pool.clone(), run.thread.shared.stats.clone());
    let Some(target) = pool.endpoint(endpoint) else {
        let (code, at) = (ErrorCode::NoSuchEndpoint, Stage::Connect);
        return Ok(Visit::Nothing { code, at });
    };
    let tunnel = request.handshake.is_some();
    let ready = match fresh {
        true => None,
        false => pool.take(&target, tunnel, request.idempotent),
    };
    let (connection, reused) = match ready {
        Some(connection) => {
            stats.upstream_reuses.add(1);
            (connection, true)
        }
        None => {
            let connected = tokio::select! {
                biased;
                connected = pool.connect(&target, tunnel, plan.connect_timeout) => connected,
                () = client.sink.closed() => return Err(Failure::Gone),
            };
            match connected {
                Ok(connected) => connected,
                Err(code) => {
                    let at = Stage::Connect;
                    return Ok(Visit::Nothing { code, at });
                }
            }
        }
    };
    if request.streamed && body.takes_continue() {
        client.sink.interim(100, Vec::new()).await?;
    }
    let way = Way {
        plan,
        request,
        reused,
    };
    match connection {
        Connection::H1 { link, key } => over_h1(run, &way, (link, key), body, client).await,
        // Boxed: the many exchanges over HTTP/1.1 need not carry its state.
        Connection::H2(session) => {
            Box::pin(over_h2(run, &way, (session, &target), body, client)).await
        }
    }
}

/// What of a visit does not change while it lasts.
struct Way<'a> {
    plan: &'a Forward,
    request: &'a Request,
    reused: bool,
}

impl Request {
    /// Keeps a piece for a second time; too much of it ends that.
    fn keep(&self, piece: &Bytes, sent: u64) {
        let mut kept = self.kept.borrow_mut();
        if !self.touched.get() && sent <= REPEAT_BYTES_MAX as u64 {
            kept.push(Bytes::copy_from_slice(piece)); // a slice would hold its whole buffer
        } else {
            self.touched.set(true);
            kept.clear();
        }
    }
}

impl Way<'_> {
    fn outgoing<'a>(&'a self, run: &'a Run<'_>) -> Outgoing<'a> {
        Outgoing {
            exchange: &run.exchange,
            edits: &self.plan.request_edits,
            framing: self.request.framing,
            websocket_key: self.request.handshake.as_ref().map(|it| &it.key),
        }
    }

    fn manner(&self, run: &Run<'_>) -> Manner {
        Manner {
            framing: self.request.framing,
            patience: self.plan.idle_timeout,
            to_head_request: *run.exchange.head.method == *b"HEAD",
            trailers: run.thread.limits().trailers(),
        }
    }

    fn nothing(&self, code: ErrorCode) -> Visit {
        let at = match self.reused {
            true => Stage::Reused,
            false => Stage::Fresh,
        };
        Visit::Nothing { code, at }
    }

    /// Whether a request that brought no response may be sent again. An opening of a tunnel is a
    /// GET, but what it begins is not idempotent.
    fn may_repeat(&self, progress: Progress) -> bool {
        !self.request.touched.get()
            && match progress {
                Progress::Unprocessed => true,
                Progress::Unknown => self.request.idempotent && self.request.handshake.is_none(),
                Progress::Answered => false,
            }
    }
}

async fn over_h1<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    way: &Way<'_>,
    (mut link, key): (Box<Link>, Key),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Visit, Failure> {
    let head = way.outgoing(run).h1();
    let (sink, mut source) = link.exchange(head, &way.manner(run));
    Ok(
        match carry(run, way, (sink, &mut source), body, client).await? {
            Carried::Sent { whole } => {
                // Who was asked for a tunnel and did not open it may still wait for one: what comes
                // next on that connection need not be read as a request.
                if whole && source.reusable() && way.request.handshake.is_none() {
                    run.thread.pool.give(key, link);
                }
                Visit::Sent
            }
            Carried::Replaced(respond) => Visit::Replaced(respond),
            Carried::Nothing(code) => way.nothing(code),
            Carried::Switched(head) => {
                Box::pin(switch(run, way, (head, &mut link), body, client)).await?;
                Visit::Sent
            }
        },
    )
}

async fn over_h2<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    way: &Way<'_>,
    (session, target): (Rc<Session>, &Target),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Visit, Failure> {
    let head = way.outgoing(run).h2(target.is_tls())?;
    let (sink, mut source) = match exchange_h2(&session, head, &way.manner(run)) {
        Ok(ways) => ways,
        Err(Broken { code, .. }) => return Ok(way.nothing(code)),
    };
    match carry(run, way, (sink, &mut source), body, client).await {
        Ok(Carried::Sent { .. }) => Ok(Visit::Sent),
        Ok(Carried::Replaced(respond)) => Ok(Visit::Replaced(respond)),
        Ok(Carried::Nothing(code)) => Ok(way.nothing(code)),
        Ok(Carried::Switched(_)) => Err(ErrorCode::UpstreamInvalidResponse.into()),
        Err(failure) => {
            // The whole connection may be dead behind a silent network: new streams go elsewhere.
            if let Failure::Code(
                ErrorCode::UpstreamFirstByteTimeout | ErrorCode::UpstreamIdleTimeout,
            ) = failure
            {
                session.retire();
            }
            Err(failure)
        }
    }
}

/// Request up and response down at once: the response may begin, and end, before the request ended.
async fn carry<B: BodySource, S: ResponseSink, R: ResponseSource>(
    run: &mut Run<'_>,
    way: &Way<'_>,
    (sink, source): (impl RequestSink, &mut R),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Carried, Failure> {
    let Way { plan, request, .. } = *way;
    let sent_at = run.report.elapsed_us();
    let mut upload = pin!(send(request, body, sink, plan));
    // Whether it went out to its end, once it ended.
    let mut whole = None;
    let mut interims = 0;
    let head = loop {
        let mut head = pin!(source.head());
        let mut first_byte = run.thread.timers.after(plan.first_byte_timeout);
        let head = loop {
            tokio::select! {
                biased;
                sent = &mut upload, if whole.is_none() => {
                    whole = Some(sent?);
                    first_byte = run.thread.timers.after(plan.first_byte_timeout);
                }
                head = &mut head => break head,
                () = client.sink.closed() => return Err(Failure::Gone),
                () = &mut first_byte, if whole.is_some() => {
                    return Err(ErrorCode::UpstreamFirstByteTimeout.into());
                }
            }
        };
        match head {
            Ok(head) if head.status >= 200 => break head,
            Ok(head) if head.status == 101 && request.handshake.is_some() => {
                run.report.answered(sent_at);
                return Ok(Carried::Switched(head));
            }
            Ok(head) if head.status != 101 && interims < INTERIM_MAX => {
                interims += 1;
                if head.status != 100 {
                    let headers = without_hop_by_hop(head.headers);
                    client.sink.interim(head.status, headers).await?;
                }
            }
            Ok(_) => return Err(ErrorCode::UpstreamInvalidResponse.into()),
            Err(Broken { code, progress }) if way.may_repeat(progress) => {
                return Ok(Carried::Nothing(code));
            }
            Err(Broken { code, .. }) => return Err(code.into()),
        }
    };
    run.report.answered(sent_at);
    if client.feigns_tunnel(head.status) {
        return Err(ErrorCode::UpstreamInvalidResponse.into());
    }
    if whole.is_none() && head.status >= 400 {
        // Refused before its end: what the client still sends is not worth the connection.
        client.close_after();
    }
    let mut relayed = pin!(relay(run, plan, head, source, client));
    loop {
        tokio::select! {
            biased;
            relayed = &mut relayed => return Ok(match relayed? {
                Relayed::Replaced(respond) => Carried::Replaced(respond),
                Relayed::Sent => Carried::Sent { whole: whole == Some(true) },
            }),
            sent = &mut upload, if whole.is_none() => whole = Some(sent?),
        }
    }
}

/// Sends the request. False: the endpoint stopped reading, which is no failure here: it may have
/// answered.
async fn send<B: BodySource>(
    request: &Request,
    body: &mut RequestBody<B>,
    mut sink: impl RequestSink,
    plan: &Forward,
) -> Result<bool, Failure> {
    let ends = !request.streamed && request.trailers.is_empty();
    if !sink.open(request.held.clone(), ends).await? {
        return Ok(false);
    }
    let mut sent = request.held.len() as u64;
    let mut trailers = request.trailers.clone();
    if request.streamed {
        let kept = request.kept.borrow().clone();
        for piece in kept {
            sent += piece.len() as u64;
            if !sink.data(piece).await? {
                return Ok(false);
            }
        }
        while let Some(piece) = body.next().await {
            let piece = piece?;
            sent += piece.len() as u64;
            request.keep(&piece, sent);
            if sent > plan.body_bytes_max {
                return Err(ErrorCode::RequestBodyTooLarge.into());
            }
            if !sink.data(piece).await? {
                return Ok(false);
            }
        }
        trailers = passing_trailers(body.trailers(), plan.all_trailers);
        if !trailers.is_empty() {
            request.touched.set(true);
        }
    }
    match ends {
        true => Ok(true),
        false => Ok(sink.end(trailers).await?),
    }
}

/// The endpoint agreed: so does the wire, in the words of the client's protocol, and bytes flow.
async fn switch<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    way: &Way<'_>,
    (head, link): (UpstreamHead, &mut Link),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<(), Failure> {
    let accepted = way.request.handshake.as_ref();
    if !accepted.is_some_and(|handshake| handshake.is_accepted(&head)) {
        return Err(ErrorCode::UpstreamInvalidResponse.into());
    }
    let mut headers = without_hop_by_hop(head.headers);
    let status = match run.exchange.head.version {
        Version::Http11 => 101,
        // RFC 8441 §5: 200, and neither key nor accept.
        _ => {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"sec-websocket-accept"));
            200
        }
    };
    edit_response(&mut headers, &way.plan.response_edits);
    let head = ResponseHead {
        status,
        headers,
        body: BodyLength::Tunnel,
    };
    client.head(head).await?;
    client.sink.flush().await?;
    let (timers, idle_timeout) = (&run.thread.timers, way.plan.idle_timeout);
    tunnel(link, timers, idle_timeout, (body, client)).await
}

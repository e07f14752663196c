//! The response on its way to the client: inspection when the plan asks for it, edits, body.

use crate::client::{Client, Failure};
use crate::error_code::ErrorCode;
use crate::exchange::ResponseFacts;
use crate::outbound::{edit_response, lists, passing_trailers, without_hop_by_hop};
use crate::plan::{Edit, Forward, Plan, Respond};
use crate::record::Record;
use crate::seam::{BodyLength, Field, ResponseHead, ResponseSink};
use crate::serve::Run;
use crate::upstream::{ResponseFraming, ResponseSource, UpstreamHead};
use bytes::{Bytes, BytesMut};
use edge_http_policy::Version;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// What became of a response.
pub enum Relayed {
    /// The client has it all.
    Sent,
    /// The worker answers instead.
    Replaced(Respond),
}

/// What inspection led to.
struct Inspected {
    edits: Vec<Edit>,
    /// Body pieces read for inspection.
    held: VecDeque<Bytes>,
    /// The body ended while it was held.
    ended: bool,
}

enum Verdict {
    Pass(Inspected),
    Replace(Respond),
}

/// Sends the endpoint's response to the client.
pub async fn relay<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    head: UpstreamHead,
    source: &mut R,
    client: &mut Client<S>,
) -> Result<Relayed, Failure> {
    let UpstreamHead {
        status,
        headers,
        framing,
        announced,
    } = head;
    let mut headers = without_hop_by_hop(headers);
    let mut held = VecDeque::new();
    let mut ended = framing == ResponseFraming::None;
    if plan.inspect_head {
        let facts = ResponseFacts {
            status,
            headers: headers.clone(),
        };
        match inspect(run, plan, facts, source, client).await? {
            Verdict::Replace(respond) => return Ok(Relayed::Replaced(respond)),
            Verdict::Pass(inspected) => {
                edit_response(&mut headers, &inspected.edits);
                held = inspected.held;
                ended |= inspected.ended;
            }
        }
    }
    edit_response(&mut headers, &plan.response_edits);
    let body = match framing {
        ResponseFraming::None => match announced {
            Some(length) if status != 204 => BodyLength::Announced(length),
            _ => BodyLength::None,
        },
        // gRPC has its status behind the body: the body must not end by its length.
        ResponseFraming::Length(1..) if plan.all_trailers => BodyLength::Unknown,
        ResponseFraming::Length(length) => BodyLength::Known(length),
        ResponseFraming::Unknown => BodyLength::Unknown,
    };
    client
        .head(ResponseHead {
            status,
            headers,
            body,
        })
        .await?;
    while let Some(piece) = held.pop_front() {
        client.data(piece).await?;
    }
    while !ended {
        match next_piece(run, plan, source, client).await? {
            Some(piece) => client.data(piece).await?,
            None => ended = true,
        }
    }
    let trailers = trailers(run, plan, source);
    match trailers.is_empty() {
        true => client.sink.end().await?,
        false => client.sink.trailers(trailers).await?,
    }
    Ok(Relayed::Sent)
}

/// The trailers that go on. A client of HTTP/1.1 must have asked for them (RFC 9110 §6.5.1), unless
/// its protocol is gRPC.
fn trailers<R: ResponseSource>(run: &Run<'_>, plan: &Forward, source: &mut R) -> Vec<Field> {
    let trailers = source.trailers();
    let head = &run.exchange.head;
    let asks = |value: &Bytes| lists(value, b"trailers");
    let takes = match head.version {
        _ if trailers.is_empty() => false,
        Version::Http10 => false,
        Version::Http11 => plan.all_trailers || head.header("te").any(asks),
        Version::Http2 | Version::Http3 => true,
    };
    match takes {
        true => passing_trailers(trailers, plan.all_trailers),
        false => Vec::new(),
    }
}

/// The next piece; what is held back goes out before waiting for it.
async fn next_piece<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    source: &mut R,
    client: &mut Client<S>,
) -> Result<Option<Bytes>, Failure> {
    let mut piece = pin!(source.piece());
    if let Some(ready) = poll_once(piece.as_mut()).await {
        return Ok(ready?);
    }
    client.sink.flush().await?;
    tokio::select! {
        biased;
        ready = piece => Ok(ready?),
        () = client.sink.closed() => Err(Failure::Gone),
        () = run.thread.timers.after(plan.idle_timeout) => {
            Err(ErrorCode::UpstreamIdleTimeout.into())
        }
    }
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Shows the response to the worker before the client sees anything of it.
async fn inspect<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    facts: ResponseFacts,
    source: &mut R,
    client: &mut Client<S>,
) -> Result<Verdict, Failure> {
    let exchange = &run.exchange;
    let _ = exchange.response_head.set(facts);
    let Some(seat) = exchange.mailbox.inspect() else {
        return Err(ErrorCode::WafUnavailable.into());
    };
    let shown = exchange.clone();
    run.tell(Some(seat), move |handle| Record::Response {
        handle,
        exchange: shown,
    });
    let mut inspected = Inspected {
        edits: Vec::new(),
        held: VecDeque::new(),
        ended: false,
    };
    loop {
        match run.decision(client).await? {
            Plan::PassResponse(edits) => {
                inspected.edits = edits;
                return Ok(Verdict::Pass(inspected));
            }
            Plan::Respond(respond) => return Ok(Verdict::Replace(respond)),
            Plan::ReadResponseBody { max } if exchange.response_body.get().is_none() => {
                hold(run, plan, max as usize, source, client, &mut inspected).await?;
                let held: usize = inspected.held.iter().map(Bytes::len).sum();
                let bytes = held.min(max as usize);
                let status = u32::from(!inspected.ended || held > bytes);
                let mut whole = BytesMut::with_capacity(held);
                inspected
                    .held
                    .iter()
                    .for_each(|piece| whole.extend_from_slice(piece));
                whole.truncate(bytes);
                let _ = exchange.response_body.set(whole.freeze());
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                let seat = exchange.mailbox.inspect();
                run.tell(seat, |handle| Record::ResponseBody {
                    handle,
                    status,
                    bytes,
                });
                if seat.is_none() {
                    return Err(ErrorCode::WafUnavailable.into());
                }
            }
            _ => return Err(ErrorCode::Internal.into()),
        }
    }
}

/// Reads the response's body until it ends or `max` is reached.
async fn hold<R: ResponseSource, S: ResponseSink>(
    run: &Run<'_>,
    plan: &Forward,
    max: usize,
    source: &mut R,
    client: &mut Client<S>,
    inspected: &mut Inspected,
) -> Result<(), Failure> {
    let mut held = 0;
    while held < max {
        let piece = tokio::select! {
            biased;
            piece = source.piece() => piece?,
            () = client.sink.closed() => return Err(Failure::Gone),
            () = run.thread.timers.after(plan.idle_timeout) => {
                return Err(ErrorCode::UpstreamIdleTimeout.into());
            }
        };
        let Some(piece) = piece else {
            inspected.ended = true;
            return Ok(());
        };
        // Held twice: as pieces to send on and as one text to inspect.
        if !run.exchange.reserve(piece.len() as u64 * 2) {
            return Err(ErrorCode::BodyBudgetExhausted.into());
        }
        held += piece.len();
        inspected.held.push_back(piece);
    }
    Ok(())
}

//! The response on its way to the client: inspection when the plan asks for it, edits, body.

use crate::client::{Client, Failure};
use crate::error_code::ErrorCode;
use crate::exchange::ResponseFacts;
use crate::inspect::{Verdict, inspect};
use crate::outbound::{edit_response, lists, passing_trailers, without_hop_by_hop};
use crate::plan::{Forward, Inspect, Respond};
use crate::seam::{BodyLength, Field, ResponseHead, ResponseSink};
use crate::serve::Run;
use crate::upstream::{ResponseFraming, ResponseSource, UpstreamHead};
use bytes::Bytes;
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
    if plan.inspect != Inspect::Nothing {
        let facts = ResponseFacts {
            status,
            headers: headers.clone(),
        };
        // Boxed: exchanges without inspection need not carry its state.
        match Box::pin(inspect(run, plan, (facts, framing), source, client)).await? {
            Verdict::Replace(respond) => return Ok(Relayed::Replaced(respond)),
            Verdict::Pass(edits, body) => {
                edit_response(&mut headers, &edits);
                (held, ended) = (body.pieces, body.ended);
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
pub async fn next_piece<R: ResponseSource, S: ResponseSink>(
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

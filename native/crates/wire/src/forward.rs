//! Carries out a forward plan: request up, response down, both at once.

use crate::client::{Client, Failure, RequestBody};
use crate::error_code::ErrorCode;
use crate::h1_head::put_chunk_size;
use crate::outbound::{RequestFraming, request_head};
use crate::plan::{Forward, Respond};
use crate::relay::{Relayed, relay};
use crate::seam::{BodySource, ResponseSink};
use crate::serve::Run;
use crate::upstream::{Link, ResponseReader, UpstreamHead};
use bytes::{Bytes, BytesMut};
use edge_http_policy::Framing;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A held body up to this size goes out in one write with its head.
const ONE_WRITE_MAX: usize = 16 * 1024;

/// What goes up.
struct Request {
    /// Head, and the held body when it is small.
    opening: Bytes,
    /// The held body when it is large.
    held: Bytes,
    chunked: bool,
    /// There is more to read from the client.
    streamed: bool,
    /// May be sent again when a reused connection turns out to be closed.
    replayable: bool,
}

/// How one attempt ended.
enum Attempt {
    /// The client has the response; the connection to the endpoint may be used again or not.
    Sent { reusable: bool },
    /// The worker answers instead.
    Replaced(Respond),
    /// The reused connection was closed before a byte of response: safe to send again.
    Stale,
}

/// Forwards the exchange. `Some`: the worker answers instead of the endpoint.
pub async fn forward<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    plan: &Forward,
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Option<Respond>, Failure> {
    let pool = run.thread.pool.clone();
    let endpoint = pool
        .endpoint(plan.endpoint)
        .ok_or(ErrorCode::NoSuchEndpoint)?;
    let addresses = &endpoint.addresses;
    run.report.outcome.endpoint = Some(plan.endpoint);
    let request = prepare(run, plan, body)?;
    if request.streamed && body.takes_continue() {
        client.sink.interim(100, Vec::new()).await?;
    }
    let stats = run.thread.shared.stats.clone();
    let idle = |address: &SocketAddr| pool.take(*address).map(|link| (link, *address));
    if let Some((mut link, address)) = addresses.iter().find_map(idle) {
        stats.upstream_reuses.add(1);
        match attempt(run, plan, &request, (&mut link, true), body, client).await? {
            Attempt::Sent { reusable } => {
                if reusable {
                    pool.give(address, link);
                }
                return Ok(None);
            }
            Attempt::Replaced(respond) => return Ok(Some(respond)),
            Attempt::Stale => stats.upstream_retries.add(1),
        }
    }
    stats.upstream_connects.add(1);
    let connected = tokio::select! {
        biased;
        connected = Link::connect(addresses, plan.connect_timeout) => connected?,
        () = client.sink.closed() => return Err(Failure::Gone),
    };
    let (mut link, address) = connected;
    match attempt(run, plan, &request, (&mut link, false), body, client).await? {
        Attempt::Sent { reusable } => {
            if reusable {
                pool.give(address, link);
            }
            Ok(None)
        }
        Attempt::Replaced(respond) => Ok(Some(respond)),
        Attempt::Stale => Err(ErrorCode::UpstreamClosed.into()),
    }
}

fn prepare<B: BodySource>(
    run: &Run<'_>,
    plan: &Forward,
    body: &RequestBody<B>,
) -> Result<Request, Failure> {
    let exchange = &run.exchange;
    let held = exchange.body.get().cloned().unwrap_or_default();
    let streamed = !body.ended();
    let held_length = held.len() as u64;
    let announced = match exchange.head.framing {
        Framing::Length(length) => length,
        _ => held_length,
    };
    if announced > plan.body_bytes_max {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    let framing = RequestFraming::of(exchange.head.framing, (!streamed).then_some(held_length));
    let chunked = framing == RequestFraming::Chunked;
    let mut opening = request_head(exchange, &plan.request_edits, framing);
    let mut held = held;
    if !chunked && held.len() <= ONE_WRITE_MAX {
        opening.extend_from_slice(&std::mem::take(&mut held));
    }
    // RFC 9110 §9.2.2: a proxy must not send again what may have had an effect.
    let method = &*exchange.head.method;
    let replayable = !streamed
        && matches!(
            method,
            b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"
        );
    Ok(Request {
        opening: opening.freeze(),
        held,
        chunked,
        streamed,
        replayable,
    })
}

async fn attempt<B: BodySource, S: ResponseSink>(
    run: &mut Run<'_>,
    plan: &Forward,
    request: &Request,
    (link, reused): (&mut Link, bool),
    body: &mut RequestBody<B>,
    client: &mut Client<S>,
) -> Result<Attempt, Failure> {
    run.report.outcome.attempts += 1;
    let sent_at = run.report.elapsed_us();
    let (read_half, write_half) = link.stream.split();
    let mut reader = ResponseReader::new(read_half, &mut link.input);
    let mut upload = pin!(send(request, body, write_half, plan));
    let mut uploading = true;
    let head = {
        let mut first_byte = run.thread.timers.after(plan.first_byte_timeout);
        let mut head = pin!(reader.head(client.to_head_request()));
        loop {
            tokio::select! {
                biased;
                sent = &mut upload, if uploading => {
                    uploading = false;
                    sent?;
                    first_byte = run.thread.timers.after(plan.first_byte_timeout);
                }
                head = &mut head => break head,
                () = client.sink.closed() => return Err(Failure::Gone),
                () = &mut first_byte, if !uploading => {
                    return Err(ErrorCode::UpstreamFirstByteTimeout.into());
                }
            }
        }
    };
    let head: UpstreamHead = match head {
        Ok(head) => head,
        Err(ErrorCode::UpstreamClosed) if reused && request.replayable && !reader.begun => {
            return Ok(Attempt::Stale);
        }
        Err(code) => return Err(code.into()),
    };
    run.report.outcome.first_byte_us = run.report.elapsed_us().saturating_sub(sent_at).max(1);
    let keep_alive = head.keep_alive;
    let relayed = {
        let mut relayed = pin!(relay(run, plan, head, &mut reader, client));
        loop {
            tokio::select! {
                biased;
                relayed = &mut relayed => break relayed?,
                sent = &mut upload, if uploading => {
                    uploading = false;
                    sent?;
                }
            }
        }
    };
    Ok(match relayed {
        Relayed::Replaced(respond) => Attempt::Replaced(respond),
        Relayed::Sent => Attempt::Sent {
            reusable: keep_alive && !uploading,
        },
    })
}

/// Sends the request. An endpoint that stops reading is no failure here: it may have answered.
async fn send<B: BodySource>(
    request: &Request,
    body: &mut RequestBody<B>,
    mut stream: impl AsyncWrite + Unpin,
    plan: &Forward,
) -> Result<(), Failure> {
    let mut sent = request.held.len() as u64;
    let mut frame = BytesMut::new();
    if !write(&mut stream, &request.opening, plan.idle_timeout).await? {
        return Ok(());
    }
    if !request.held.is_empty()
        && !write_piece(
            &mut stream,
            &request.held,
            request.chunked,
            &mut frame,
            plan,
        )
        .await?
    {
        return Ok(());
    }
    if !request.streamed {
        return Ok(());
    }
    while let Some(piece) = body.next().await {
        let piece = piece?;
        sent += piece.len() as u64;
        if sent > plan.body_bytes_max {
            return Err(ErrorCode::RequestBodyTooLarge.into());
        }
        if !write_piece(&mut stream, &piece, request.chunked, &mut frame, plan).await? {
            return Ok(());
        }
    }
    if request.chunked {
        write(&mut stream, b"0\r\n\r\n", plan.idle_timeout).await?;
    }
    Ok(())
}

async fn write_piece(
    stream: &mut (impl AsyncWrite + Unpin),
    piece: &Bytes,
    chunked: bool,
    frame: &mut BytesMut,
    plan: &Forward,
) -> Result<bool, Failure> {
    if !chunked {
        return write(stream, piece, plan.idle_timeout).await;
    }
    frame.clear();
    put_chunk_size(frame, piece.len());
    if piece.len() <= ONE_WRITE_MAX {
        frame.extend_from_slice(piece);
        frame.extend_from_slice(b"\r\n");
        return write(stream, frame, plan.idle_timeout).await;
    }
    Ok(write(stream, frame, plan.idle_timeout).await?
        && write(stream, piece, plan.idle_timeout).await?
        && write(stream, b"\r\n", plan.idle_timeout).await?)
}

/// False: the endpoint has closed its side.
async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    timeout: Duration,
) -> Result<bool, Failure> {
    match tokio::time::timeout(timeout, stream.write_all(bytes)).await {
        Ok(written) => Ok(written.is_ok()),
        Err(_) => Err(ErrorCode::UpstreamIdleTimeout.into()),
    }
}

//! A tunnel: bytes both ways until a side ends it. Begins only after the endpoint agreed to it.

use super::link::{Half, Link};
use crate::client::{Client, Failure, RequestBody};
use crate::error_code::ErrorCode;
use crate::seam::{BodyError, BodySource, ResponseSink};
use crate::timers::Timers;
use bytes::BytesMut;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const READ_BYTES: usize = 16 * 1024;

/// Carries a tunnel's bytes until the endpoint ends it, the client is gone, or neither said
/// anything for `idle_timeout`. A client that closed its side still gets what comes.
pub async fn tunnel<B: BodySource, S: ResponseSink>(
    link: &mut Link,
    timers: &Rc<Timers>,
    idle_timeout: Duration,
    (body, client): (&mut RequestBody<B>, &mut Client<S>),
) -> Result<(), Failure> {
    let active = Cell::new(Instant::now());
    let half = Half(&link.stream);
    let mut up = pin!(upwards(half, body, &active));
    let mut down = pin!(downwards(half, &mut link.input, client, &active));
    let mut sending = true;
    loop {
        let silent = active.get().elapsed();
        let Some(left) = idle_timeout
            .checked_sub(silent)
            .filter(|left| !left.is_zero())
        else {
            return Err(ErrorCode::UpstreamIdleTimeout.into());
        };
        tokio::select! {
            biased;
            ended = &mut down => return ended,
            sent = &mut up, if sending => {
                sent?;
                sending = false;
            }
            () = timers.after(left) => {}
        }
    }
}

async fn upwards<B: BodySource>(
    mut stream: Half<'_>,
    body: &mut RequestBody<B>,
    active: &Cell<Instant>,
) -> Result<(), Failure> {
    body.open_tunnel();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| match error {
            BodyError::Incomplete => Failure::Gone,
            other => other.into(),
        })?;
        active.set(Instant::now());
        if stream.write_all(&piece).await.is_err() {
            return Ok(()); // the endpoint is gone: its own direction ends the tunnel
        }
        active.set(Instant::now());
    }
    let _ = stream.shutdown().await;
    Ok(())
}

async fn downwards<S: ResponseSink>(
    mut stream: Half<'_>,
    input: &mut BytesMut,
    client: &mut Client<S>,
    active: &Cell<Instant>,
) -> Result<(), Failure> {
    loop {
        if !input.is_empty() {
            client.data(input.split().freeze()).await?;
            active.set(Instant::now());
        }
        let mut flushed = false;
        let read = poll_fn(|context| {
            let read = poll_fill(&mut stream, input, context);
            match read {
                Poll::Pending if !flushed => {
                    flushed = true;
                    Poll::Ready(None)
                }
                other => other.map(Some),
            }
        });
        let read = match read.await {
            Some(read) => read,
            None => {
                client.sink.flush().await?;
                poll_fn(|context| poll_fill(&mut stream, input, context)).await
            }
        };
        match read {
            Ok(0) => return Ok(client.sink.end().await?),
            Ok(_) => active.set(Instant::now()),
            Err(_) => return Err(ErrorCode::UpstreamClosed.into()),
        }
    }
}

/// Reads once; a tunnel that waits holds no buffer.
fn poll_fill(
    stream: &mut Half<'_>,
    input: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    input.reserve(READ_BYTES);
    let polled = pin!(stream.read_buf(input)).poll(context);
    if polled.is_pending() {
        *input = BytesMut::new();
    }
    polled
}

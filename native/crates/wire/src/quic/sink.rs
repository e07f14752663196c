//! The response of a stream, as `serve` writes it: quiche takes it directly, as far as it has room.

use super::connection::Connection;
use super::response::{self, Field};
use super::state::{H3_CONNECT_ERROR, H3_INTERNAL_ERROR, State};
use super::stream::{End, Stream};
use crate::seam::{BodyLength, Gone, ResponseHead, ResponseSink};
use bytes::Bytes;
use quiche::h3::Error;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The response.
pub(super) struct Sink {
    end: End,
    /// The head, until it was sent with what follows it.
    head: Option<Vec<Field>>,
    /// Bytes still to be sent, when the head announced them.
    remaining: Option<u64>,
    /// A head or an interim response was sent before.
    begun: bool,
    /// Counted in `Connection::sending`.
    sending: bool,
    is_head: bool,
    is_tunnel: bool,
    idle: Duration,
}

impl Sink {
    /// The sink of a stream; `is_head`: the answer to HEAD has no content. `idle_ms` is how long
    /// the client may take nothing.
    pub fn new(
        connection: Rc<Connection>,
        stream: Rc<Stream>,
        is_head: bool,
        idle_ms: u64,
    ) -> Sink {
        let end = End { connection, stream };
        Sink {
            end,
            head: None,
            remaining: None,
            begun: false,
            sending: false,
            is_head,
            is_tunnel: false,
            idle: Duration::from_millis(idle_ms),
        }
    }

    /// Tries `send` until the stream has capacity for it, the client is gone or too slow. A stream
    /// may have to wait until another of its connection was sent (RFC 9218 §10): the client is too
    /// slow when it takes nothing at all.
    async fn retry<T>(
        &mut self,
        mut send: impl FnMut(&mut Sink, &mut State) -> Result<T, Error>,
    ) -> Result<T, Gone> {
        let mut deadline = Instant::now() + self.idle;
        let mut taken = None;
        loop {
            if self.end.stream.is_lost() {
                return Err(Gone);
            }
            let connection = self.end.connection.clone();
            let result = send(self, &mut connection.state());
            match result {
                Ok(sent) => {
                    connection.touch();
                    return Ok(sent);
                }
                Err(Error::Done | Error::StreamBlocked) => {
                    connection.touch();
                    let acknowledged = || connection.state().quic.stats().acked_bytes;
                    let before = *taken.get_or_insert_with(acknowledged);
                    let stream = self.end.stream.clone();
                    if timeout_at(deadline, stream.writable.wait()).await.is_ok() {
                        continue;
                    }
                    let now = acknowledged();
                    if now == before {
                        self.reset();
                    }
                    (taken, deadline) = (Some(now), Instant::now() + self.idle);
                }
                Err(_) => {
                    self.end.stream.lose();
                }
            }
        }
    }

    /// Sends a head, an interim response or (after a head) trailers.
    async fn fields(&mut self, fields: Vec<Field>, section: Section) -> Result<(), Gone> {
        let fin = section.ends();
        self.retry(|sink, state| {
            let State {
                quic, h3: Some(h3), ..
            } = state
            else {
                return Err(Error::InternalError);
            };
            let (id, priority) = (sink.end.stream.id, sink.end.stream.priority.get());
            if sink.begun {
                let is_trailers = section == Section::Trailers;
                h3.send_additional_headers(quic, id, &fields, is_trailers, fin)
            } else {
                h3.send_response_with_priority(quic, id, &fields, &priority, fin)
            }
        })
        .await?;
        self.begun = true;
        self.end.stream.answered.set(fin);
        if !fin && !self.sending {
            self.sending = true;
            let sending = &self.end.connection.sending;
            sending.set(sending.get() + 1);
        }
        Ok(())
    }

    async fn send_head(&mut self, section: Section) -> Result<(), Gone> {
        match self.head.take() {
            Some(fields) => self.fields(fields, section).await,
            None => Ok(()),
        }
    }
}

/// One field section of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// More follows: the final head, or content.
    Head,
    /// A head that is all there is.
    Only,
    Trailers,
}

impl Section {
    fn ends(self) -> bool {
        self != Section::Head
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let sending = &self.end.connection.sending;
        sending.set(sending.get().saturating_sub(u32::from(self.sending)));
    }
}

impl ResponseSink for Sink {
    async fn interim(&mut self, status: u16, headers: Vec<Field>) -> Result<(), Gone> {
        self.fields(response::interim(status, headers), Section::Head)
            .await
    }

    async fn head(&mut self, head: ResponseHead) -> Result<(), Gone> {
        self.remaining = match head.body {
            BodyLength::Known(length) if !self.is_head => Some(length),
            _ => None,
        };
        self.is_tunnel = head.body == BodyLength::Tunnel;
        self.head = Some(response::fields(head));
        if self.end.stream.is_lost() {
            return Err(Gone);
        }
        // Whoever opened a tunnel waits for the answer before it sends anything.
        match self.is_tunnel {
            true => self.send_head(Section::Head).await,
            false => Ok(()),
        }
    }

    async fn data(&mut self, piece: Bytes) -> Result<(), Gone> {
        if piece.is_empty() || self.is_head {
            return Ok(());
        }
        self.send_head(Section::Head).await?;
        let mut fin = false;
        if let Some(remaining) = &mut self.remaining {
            let Some(left) = remaining.checked_sub(piece.len() as u64) else {
                self.reset();
                return Err(Gone);
            };
            *remaining = left;
            fin = left == 0;
        }
        let mut rest = piece;
        while !rest.is_empty() {
            let all = rest.len();
            let (sent, left) = self
                .retry(|sink, state| {
                    let State {
                        quic, h3: Some(h3), ..
                    } = state
                    else {
                        return Err(Error::InternalError);
                    };
                    let mut part = rest.clone();
                    let sent = h3.send_body_zc(quic, sink.end.stream.id, &mut part, fin)?;
                    Ok((sent, part))
                })
                .await?;
            // quiche leaves the unsent remainder, or the whole when nothing remains.
            rest = if sent == all { Bytes::new() } else { left };
        }
        self.end.stream.answered.set(fin);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send_head(Section::Head).await
    }

    async fn end(&mut self) -> Result<(), Gone> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            self.reset();
            return Err(Gone);
        }
        self.send_head(Section::Only).await?;
        if self.end.stream.answered.get() {
            return Ok(());
        }
        self.retry(|sink, state| {
            let State {
                quic, h3: Some(h3), ..
            } = state
            else {
                return Err(Error::InternalError);
            };
            h3.send_body(quic, sink.end.stream.id, &[], true)
        })
        .await?;
        self.end.stream.answered.set(true);
        Ok(())
    }

    async fn trailers(&mut self, trailers: Vec<Field>) -> Result<(), Gone> {
        let fields = response::trailers(trailers);
        let cut_short = self.remaining.is_some_and(|remaining| remaining > 0);
        // After the last byte of a known length the stream has ended already.
        if fields.is_empty() || self.is_head || cut_short || self.end.stream.answered.get() {
            return self.end().await;
        }
        self.send_head(Section::Head).await?;
        self.fields(fields, Section::Trailers).await
    }

    fn reset(&mut self) {
        let stream = &self.end.stream;
        // RFC 9114 §4.4: how a tunnel says that its other end broke.
        let error = match self.is_tunnel {
            true => H3_CONNECT_ERROR,
            false => H3_INTERNAL_ERROR,
        };
        if !stream.answered.get() && !stream.is_lost() {
            self.end.connection.state().abandon(stream, error);
            self.end.connection.touch();
        }
    }

    async fn closed(&mut self) {
        while !self.end.stream.is_lost() {
            self.end.stream.writable.wait().await;
        }
    }
}

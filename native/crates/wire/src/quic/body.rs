//! The request body of a stream, as `serve` reads it: it asks quiche directly.

use super::connection::Connection;
use super::response::Field;
use super::state::{H3_MESSAGE_ERROR, State};
use super::stream::{End, Stream};
use crate::config::WireLimits;
use crate::rate::{Late, Rate, RateLimits};
use crate::seam::{BodyError, BodySource};
use bytes::{BufMut, Bytes, BytesMut};
use edge_http_policy::{Framing, Head, Refusal};
use quiche::h3::Error;
use std::rc::Rc;
use tokio::time::{Instant, timeout_at};

/// Largest piece of a body handed on at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

enum Read {
    Piece(Bytes),
    End,
    Failed(BodyError),
    Pending,
}

/// The request body.
pub(super) struct Body {
    end: End,
    /// Bytes still to come, when content-length said so.
    expected: Option<u64>,
    done: bool,
    rate: Rate,
    /// A tunnel may be silent for as long as its two ends like.
    is_tunnel: bool,
}

impl Body {
    /// The body of the request with `head`.
    pub fn new(
        connection: Rc<Connection>,
        stream: Rc<Stream>,
        head: &Head,
        limits: &WireLimits,
    ) -> Body {
        let expected = match head.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        stream.refuses_content.set(expected == Some(0));
        let mut types = head.header("content-type");
        // A call of gRPC may say little for long.
        let bytes_min = match types.any(|value| value.starts_with(b"application/grpc")) {
            true => 0,
            false => limits.body_rate_bytes_min,
        };
        let pace = limits.pace();
        let rate = Rate::new(RateLimits { bytes_min, ..pace });
        Body {
            end: End { connection, stream },
            expected,
            // What follows an extended CONNECT is the tunnel's (RFC 9220).
            done: head.framing == Framing::None && !head.websocket,
            rate,
            is_tunnel: false,
        }
    }

    fn read(&mut self) -> Read {
        let piece = self.take();
        if !matches!(piece, Read::Pending) {
            return piece;
        }
        loop {
            let unread = self.unread();
            // Everything was read; only now can quiche tell whether that was all (RFC 9114 §4.1).
            self.end.connection.poll();
            let piece = self.take();
            if !matches!(piece, Read::Pending) || self.unread() >= unread {
                return piece;
            }
            // quiche tells of the first of several empty DATA frames only.
            self.end.connection.empty_frame();
        }
    }

    fn unread(&self) -> usize {
        let state = self.end.connection.state();
        state
            .quic
            .stream_readable_len(self.end.stream.id, usize::MAX)
    }

    fn take(&mut self) -> Read {
        let (stream, connection) = (self.end.stream.clone(), self.end.connection.clone());
        if let Some(refusal) = stream.refusal.get() {
            return Read::Failed(BodyError::Invalid(refusal));
        }
        if stream.is_lost() {
            return Read::Failed(BodyError::Incomplete);
        }
        let mut state = connection.state();
        if stream.is_finished() {
            return match self.expected {
                None | Some(0) => Read::End,
                Some(_) => self.mismatch(&mut state),
            };
        }
        let State {
            quic, h3: Some(h3), ..
        } = &mut *state
        else {
            return Read::Failed(BodyError::Incomplete);
        };
        let ready = quic.stream_readable_len(stream.id, PIECE_BYTES_MAX);
        // Even when nothing is there quiche must be asked, else it announces no more content.
        let mut piece = BytesMut::with_capacity(ready);
        match h3.recv_body_buf(quic, stream.id, (&mut piece).limit(ready.max(1))) {
            Ok(_) => self.piece(&mut state, piece.freeze()),
            Err(Error::Done) => Read::Pending,
            Err(_) => Read::Failed(BodyError::Incomplete),
        }
    }

    /// Counts a piece. Reading made room, so the client may have to be told.
    fn piece(&mut self, state: &mut State, piece: Bytes) -> Read {
        self.end.connection.touch();
        if let Some(expected) = &mut self.expected {
            match expected.checked_sub(piece.len() as u64) {
                Some(left) => *expected = left,
                None => return self.mismatch(state),
            }
        }
        Read::Piece(piece)
    }

    /// RFC 9114 §4.1.2: content-length and the sum of DATA frames differ: malformed.
    fn mismatch(&self, state: &mut State) -> Read {
        state.abandon(&self.end.stream, H3_MESSAGE_ERROR);
        self.end.connection.touch();
        let refusal = Refusal::BadRequest("content-length and content differ");
        Read::Failed(BodyError::Invalid(refusal))
    }
}

impl BodySource for Body {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.done {
                return None;
            }
            let error = match self.read() {
                Read::Piece(piece) => {
                    match self.rate.waits() {
                        true => self.rate.moved(piece.len(), Instant::now().into_std()),
                        false => self.rate.moved_at_once(piece.len()),
                    }
                    return Some(Ok(piece));
                }
                Read::End => {
                    self.done = true;
                    return None;
                }
                Read::Failed(error) => error,
                Read::Pending if self.is_tunnel => {
                    self.end.stream.readable.wait().await;
                    continue;
                }
                Read::Pending => {
                    let now = Instant::now();
                    let (patience, late) = self.rate.wait(now.into_std());
                    let readable = self.end.stream.readable.wait();
                    if timeout_at(now + patience, readable).await.is_ok() {
                        continue;
                    }
                    match late {
                        Late::Idle => BodyError::Timeout,
                        Late::Slow => BodyError::TooSlow,
                    }
                }
            };
            self.done = true;
            return Some(Err(error));
        }
    }

    fn trailers(&mut self) -> Vec<Field> {
        self.end.stream.trailers.take()
    }

    fn open_tunnel(&mut self) {
        self.is_tunnel = true;
    }
}

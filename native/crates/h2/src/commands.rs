//! What the caller does: answer, consume, reset, leave.

use crate::connection::{Connection, Leaving};
use crate::frame::{self, END_HEADERS, END_STREAM, HEADER_BYTES, Header, Kind, Reason};
use crate::stream::{Receiving, Reset, Sending};
use crate::{Cause, Closed, Field};
use bytes::{BufMut, Bytes};
use std::time::Instant;

/// Response bytes held per stream before the caller has to wait.
const PENDING_BYTES_MAX: usize = 64 * 1024;
/// The same when the connection as a whole holds a quarter of what it may.
const PENDING_BYTES_MIN: usize = 4 * 1024;
/// Less room than this is not worth waking anybody for, unless nothing is pending.
pub(crate) const ROOM_BYTES_MIN: usize = 16 * 1024;
/// Payload of the PING behind the first GOAWAY.
pub(crate) const DRAIN_PING: [u8; 8] = *b"draining";
/// No stream has a higher id.
const STREAM_MAX: u32 = 0x7fff_ffff;

/// Name (in any case) and value of a field line to send.
type Line<'a> = (&'a [u8], &'a [u8]);

impl Connection {
    /// Says what content-length announced, or that it announced nothing.
    pub fn expect_length(&mut self, stream: u32, length: Option<u64>) {
        if let Some(stream) = self.stream(stream) {
            stream.expected = length;
        }
    }

    /// Sends an interim response.
    pub fn send_interim<'a>(
        &mut self,
        stream: u32,
        status: u16,
        fields: impl IntoIterator<Item = Line<'a>>,
    ) -> Result<(), Closed> {
        let open = self.stream(stream).ok_or(Closed)?;
        if !open.is_sendable() || open.sending != Sending::Head {
            return Err(Closed);
        }
        let begun = self.begin_block();
        self.encoder.status(status, &mut self.output);
        self.end_block(begun, stream, fields, false);
        Ok(())
    }

    /// Sends the head of the response; `end` when nothing follows.
    pub fn send_head<'a>(
        &mut self,
        stream: u32,
        status: u16,
        fields: impl IntoIterator<Item = Line<'a>>,
        end: bool,
    ) -> Result<(), Closed> {
        let open = self.stream(stream).ok_or(Closed)?;
        if !open.is_sendable() || open.sending != Sending::Head {
            return Err(Closed);
        }
        open.sending = if end { Sending::Ended } else { Sending::Body };
        let begun = self.begin_block();
        self.encoder.status(status, &mut self.output);
        self.end_block(begun, stream, fields, end);
        self.settle(stream);
        Ok(())
    }

    /// How many bytes `send_data` takes now; 0: wait for [`crate::Event::Room`].
    pub fn room(&mut self, stream: u32) -> Result<usize, Closed> {
        let at = self.position(stream).ok_or(Closed)?;
        let room = self.room_at(at);
        let open = self.streams.get_mut(at).ok_or(Closed)?;
        if !open.is_sendable() {
            return Err(Closed);
        }
        if room == 0 && !open.waits {
            open.waits = true;
            self.waiting += 1;
        }
        Ok(room)
    }

    /// Only what the windows allow is taken: a client with closed windows makes us hold nothing.
    pub(crate) fn room_at(&self, at: usize) -> usize {
        let Some(stream) = self.streams.get(at) else {
            return 0;
        };
        let crowded = self.pending >= self.limits.connection_bytes_max / 4;
        let most = if crowded {
            PENDING_BYTES_MIN
        } else {
            PENDING_BYTES_MAX
        };
        let left =
            |window: i64, used: usize| usize::try_from(window).unwrap_or(0).saturating_sub(used);
        let room =
            left(stream.send_window, stream.pending).min(left(self.send_window, self.pending));
        room.min(most.saturating_sub(stream.pending))
    }

    /// Sends a piece of the body, at most as long as `room` said; `end` when nothing follows.
    pub fn send_data(&mut self, stream: u32, piece: Bytes, end: bool) -> Result<(), Closed> {
        let open = self.stream(stream).ok_or(Closed)?;
        if !open.is_sendable() || open.sending != Sending::Body {
            return Err(Closed);
        }
        let length = piece.len();
        if length > 0 {
            open.pending += length;
            open.pieces.push_back(piece);
        }
        if end {
            open.sending = Sending::Ending(Vec::new());
        }
        let queue = length > 0 && !std::mem::replace(&mut open.queued, true);
        self.pending += length;
        if queue {
            self.ready.push_back(stream);
        }
        self.finish(stream);
        Ok(())
    }

    /// Ends the response with trailers.
    pub fn send_trailers(&mut self, stream: u32, fields: Vec<Field>) -> Result<(), Closed> {
        let open = self.stream(stream).ok_or(Closed)?;
        if !open.is_sendable() || open.sending != Sending::Body {
            return Err(Closed);
        }
        open.sending = Sending::Ending(fields);
        self.finish(stream);
        Ok(())
    }

    /// Sends the end once everything before it was sent.
    pub(crate) fn finish(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        if stream.pending > 0 || stream.reset.is_some() {
            return;
        }
        let Sending::Ending(trailers) = &mut stream.sending else {
            return;
        };
        let trailers = std::mem::take(trailers);
        stream.sending = Sending::Ended;
        if trailers.is_empty() {
            frame::put(&mut self.output, Kind::Data, END_STREAM, id, &[]);
        } else {
            let begun = self.begin_block();
            let lines = trailers.iter().map(|(name, value)| (&name[..], &value[..]));
            self.end_block(begun, id, lines, true);
        }
        self.settle(id);
    }

    fn begin_block(&mut self) -> usize {
        let begun = self.output.len();
        self.output.reserve(256);
        self.output.put_bytes(0, HEADER_BYTES);
        self.encoder.begin(&mut self.output);
        begun
    }

    /// Ends the block that began at `begun`; what exceeds a frame goes into CONTINUATION.
    fn end_block<'a>(
        &mut self,
        begun: usize,
        stream: u32,
        fields: impl IntoIterator<Item = Line<'a>>,
        end: bool,
    ) {
        for (name, value) in fields {
            self.encoder.field(name, value, &mut self.output);
        }
        let at = begun + HEADER_BYTES;
        let length = self.output.len() - at;
        let max = self.peer_frame_max;
        let rest = (length > max).then(|| self.output.split_off(at + max));
        let end_headers = if rest.is_none() { END_HEADERS } else { 0 };
        let header = Header {
            length: length.min(max),
            kind: Kind::Headers,
            flags: end_headers | if end { END_STREAM } else { 0 },
            stream,
        };
        if let Some(place) = self.output.get_mut(begun..at) {
            place.copy_from_slice(&header.bytes());
        }
        let mut parts = rest.as_deref().unwrap_or_default().chunks(max).peekable();
        while let Some(part) = parts.next() {
            let flags = if parts.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            frame::put(&mut self.output, Kind::Continuation, flags, stream, part);
        }
    }

    /// Gives the client back the room of bytes that were used.
    pub fn consume(&mut self, stream: u32, bytes: usize) {
        self.credit += bytes;
        self.unread = self.unread.saturating_sub(bytes);
        let half = self.limits.stream_window as usize / 2;
        if let Some(open) = self.stream(stream) {
            open.unread = open.unread.saturating_sub(bytes);
            open.credit += bytes;
            let goes_on = open.receiving == Receiving::Open && open.reset.is_none();
            if goes_on && open.credit >= half {
                let grant = std::mem::take(&mut open.credit);
                open.receive_window += i64::try_from(grant).unwrap_or(0);
                self.put_window_update(stream, grant);
            }
        }
        self.give_back();
    }

    pub(crate) fn give_back(&mut self) {
        if !self.dead && self.credit >= self.limits.connection_window as usize / 2 {
            let grant = std::mem::take(&mut self.credit);
            self.receive_window += i64::try_from(grant).unwrap_or(0);
            self.put_window_update(0, grant);
        }
    }

    /// Breaks the response off, or refuses the request.
    pub fn reset(&mut self, stream: u32, reason: Reason) {
        let Some(at) = self.position(stream) else {
            return;
        };
        let over = |open: &crate::stream::Stream| open.reset.is_some() || open.is_answered();
        if self.streams.get(at).is_none_or(over) {
            return;
        }
        self.put_reset(stream, reason);
        self.cut(at, Reset::ByUs);
        self.settle(stream);
    }

    /// Resets a stream because its request is malformed: counted like a reset by the client.
    pub fn refuse(&mut self, stream: u32, now: Instant) {
        self.reset(stream, Reason::Protocol);
        self.count_reset(now);
    }

    /// Nobody will read or answer this stream any more; it stops counting once it is sent whole.
    pub fn release(&mut self, stream: u32) {
        let Some(open) = self.stream(stream) else {
            return;
        };
        open.released = true;
        let unread = std::mem::take(&mut open.unread);
        let answered = matches!(open.sending, Sending::Ending(_) | Sending::Ended);
        self.unread -= unread;
        self.credit += unread;
        self.give_back();
        if answered {
            self.settle(stream);
        } else {
            self.reset(stream, Reason::Internal);
        }
    }

    /// Announces the end: first without a last stream, so that none the client opens meanwhile is
    /// lost (§6.8). The final GOAWAY follows the answer to a PING, or [`Connection::leave`].
    pub fn drain(&mut self) {
        if self.leaving == Leaving::No && !self.dead {
            self.leaving = Leaving::Announced;
            self.put_goaway(STREAM_MAX, Reason::NoError, "");
            frame::put(&mut self.output, Kind::Ping, 0, 0, &DRAIN_PING);
        }
    }

    /// The final GOAWAY: streams beyond the last one are refused, so that clients retry them.
    pub fn leave(&mut self) {
        if !matches!(self.leaving, Leaving::Final(_)) && !self.dead {
            self.leaving = Leaving::Final(self.last_stream);
            self.put_goaway(self.last_stream, Reason::NoError, "");
        }
    }

    /// Ends the connection because a head did not come in time.
    pub fn give_up_head(&mut self) {
        let detail = "a request head did not end in time";
        self.fail(Reason::EnhanceYourCalm, Cause::HeaderTimeout, detail);
    }
}

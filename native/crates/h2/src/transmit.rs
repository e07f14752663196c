//! DATA frames: streams that have something to send take turns.

use crate::Event;
use crate::commands::ROOM_BYTES_MIN;
use crate::connection::Connection;
use crate::frame::{END_STREAM, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX};
use crate::stream::Sending;
use bytes::{Buf, BytesMut};

/// Shorter DATA is not put into what is left of a write, unless it is all there is.
const FRAGMENT_BYTES_MIN: usize = 1024;

impl Connection {
    /// Whether `transmit` has something to do. It may give nothing: a window may have shrunk.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty() || (!self.ready.is_empty() && self.send_window > 0)
    }

    /// Moves frames to `out` until it holds about `target` bytes.
    pub fn transmit(&mut self, out: &mut BytesMut, target: usize) {
        self.flush_output(out);
        while out.len() + HEADER_BYTES < target && self.send_window > 0 {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            let room = target - out.len() - HEADER_BYTES;
            match self.position(id) {
                Some(at) if !self.put_data(at, out, room) => {
                    self.ready.push_front(id);
                    break;
                }
                _ => self.flush_output(out),
            }
        }
        if self.waiting > 0 {
            self.tell_room();
        }
    }

    fn flush_output(&mut self, out: &mut BytesMut) {
        if self.output.is_empty() {
            return;
        }
        if out.is_empty() {
            *out = std::mem::take(&mut self.output);
        } else {
            out.extend_from_slice(&self.output);
            self.output = BytesMut::new();
        }
    }

    /// One DATA frame of a stream; false when `room` is not worth it.
    fn put_data(&mut self, at: usize, out: &mut BytesMut, room: usize) -> bool {
        let peer_max = self.peer_frame_max.min(PAYLOAD_BYTES_MAX);
        let window = usize::try_from(self.send_window).unwrap_or(0);
        let Some(stream) = self.streams.get_mut(at) else {
            return true;
        };
        let own = usize::try_from(stream.send_window).unwrap_or(0);
        let wanted = stream.pending.min(own).min(window).min(peer_max);
        if wanted == 0 {
            stream.queued = false;
            return true;
        }
        if wanted > room && room < FRAGMENT_BYTES_MIN {
            return false;
        }
        let length = wanted.min(room);
        let whole = length == stream.pending;
        let ends =
            whole && matches!(&stream.sending, Sending::Ending(trailers) if trailers.is_empty());
        out.reserve(HEADER_BYTES + length);
        let header = Header {
            length,
            kind: Kind::Data,
            flags: if ends { END_STREAM } else { 0 },
            stream: stream.id,
        };
        header.write(out);
        let mut left = length;
        while let Some(piece) = stream.pieces.front_mut().filter(|_| left > 0) {
            let part = piece.get(..left).unwrap_or(piece);
            out.extend_from_slice(part);
            let taken = part.len();
            left -= taken;
            piece.advance(taken);
            if piece.is_empty() {
                stream.pieces.pop_front();
            }
        }
        let sent = i64::try_from(length).unwrap_or(0);
        stream.send_window -= sent;
        stream.sent += sent;
        self.send_window -= sent;
        stream.pending -= length;
        self.pending -= length;
        let id = stream.id;
        stream.queued = !whole;
        if ends {
            stream.sending = Sending::Ended;
        }
        if !whole {
            self.ready.push_back(id);
        } else if ends {
            self.settle(id);
        } else {
            self.finish(id);
        }
        self.excuse_updates(length);
        true
    }

    /// Wakes those who wait, as far as there is room worth it.
    pub(crate) fn tell_room(&mut self) {
        for at in 0..self.streams.len() {
            let Some(stream) = self.streams.get(at).filter(|stream| stream.waits) else {
                continue;
            };
            let room = self.room_at(at);
            let gone = !stream.is_sendable();
            if gone || room >= ROOM_BYTES_MIN || (room > 0 && stream.pending == 0) {
                let stream = stream.id;
                self.events.push_back(Event::Room { stream });
                self.waiting -= 1;
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.waits = false;
                }
            }
        }
    }
}

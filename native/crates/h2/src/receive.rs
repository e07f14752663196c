//! Frames from the client (RFC 9113 §6).

use crate::connection::{Block, Connection, Leaving};
use crate::frame::{
    self, ACK, END_HEADERS, END_STREAM, HEADER_BYTES, Header, Kind, PADDED, PAYLOAD_BYTES_MAX,
    PRIORITY, Reason,
};
use crate::settings::WINDOW_DEFAULT;
use crate::stream::{Receiving, Reset, Stream};
use crate::{Cause, Event, Field};
use bytes::{Buf, Bytes, BytesMut};
use std::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A header block may be this many times the size of the head that it is allowed to hold: beyond
/// the head's own limit the request is refused, beyond this the connection.
const BLOCK_FACTOR: usize = 4;
/// CONTINUATION frames in one block that are not counted as frames without use.
const CONTINUATIONS_FREE: u32 = 8;
/// What a field of a decoded head costs beside its bytes.
const FIELD_BYTES: usize = size_of::<Field>();

impl Connection {
    /// The next event, read from `input` as far as needed. `None`: more input is needed, or another
    /// turn. To be called until then after every read, and after `transmit` for its events.
    pub fn next(&mut self, input: &mut BytesMut, now: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.dead {
                input.clear();
                return None;
            }
            if !self.preface {
                if !self.read_preface(input) {
                    return None;
                }
                continue;
            }
            let header = Header::read(input)?;
            if header.length > PAYLOAD_BYTES_MAX {
                self.violation(Reason::FrameSize, "frame too large");
                continue;
            }
            if input.len() < HEADER_BYTES + header.length {
                return None;
            }
            if !self.has_turn_for(header) {
                return None;
            }
            input.advance(HEADER_BYTES);
            let payload = input.split_to(header.length).freeze();
            self.frame(header, payload, now);
            self.steps += u64::from(self.block.is_none());
            if self.held_bytes() > self.limits.connection_bytes_max {
                let detail = "too much memory held";
                self.fail(Reason::EnhanceYourCalm, Cause::ConnectionBytes, detail);
            }
        }
    }

    fn read_preface(&mut self, input: &mut BytesMut) -> bool {
        let length = input.len().min(PREFACE.len());
        if input.get(..length) != PREFACE.get(..length) {
            self.violation(Reason::Protocol, "not the preface of HTTP/2");
            return true;
        }
        if length < PREFACE.len() {
            return false;
        }
        input.advance(length);
        self.preface = true;
        true
    }

    fn frame(&mut self, header: Header, payload: Bytes, now: Instant) {
        if !self.settled && (header.kind != Kind::Settings || header.has(ACK)) {
            return self.violation(Reason::Protocol, "the first frame is not SETTINGS");
        }
        if self.block.is_some() && header.kind != Kind::Continuation {
            return self.violation(Reason::Protocol, "a frame within a header block");
        }
        match header.kind {
            Kind::Data => self.data(header, payload, now),
            Kind::Headers => self.headers(header, payload, now),
            Kind::Continuation => self.continuation(header, &payload, now),
            Kind::Priority => self.priority(header, &payload, now),
            Kind::PriorityUpdate => self.priority_update(header, &payload, now),
            Kind::RstStream => self.rst_stream(header, &payload, now),
            Kind::Settings => self.settings(header, &payload, now),
            Kind::Ping => self.ping(header, &payload, now),
            Kind::GoAway => self.goaway(header, &payload, now),
            Kind::WindowUpdate => self.window_update(header, &payload, now),
            Kind::PushPromise => self.violation(Reason::Protocol, "PUSH_PROMISE from a client"),
            Kind::Unknown => self.count_control(now),
        }
    }

    fn data(&mut self, header: Header, payload: Bytes, now: Instant) {
        let (id, length) = (header.stream, payload.len());
        let size = i64::try_from(length).unwrap_or(0);
        if id == 0 {
            return self.violation(Reason::Protocol, "DATA on stream 0");
        }
        self.receive_window -= size;
        if self.receive_window < 0 {
            return self.violation(Reason::FlowControl, "DATA beyond the connection window");
        }
        let Some(piece) = without_padding(header, payload) else {
            return self.violation(Reason::Protocol, "padding longer than its frame");
        };
        let Some(at) = self.position(id) else {
            return self.data_on_closed(id, length);
        };
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if stream.reset == Some(Reset::ByClient) {
            return self.violation(Reason::StreamClosed, "DATA behind RST_STREAM");
        }
        stream.receive_window -= size;
        let overrun = stream.receive_window < 0;
        let (reset, open) = (stream.reset.is_some(), stream.receiving == Receiving::Open);
        if reset || overrun || !open {
            self.credit += length;
            self.give_back();
        }
        match (reset, overrun) {
            (true, true) => {
                let detail = "DATA beyond the stream window";
                self.violation(Reason::FlowControl, detail);
            }
            (true, false) => {} // it cannot know yet
            (false, true) => {
                self.stream_fault(id, Reason::FlowControl, "stream window exceeded", now);
            }
            (false, false) if !open => {
                self.stream_fault(id, Reason::StreamClosed, "DATA behind the end", now);
            }
            (false, false) => self.piece(header, length, piece, now),
        }
    }

    /// A piece of the body of an open stream.
    fn piece(&mut self, header: Header, length: usize, piece: Bytes, now: Instant) {
        let id = header.stream;
        let Some(stream) = self.stream(id) else {
            return;
        };
        let ended = header.has(END_STREAM);
        stream.received += piece.len() as u64;
        stream.receiving = if ended {
            Receiving::Ended
        } else {
            Receiving::Open
        };
        if stream.breaks_length() {
            self.credit += length;
            self.give_back();
            let fault = "content-length and DATA differ";
            return self.stream_fault(id, Reason::Protocol, fault, now);
        }
        stream.unread += length;
        let dropped = stream.released;
        self.unread += length;
        let read = if dropped {
            length
        } else {
            length - piece.len()
        };
        if read > 0 {
            self.consume(id, read);
        }
        if piece.is_empty() && !ended {
            return self.count_control(now);
        }
        if !dropped {
            self.events.push_back(Event::Data {
                stream: id,
                piece,
                ended,
            });
        }
    }

    /// DATA on a stream that is no more: late, or wrong.
    fn data_on_closed(&mut self, id: u32, length: usize) {
        if id > self.last_stream || id.is_multiple_of(2) {
            return self.violation(Reason::Protocol, "DATA on an idle stream");
        }
        let mut tombstones = self.tombstones.iter_mut();
        let Some(tombstone) = tombstones.find(|tombstone| tombstone.id == id) else {
            return self.violation(Reason::StreamClosed, "DATA on a closed stream");
        };
        tombstone.window -= i64::try_from(length).unwrap_or(0);
        if tombstone.window < 0 {
            return self.violation(Reason::FlowControl, "DATA beyond the stream window");
        }
        self.credit += length;
        self.give_back();
    }

    fn headers(&mut self, header: Header, payload: Bytes, now: Instant) {
        let id = header.stream;
        if id.is_multiple_of(2) {
            return self.violation(
                Reason::Protocol,
                "HEADERS on a stream that is not a client's",
            );
        }
        let Some(mut fragment) = without_padding(header, payload) else {
            return self.violation(Reason::Protocol, "padding longer than its frame");
        };
        let mut depends_on_itself = false;
        if header.has(PRIORITY) {
            let Some(depends) = frame::number(&fragment).filter(|_| fragment.len() >= 5) else {
                return self.violation(Reason::FrameSize, "HEADERS shorter than its priority");
            };
            depends_on_itself = depends & 0x7fff_ffff == id;
            fragment.advance(5);
        }
        let mut block = Block {
            stream: id,
            ended: header.has(END_STREAM),
            depends_on_itself,
            bytes: BytesMut::new(),
            frames: 0,
        };
        if header.has(END_HEADERS) {
            self.head(&block, &fragment, now);
        } else {
            block.bytes.extend_from_slice(&fragment);
            self.block = Some(Box::new(block));
        }
    }

    fn continuation(&mut self, header: Header, payload: &[u8], now: Instant) {
        let Some(mut block) = self.block.take() else {
            return self.violation(Reason::Protocol, "CONTINUATION without HEADERS");
        };
        if block.stream != header.stream {
            return self.violation(Reason::Protocol, "CONTINUATION of another stream");
        }
        if block.bytes.len() + payload.len() > self.limits.head.bytes_max * BLOCK_FACTOR {
            let detail = "header block too large";
            return self.fail(Reason::EnhanceYourCalm, Cause::ConnectionBytes, detail);
        }
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        if block.frames > CONTINUATIONS_FREE || payload.is_empty() {
            self.count_control(now);
        }
        if header.has(END_HEADERS) {
            let fragment = block.bytes.split().freeze();
            self.head(&block, &fragment, now);
        } else if !self.dead {
            self.block = Some(block);
        }
    }

    /// A whole header block: a request, or trailers. It is decoded whatever becomes of it.
    fn head(&mut self, block: &Block, fragment: &[u8], now: Instant) {
        if self.dead {
            return;
        }
        let id = block.stream;
        let is_request = id > self.last_stream;
        let limits = if is_request {
            self.limits.head
        } else {
            self.limits.trailers
        };
        let section = match self.decoder.decode(fragment, &limits) {
            Ok(section) => section,
            Err(error) => return self.violation(Reason::Compression, error.0),
        };
        if !is_request {
            return self.trailers(block, section.fields, section.too_large, now);
        }
        self.last_stream = id;
        if block.depends_on_itself {
            return self.stream_fault(id, Reason::Protocol, "a stream depends on itself", now);
        }
        let beyond = matches!(self.leaving, Leaving::Final(last) if id > last);
        let head_bytes = section.bytes + section.fields.len() * FIELD_BYTES;
        let full = self.streams.len() >= self.limits.streams_max as usize;
        if beyond || full || self.is_shut(head_bytes) {
            // §8.7: nothing was done, so the client may try again.
            self.put_reset(id, Reason::RefusedStream);
            self.bury(id, i64::from(self.limits.stream_window).max(WINDOW_DEFAULT));
            return self.count_reset(now);
        }
        let mut window = i64::from(self.limits.stream_window);
        if !self.acknowledged {
            window = window.max(WINDOW_DEFAULT);
        }
        let mut stream = Stream::new(id, window, self.peer_window);
        stream.head_bytes = head_bytes;
        if block.ended {
            stream.receiving = Receiving::Ended;
        }
        self.head_bytes += stream.head_bytes;
        self.streams.push_back(stream);
        self.requests += 1;
        self.excuse_request();
        self.events.push_back(Event::Request {
            stream: id,
            fields: section.fields,
            ended: block.ended,
            too_large: section.too_large,
        });
    }

    fn trailers(&mut self, block: &Block, fields: Vec<Field>, too_large: bool, now: Instant) {
        let id = block.stream;
        let Some(stream) = self.stream(id) else {
            if self.tombstones.iter().any(|tombstone| tombstone.id == id) {
                return;
            }
            return match self.done.contains(&id) {
                true => self.violation(Reason::StreamClosed, "HEADERS on a closed stream"),
                false => self.violation(Reason::Protocol, "a stream id that is not the next"),
            };
        };
        match stream.reset {
            Some(Reset::ByUs) => return,
            Some(Reset::ByClient) => {
                return self.violation(Reason::StreamClosed, "HEADERS behind RST_STREAM");
            }
            None => {}
        }
        if stream.receiving == Receiving::Ended {
            return self.stream_fault(id, Reason::StreamClosed, "HEADERS behind the end", now);
        }
        if !block.ended {
            return self.stream_fault(id, Reason::Protocol, "trailers that do not end", now);
        }
        if fields.iter().any(|(name, _)| name.first() == Some(&b':')) {
            return self.stream_fault(id, Reason::Protocol, "pseudo-field in trailers", now);
        }
        stream.receiving = Receiving::Ended;
        if stream.breaks_length() {
            let fault = "content-length and DATA differ";
            return self.stream_fault(id, Reason::Protocol, fault, now);
        }
        if !stream.released {
            self.events.push_back(Event::Trailers {
                stream: id,
                fields,
                too_large,
            });
        }
    }
}

/// The payload of DATA or HEADERS (§6.1); `None` when its padding does not fit.
fn without_padding(header: Header, mut payload: Bytes) -> Option<Bytes> {
    if header.has(PADDED) {
        let padding = usize::from(*payload.first()?);
        payload.advance(1);
        payload.truncate(payload.len().checked_sub(padding)?);
    }
    Some(payload)
}

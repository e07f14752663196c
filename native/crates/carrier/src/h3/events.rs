//! What comes in by HTTP/3: fields, capsules and datagrams, and what each of them means.

use super::code;
use super::link::{Link, Stage};
use crate::capsule::{UDP_CONTEXT, varint};
use crate::desk::plain;
use crate::request::{Refusal, judge, refusal, status_of};
use crate::{Event, Way};
use quiche::h3::{self, Header};
use std::rc::Rc;

/// The largest quarter stream id (RFC 9297 §2.1).
const QUARTER_MAX: u64 = (1 << 60) - 1;

impl Link {
    /// Takes every event that quiche has.
    pub(super) fn poll(&mut self) {
        loop {
            let Some(h3) = &mut self.h3 else { return };
            match h3.poll(&mut self.quic) {
                Ok((stream, h3::Event::Headers { list, .. })) => self.fields(stream, &list),
                Ok((stream, h3::Event::Data)) => self.read(stream),
                Ok((stream, h3::Event::Finished)) => self.finished(stream),
                Ok((stream, h3::Event::Reset(_))) if Some(stream) == self.stream => {
                    self.end(code::NO_ERROR, "the other end took it back");
                }
                Ok(_) => {}
                Err(h3::Error::Done) => return,
                // quiche has closed the connection with what is wrong.
                Err(error) => return self.over(&format!("HTTP/3: {error}")),
            }
        }
    }

    fn fields(&mut self, stream: u64, list: &[Header]) {
        if self.aim.is_some() {
            return self.answered(stream, list);
        }
        if self.stream.is_some() || self.stage != Stage::Opening {
            return self.malformed("fields where none belong");
        }
        let targets = &self.ground.room.options().targets;
        match (judge(list, targets), self.identity()) {
            (Ok(()), Some(identity)) => {
                let room = Rc::clone(&self.ground.room);
                let carrier = room.shared.number();
                room.enter(carrier, &self.desk);
                (self.stream, self.number) = (Some(stream), Some(carrier));
                self.stage = Stage::Asked;
                room.shared.happened(Event::Asks {
                    carrier,
                    way: Way::H3,
                    identity,
                    remote: plain(self.path.peer),
                });
            }
            (Ok(()), None) => self.refuse(Some(stream), (403, "error=http_request_denied")),
            (Err(Refusal::Status(status, why)), _) => self.refuse(Some(stream), (status, why)),
            (Err(Refusal::Malformed), _) => {
                // RFC 9114 §4.1.2
                let how = code::MESSAGE_ERROR;
                let quic = &mut self.quic;
                let _ = quic.stream_shutdown(stream, quiche::Shutdown::Read, how);
                let _ = quic.stream_shutdown(stream, quiche::Shutdown::Write, how);
            }
        }
    }

    /// A response: of the one request that was sent.
    fn answered(&mut self, stream: u64, list: &[Header]) {
        if Some(stream) != self.stream || self.stage != Stage::Opening {
            return self.malformed("fields where none belong");
        }
        match status_of(list) {
            Some(100..200) => {}
            Some(200..300) => self.open(stream),
            Some(status) => {
                let words = format!("it answers {status}");
                self.end(code::NO_ERROR, &words);
            }
            None => self.malformed("an answer without a status"),
        }
    }

    pub(super) fn refuse(&mut self, stream: Option<u64>, (status, why): (u16, &str)) {
        if let (Some(h3), Some(stream)) = (&mut self.h3, stream) {
            // One that is gone hears nothing.
            let _ = h3.send_response(&mut self.quic, stream, &refusal(status, why), true);
            let read = quiche::Shutdown::Read;
            let _ = self.quic.stream_shutdown(stream, read, code::NO_ERROR);
        }
    }

    /// Bytes of the stream: capsules.
    fn read(&mut self, stream: u64) {
        let room = Rc::clone(&self.ground.room);
        let mut scratch = room.buffers.scratch.borrow_mut();
        let buffer = scratch.room();
        loop {
            let Some(h3) = &mut self.h3 else { return };
            let Ok(length) = h3.recv_body(&mut self.quic, stream, buffer) else {
                return;
            };
            if Some(stream) != self.stream {
                continue;
            }
            let lane = self.lane.clone();
            let taken = self
                .capsules
                .take(buffer.get(..length).unwrap_or_default(), |packet| {
                    if let Some(lane) = &lane {
                        lane.put(packet, &room.buffers);
                    }
                });
            if taken.is_err() {
                return self.malformed("a capsule that is none");
            }
        }
    }

    fn finished(&mut self, stream: u64) {
        if Some(stream) != self.stream {
            return;
        }
        if self.capsules.is_between() {
            self.end(code::NO_ERROR, "the other end ended it");
        } else {
            self.malformed("a capsule that is not whole"); // RFC 9297 §3.3
        }
    }

    pub(super) fn take_datagrams(&mut self) {
        let room = Rc::clone(&self.ground.room);
        let mut scratch = room.buffers.scratch.borrow_mut();
        let buffer = scratch.room();
        while let Ok(length) = self.quic.dgram_recv(buffer) {
            let datagram = buffer.get(..length).unwrap_or_default();
            let Some((quarter, at)) = varint(datagram).filter(|(id, _)| *id <= QUARTER_MAX) else {
                return self.end(code::DATAGRAM_ERROR, "a datagram of no stream"); // RFC 9297 §2.1
            };
            let (Some(lane), true) = (&self.lane, Some(quarter * 4) == self.stream) else {
                continue; // of a stream that is over, or does not carry yet
            };
            let rest = datagram.get(at..).unwrap_or_default();
            let Some((context, at)) = varint(rest) else {
                return self.malformed("a datagram without a context");
            };
            if context == UDP_CONTEXT {
                lane.put(rest.get(at..).unwrap_or_default(), &room.buffers);
            }
        }
    }
}

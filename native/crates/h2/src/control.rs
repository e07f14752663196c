//! Frames from the client that carry no request: settings, windows, pings, priorities, resets.

use crate::Event;
use crate::commands::DRAIN_PING;
use crate::connection::{Connection, Leaving};
use crate::frame::{self, ACK, Header, Kind, Reason};
use crate::settings::{self, WINDOW_MAX};
use crate::stream::{Reset, Stream};
use std::time::Instant;

impl Connection {
    pub(crate) fn priority(&mut self, header: Header, payload: &[u8], now: Instant) {
        let id = header.stream;
        if id == 0 {
            return self.violation(Reason::Protocol, "PRIORITY on stream 0");
        }
        let fault = match frame::number(payload).filter(|_| payload.len() == 5) {
            None => (Reason::FrameSize, "PRIORITY of odd length"),
            Some(depends) if depends & 0x7fff_ffff == id => {
                (Reason::Protocol, "a stream depends on itself")
            }
            Some(_) => return self.count_priority(now),
        };
        match self.position(id) {
            Some(_) => self.stream_fault(id, fault.0, fault.1, now),
            None => self.violation(fault.0, fault.1),
        }
    }

    /// RFC 9218 §7.1. All streams take turns whatever a client wishes.
    pub(crate) fn priority_update(&mut self, header: Header, payload: &[u8], now: Instant) {
        let prioritized = frame::number(payload).map(|number| number & 0x7fff_ffff);
        match prioritized {
            _ if header.stream != 0 => {
                self.violation(Reason::Protocol, "PRIORITY_UPDATE not on stream 0");
            }
            None => self.violation(Reason::FrameSize, "PRIORITY_UPDATE too short"),
            Some(0) => self.violation(Reason::Protocol, "PRIORITY_UPDATE of stream 0"),
            Some(_) => self.count_priority(now),
        }
    }

    /// One for each request is normal.
    fn count_priority(&mut self, now: Instant) {
        match self.excused_priorities.checked_sub(1) {
            Some(left) => self.excused_priorities = left,
            None => self.count_control(now),
        }
    }

    pub(crate) fn rst_stream(&mut self, header: Header, payload: &[u8], now: Instant) {
        let id = header.stream;
        if id == 0 || (id > self.last_stream || id.is_multiple_of(2)) {
            return self.violation(Reason::Protocol, "RST_STREAM on an idle stream");
        }
        if payload.len() != 4 {
            return self.violation(Reason::FrameSize, "RST_STREAM of odd length");
        }
        let Some(at) = self.position(id) else {
            return self.count_control(now); // late
        };
        let Some(stream) = self.streams.get(at).filter(|stream| stream.reset.is_none()) else {
            return self.count_control(now);
        };
        let unanswered = !stream.is_answered();
        self.cut(at, Reset::ByClient);
        self.events.push_back(Event::Reset {
            stream: id,
            fault: None,
        });
        self.settle(id);
        if unanswered {
            self.count_reset(now);
        }
    }

    pub(crate) fn settings(&mut self, header: Header, payload: &[u8], now: Instant) {
        if header.stream != 0 {
            return self.violation(Reason::Protocol, "SETTINGS not on stream 0");
        }
        if header.has(ACK) {
            if !payload.is_empty() {
                return self.violation(Reason::FrameSize, "SETTINGS acknowledgement with content");
            }
            if std::mem::replace(&mut self.acknowledged, true) {
                self.count_control(now);
            }
            return;
        }
        let asked = match settings::read(payload) {
            Ok(asked) => asked,
            Err((reason, detail)) => return self.violation(reason, detail),
        };
        if std::mem::replace(&mut self.settled, true) {
            self.count_control(now);
        }
        if let Some(bytes) = asked.header_table_bytes {
            self.encoder.limit_table(bytes);
        }
        if let Some(max) = asked.frame_bytes_max {
            self.peer_frame_max = max;
        }
        if let Some(window) = asked.initial_window {
            let change = window - std::mem::replace(&mut self.peer_window, window);
            for at in 0..self.streams.len() {
                if !self.widen(at, change) {
                    return self.violation(Reason::FlowControl, "SETTINGS overflow a window");
                }
            }
        }
        if !self.dead {
            frame::put(&mut self.output, Kind::Settings, ACK, 0, &[]);
        }
    }

    /// Changes a stream's window; false when it overflows.
    fn widen(&mut self, at: usize, change: i64) -> bool {
        let Some(stream) = self.streams.get_mut(at) else {
            return true;
        };
        stream.send_window += change;
        if stream.send_window > WINDOW_MAX {
            return false;
        }
        let sends = stream.pending > 0 && stream.send_window > 0;
        if sends && !std::mem::replace(&mut stream.queued, true) {
            let id = stream.id;
            self.ready.push_back(id);
        }
        if self.waiting > 0 {
            self.tell_room();
        }
        true
    }

    pub(crate) fn ping(&mut self, header: Header, payload: &[u8], now: Instant) {
        if header.stream != 0 {
            return self.violation(Reason::Protocol, "PING not on stream 0");
        }
        if payload.len() != 8 {
            return self.violation(Reason::FrameSize, "PING of odd length");
        }
        if !header.has(ACK) {
            frame::put(&mut self.output, Kind::Ping, ACK, 0, payload);
        } else if self.leaving == Leaving::Announced && payload == DRAIN_PING {
            return self.leave();
        }
        self.count_control(now);
    }

    pub(crate) fn goaway(&mut self, header: Header, payload: &[u8], now: Instant) {
        if header.stream != 0 {
            return self.violation(Reason::Protocol, "GOAWAY not on stream 0");
        }
        if payload.len() < 8 {
            return self.violation(Reason::FrameSize, "GOAWAY too short");
        }
        self.peer_leaves = true;
        self.count_control(now);
    }

    pub(crate) fn window_update(&mut self, header: Header, payload: &[u8], now: Instant) {
        let id = header.stream;
        let Some(grant) = frame::number(payload).filter(|_| payload.len() == 4) else {
            return self.violation(Reason::FrameSize, "WINDOW_UPDATE of odd length");
        };
        if id > self.last_stream || (id.is_multiple_of(2) && id != 0) {
            return self.violation(Reason::Protocol, "WINDOW_UPDATE on an idle stream");
        }
        let grant = i64::from(grant & 0x7fff_ffff);
        match self.excused_updates.checked_sub(1) {
            Some(left) => self.excused_updates = left,
            None => self.count_control(now),
        }
        if id == 0 {
            if grant == 0 {
                return self.violation(Reason::Protocol, "WINDOW_UPDATE of 0");
            }
            self.send_window += grant;
            if self.send_window > WINDOW_MAX {
                return self.violation(Reason::FlowControl, "connection window overflows");
            }
            if self.waiting > 0 {
                self.tell_room();
            }
            return;
        }
        let open = self.position(id);
        let reset = |at| {
            self.streams
                .get(at)
                .is_none_or(|stream: &Stream| stream.reset.is_some())
        };
        let Some(at) = open.filter(|at| !reset(*at)) else {
            return; // late
        };
        if grant == 0 {
            return self.stream_fault(id, Reason::Protocol, "WINDOW_UPDATE of 0", now);
        }
        if !self.widen(at, grant) {
            self.stream_fault(id, Reason::FlowControl, "stream window overflows", now);
        }
    }
}

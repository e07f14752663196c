//! One QUIC connection that carries, of either side: what its packets and clocks mean.
//!
//! To quiche the connection has one path, whatever addresses its ends have by now: what it would do
//! with a new one (ids, a window and clocks of its own) is for browsers that walk. Here the other
//! end is where the last authentic packet came from, as WireGuard has it (its paper, §6.5).

use super::code;
use super::settings::{PACKET_BYTES_MAX, Settings};
use super::watch::{Ring, Watch};
use crate::capsule::{Capsules, UDP_CONTEXT, put_datagram, put_varint};
use crate::desk::{Aim, Decision, Desk, Room, plain};
use crate::handshakes::HalfOpen;
use crate::lane::Lane;
use crate::port::{Path, Port};
use crate::request::{request, welcome};
use crate::train::Load;
use crate::{Event, tls};
use bytes::{Buf, BytesMut};
use quiche::h3;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Batches from the device in one turn.
const BATCHES_PER_TURN: usize = 4;
/// What is left to say to one that was refused.
const REFUSED_GRACE: Duration = Duration::from_secs(2);

/// Which end of the connection this is.
pub enum Side {
    Server(HalfOpen),
    Client(Aim),
}

/// What everybody on the thread has, and the socket of this connection.
#[derive(Clone)]
pub struct Ground {
    pub room: Rc<Room>,
    pub settings: Rc<Settings>,
    pub port: Rc<Port>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No request, or no answer to it.
    Opening,
    /// A client waits for what is decided.
    Asked,
    Carrying,
    /// All that is left is to say so.
    Over,
}

pub struct Link {
    pub(super) quic: quiche::Connection,
    pub(super) h3: Option<h3::Connection>,
    pub(super) ground: Ground,
    /// Given back when a client is let in, or is over.
    pub(super) half_open: Option<HalfOpen>,
    pub(super) aim: Option<Aim>,
    pub(super) stage: Stage,
    pub(super) stream: Option<u64>,
    pub(super) lane: Option<Rc<Lane>>,
    pub(super) desk: Rc<Desk>,
    pub(super) number: Option<u32>,
    /// What comes before each packet in a DATAGRAM frame.
    pub(super) prefix: BytesMut,
    pub(super) takes_datagrams: bool,
    pub(super) capsules: Capsules,
    /// Capsules that the stream does not take yet.
    pub(super) unsent: BytesMut,
    /// A train that the socket did not take.
    pub(super) blocked: Option<(Vec<u8>, Option<usize>)>,
    /// What quiche takes the path for.
    pub(super) names: Path,
    pub(super) path: Path,
    pub(super) dropped: u64,
    /// By then it carries.
    pub(super) opening: Option<Instant>,
    /// A client's, while it carries; a server has its idle timeout (RFC 9000 §10.1).
    pub(super) watch: Option<Watch>,
    /// Packets that were heard by then.
    pub(super) heard: usize,
    /// When its task looks at it in any case.
    pub armed: Instant,
}

impl Link {
    /// A connection that quiche just began, by that path.
    pub fn new(quic: quiche::Connection, path: Path, side: Side, ground: Ground) -> Link {
        let options = ground.room.options();
        let (half_open, aim, patience) = match side {
            Side::Server(half_open) => (Some(half_open), None, options.opening_timeout()),
            Side::Client(aim) => (None, Some(aim), options.connect_timeout()),
        };
        Link {
            quic,
            h3: None,
            capsules: Capsules::new(options.packet_bytes_max),
            ground,
            half_open,
            aim,
            stage: Stage::Opening,
            stream: None,
            lane: None,
            desk: Rc::default(),
            number: None,
            prefix: BytesMut::new(),
            takes_datagrams: false,
            unsent: BytesMut::new(),
            blocked: None,
            names: path,
            path,
            dropped: 0,
            opening: Some(Instant::now() + patience),
            watch: None,
            heard: 0,
            armed: Instant::now(),
        }
    }

    /// A client's, which is known by that number from the beginning.
    pub fn known_as(mut self, number: u32, desk: Rc<Desk>) -> Link {
        (self.number, self.desk) = (Some(number), desk);
        self
    }

    pub fn desk(&self) -> &Rc<Desk> {
        &self.desk
    }

    pub fn lane(&self) -> Option<&Rc<Lane>> {
        self.lane.as_ref()
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Whether nothing is left of it.
    pub fn is_gone(&self) -> bool {
        self.quic.is_closed()
    }

    /// When there is something to do though nothing came.
    pub fn deadline(&self) -> Option<Instant> {
        let clock = self.quic.timeout_instant();
        let watch = self.watch.as_ref().map(Watch::due);
        clock.into_iter().chain(self.opening).chain(watch).min()
    }

    /// Whether its task would look at it too late, or not at all.
    pub fn is_waiting(&self) -> bool {
        let is_early = self.deadline().is_some_and(|at| at < self.armed);
        is_early || self.is_blocked() || self.is_gone()
    }

    /// A packet for a client, which comes from wherever the relay is.
    pub fn hear(&mut self, packet: &mut [u8]) {
        self.receive(packet, self.path);
    }

    /// Whether there was something among them that only the relay can have sent.
    pub fn note_heard(&mut self) {
        let heard = self.quic.stats().recv;
        if std::mem::replace(&mut self.heard, heard) != heard
            && let Some(watch) = &mut self.watch
        {
            watch.heard(Instant::now());
        }
    }

    /// A packet for it.
    pub fn receive(&mut self, packet: &mut [u8], path: Path) {
        let info = quiche::RecvInfo {
            from: self.names.peer,
            to: self.names.local,
        };
        if path == self.path {
            // A packet that is none is no reason to stop.
            let _ = self.quic.recv(packet, info);
            return;
        }
        if !self.quic.is_established() {
            return; // RFC 9000 §9: nobody moves before
        }
        // Only what could be decrypted, and is no copy, says where the other end is.
        let before = self.quic.stats().recv;
        let _ = self.quic.recv(packet, info);
        if self.quic.stats().recv > before {
            self.path = path;
            self.moved();
        }
    }

    fn moved(&self) {
        if let (Some(carrier), Stage::Carrying) = (self.number, self.stage) {
            let remote = plain(self.path.peer);
            let shared = &self.ground.room.shared;
            shared.happened(Event::Moved { carrier, remote });
        }
    }

    /// Its clock rang.
    pub fn timeout(&mut self, now: Instant) {
        if self.quic.timeout_instant().is_some_and(|at| at <= now) {
            self.quic.on_timeout();
        }
        if self.opening.is_some_and(|at| at <= now) {
            self.opening = None;
            let words = if self.aim.is_some() {
                "no answer in time"
            } else {
                "not let in in time"
            };
            self.end(code::REQUEST_CANCELLED, words);
        }
        match self.watch.as_mut().map(|watch| watch.ring(now)) {
            // It has one path, which is the active one: this does not fail.
            Some(Ring::Ask) => drop(self.quic.send_ack_eliciting()),
            Some(Ring::Deaf) => self.end(code::NO_ERROR, "the other end answers no more"),
            Some(Ring::Nothing) | None => {}
        }
    }

    /// Takes what the device has.
    pub fn take_from_device(&mut self) {
        let Some(lane) = self.lane.clone() else {
            return;
        };
        let room = Rc::clone(&self.ground.room);
        for _ in 0..BATCHES_PER_TURN {
            if !lane.receive(&room.buffers, |packet| self.carry(packet)) {
                return;
            }
        }
    }

    /// A packet of the device on its way out.
    fn carry(&mut self, packet: &[u8]) {
        let options = self.ground.room.options();
        let length = self.prefix.len() + packet.len();
        let room = self.quic.dgram_max_writable_len().unwrap_or(0);
        if self.takes_datagrams && length <= room {
            let mut datagram = Vec::with_capacity(length);
            datagram.extend_from_slice(&self.prefix);
            datagram.extend_from_slice(packet);
            if self.quic.dgram_send_buf(datagram).is_err() {
                self.dropped += 1;
            }
        } else if packet.len() <= options.packet_bytes_max
            && self.unsent.len() + packet.len() <= options.queue_bytes_max
        {
            put_datagram(&mut self.unsent, packet);
        } else {
            self.dropped += 1;
        }
    }

    /// Does all that can be done now.
    pub fn turn(&mut self) {
        self.begin();
        self.heed();
        self.poll();
        self.take_datagrams();
        self.ask();
        self.pour();
        if let Some(lane) = &self.lane {
            lane.flush(&self.ground.room.buffers);
        }
        self.flush();
        self.notice_end();
    }

    /// Begins HTTP/3 once the handshake is done.
    fn begin(&mut self) {
        if self.h3.is_some() || self.stage == Stage::Over || !self.quic.is_established() {
            return;
        }
        if let Some(aim) = &self.aim
            && self.identity() != Some(aim.identity)
        {
            return self.end(code::REQUEST_CANCELLED, "it is somebody else");
        }
        match h3::Connection::with_transport(&mut self.quic, &self.ground.settings.h3) {
            Ok(h3) => self.h3 = Some(h3),
            Err(_) => self.end(code::INTERNAL_ERROR, "HTTP/3 does not begin"),
        }
    }

    /// Whom the handshake proved.
    pub(super) fn identity(&self) -> Option<[u8; 32]> {
        self.quic.peer_cert().and_then(tls::identity_in)
    }

    /// Asks the relay, once it said that it can be asked (RFC 8441 §3).
    fn ask(&mut self) {
        let (Some(h3), Some(aim)) = (&mut self.h3, &self.aim) else {
            return;
        };
        if self.stream.is_some() || self.stage != Stage::Opening || h3.peer_settings_raw().is_none()
        {
            return;
        }
        if !h3.extended_connect_enabled_by_peer() {
            return self.end(code::NO_ERROR, "it knows no CONNECT-UDP");
        }
        let fields = request(&aim.to.to_string(), aim.target);
        match h3.send_request(&mut self.quic, &fields, false) {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => self.end(code::INTERNAL_ERROR, "the request does not go out"),
        }
    }

    /// Does what was decided.
    fn heed(&mut self) {
        match self.desk.take() {
            Some(Decision::Admit) if self.stage == Stage::Asked => self.welcome(),
            Some(Decision::Refuse) if self.stage == Stage::Asked => {
                self.refuse(self.stream, (403, "error=proxy_internal_response"));
                self.over("it is no member of the mesh");
            }
            Some(Decision::End) => self.end(code::NO_ERROR, "ended here"),
            _ => {}
        }
    }

    fn welcome(&mut self) {
        let (Some(h3), Some(stream)) = (&mut self.h3, self.stream) else {
            return;
        };
        match h3.send_response(&mut self.quic, stream, &welcome(), false) {
            Ok(()) => self.open(stream),
            Err(_) => self.end(code::INTERNAL_ERROR, "the answer does not go out"),
        }
    }

    /// From now on packets pass.
    pub(super) fn open(&mut self, stream: u64) {
        let room = &self.ground.room;
        let lane = match Lane::open(room.options().device) {
            Ok(lane) => Rc::new(lane),
            Err(error) => {
                let words = format!("no port towards the device: {error}");
                return self.end(code::INTERNAL_ERROR, &words);
            }
        };
        (self.opening, self.half_open) = (None, None);
        self.stage = Stage::Carrying;
        if self.aim.is_some() {
            let options = room.options();
            self.watch = Some(Watch::new(options.ping(), options.deaf(), Instant::now()));
        }
        put_varint(&mut self.prefix, stream / 4);
        put_varint(&mut self.prefix, UDP_CONTEXT);
        let h3 = self.h3.as_ref();
        self.takes_datagrams = h3.is_some_and(|h3| h3.dgram_enabled_by_peer(&self.quic));
        if let Some(carrier) = self.number {
            room.shared.happened(Event::Opened {
                carrier,
                endpoint: lane.endpoint(),
                remote: plain(self.path.peer),
            });
        }
        self.lane = Some(lane);
        self.desk.bell.notify_one();
    }

    /// What waits goes onto the stream, as far as that takes it.
    fn pour(&mut self) {
        let (Some(h3), Some(stream), Stage::Carrying) = (&mut self.h3, self.stream, self.stage)
        else {
            return;
        };
        while !self.unsent.is_empty() {
            match h3.send_body(&mut self.quic, stream, &self.unsent, false) {
                Ok(sent) if sent > 0 => self.unsent.advance(sent),
                Ok(_) | Err(h3::Error::Done) => return,
                Err(_) => return self.end(code::NO_ERROR, "the other end takes no more"),
            }
        }
    }

    /// Sends what quiche has.
    fn flush(&mut self) {
        let (port, path) = (&self.ground.port, self.path);
        if let Some((bytes, segment)) = self.blocked.take() {
            let load = Load {
                bytes: &bytes,
                segment,
            };
            if !port.send(load, path) {
                self.blocked = Some((bytes, segment));
                return;
            }
        }
        let mut train = self.ground.room.buffers.outward.borrow_mut();
        let mut blocked = None;
        let mut leave = |load: Load<'_>| {
            // What comes after a train that waits is lost: QUIC repeats what it has to.
            if blocked.is_none() && !port.send(load, path) {
                blocked = Some((load.bytes.to_vec(), load.segment));
            }
        };
        loop {
            let room = train.room().get_mut(..PACKET_BYTES_MAX);
            let Ok((length, _)) = self.quic.send(room.unwrap_or_default()) else {
                break;
            };
            train.add(length, &mut leave);
        }
        train.leave(&mut leave);
        self.blocked = blocked;
    }

    pub(super) fn malformed(&mut self, words: &str) {
        self.end(code::MESSAGE_ERROR, words);
    }

    /// Closes the connection.
    pub(super) fn end(&mut self, how: u64, words: &str) {
        let _ = self.quic.close(true, how, words.as_bytes());
        self.over(words);
        self.opening = None;
    }

    /// It carries nothing any more; the connection may have something left to say.
    pub(super) fn over(&mut self, words: &str) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        (self.lane, self.half_open, self.watch) = (None, None, None);
        self.opening = Some(Instant::now() + REFUSED_GRACE);
        self.desk.bell.notify_one();
        if let Some(number) = self.number {
            let reason = words.to_owned();
            self.ground.room.leave(number, reason, self.dropped);
        }
    }

    /// Whether quiche says that it is over, and why.
    fn notice_end(&mut self) {
        if self.stage == Stage::Over || !(self.quic.is_draining() || self.quic.is_closed()) {
            return;
        }
        let words = match (self.quic.peer_error(), self.quic.is_timed_out()) {
            (Some(error), _) => {
                let reason = String::from_utf8_lossy(&error.reason);
                format!(
                    "the other end closed it ({:#x}): {reason}",
                    error.error_code
                )
            }
            (None, true) => "silence".to_owned(),
            (None, false) => "the other end does not know it any more".to_owned(),
        };
        self.over(&words);
        self.opening = None;
    }
}

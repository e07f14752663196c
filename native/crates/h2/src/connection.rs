//! The state of one connection, and what its parts share.

use crate::budget::{Bucket, Rate};
use crate::frame::{self, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX, Reason};
use crate::hpack::{Decoder, Encoder, ListLimits};
use crate::settings::{self, WINDOW_DEFAULT};
use crate::stream::{Receiving, Reset, Sending, Stream, Tombstone};
use crate::{Cause, Event, Failure};
use bytes::{BufMut, BytesMut};
use std::collections::VecDeque;
use std::time::Instant;

/// WINDOW_UPDATE frames that one DATA frame of ours excuses, and how many of its bytes excuse one
/// more: clients grant both windows again with every few KiB they read.
const UPDATES_PER_DATA: u32 = 4;
const UPDATE_BYTES: usize = 2048;
/// How many may be saved up. A client grants what it took, and it may have megabytes on their way:
/// each one saved was paid for by what we sent.
const UPDATES_SAVED_MAX: u32 = 65_536;
/// One for each request is normal.
const PRIORITIES_SAVED_MAX: u32 = 200;
/// A client that grants a new stream less than this does not want its answer yet (§6.9.2: the
/// default is 65,535): the exchange of such a stream lives as long as the client likes.
const GRANT_MIN: i64 = 4096;
/// About what an exchange holds beside its head, and how often its head exists.
const EXCHANGE_BYTES: usize = 16 * 1024;
const HEAD_COPIES: usize = 2;
/// The part of a connection's memory that such exchanges may hold.
const SHUT_PART: usize = 4;
/// The work of one turn, in frames (see [`Connection::begin_turn`]).
const TURN: u32 = 40;
/// What a stream that ends early weighs in it: about as much as so many pings. Clients cancel a few
/// at a time; a flood has nothing else to do.
const RESET_WEIGHT: u32 = 8;
/// Bytes of a header block that weigh as much as a frame: they are decoded whatever they are.
const BLOCK_BYTES: usize = 512;
/// Ids of streams that ended as they should, to tell a late frame from a wrong id.
const DONE_KEPT: usize = 8;

/// What a client may do on one connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Request heads.
    pub head: ListLimits,
    /// Trailers.
    pub trailers: ListLimits,
    /// Streams at once, those included whose exchange still runs after a reset.
    pub streams_max: u32,
    /// Unread bytes of one stream.
    pub stream_window: u32,
    /// Unread bytes of all streams.
    pub connection_window: u32,
    /// Memory: heads, header blocks, unread bodies, frames not yet taken by the peer.
    pub connection_bytes_max: usize,
    /// Streams ended early by the client, or by us for a fault of the client's.
    pub resets: Rate,
    /// Frames without use.
    pub control_frames: Rate,
}

/// How far the end of the connection is agreed on (§6.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// GOAWAY without a last stream was sent, and a PING behind it.
    Announced,
    /// Streams beyond this one are refused.
    Final(u32),
}

/// A header block on its way.
#[derive(Debug)]
pub(crate) struct Block {
    pub stream: u32,
    pub ended: bool,
    pub depends_on_itself: bool,
    pub bytes: BytesMut,
    pub frames: u32,
}

/// The server side of one connection.
#[derive(Debug)]
pub struct Connection {
    pub(crate) limits: Limits,
    pub(crate) decoder: Decoder,
    pub(crate) encoder: Encoder,
    /// By id.
    pub(crate) streams: VecDeque<Stream>,
    /// Streams with something to send, in turn.
    pub(crate) ready: VecDeque<u32>,
    pub(crate) events: VecDeque<Event>,
    /// Frames other than DATA that wait to be sent.
    pub(crate) output: BytesMut,
    pub(crate) block: Option<Box<Block>>,
    /// The preface, then SETTINGS, then anything.
    pub(crate) preface: bool,
    pub(crate) settled: bool,
    pub(crate) acknowledged: bool,
    pub(crate) dead: bool,
    pub(crate) leaving: Leaving,
    pub(crate) peer_leaves: bool,
    pub(crate) last_stream: u32,
    pub(crate) tombstones: VecDeque<Tombstone>,
    pub(crate) done: [u32; DONE_KEPT],
    pub(crate) done_at: usize,
    pub(crate) receive_window: i64,
    pub(crate) credit: usize,
    pub(crate) unread: usize,
    pub(crate) send_window: i64,
    /// Bytes of DATA in all streams.
    pub(crate) pending: usize,
    pub(crate) waiting: usize,
    pub(crate) head_bytes: usize,
    pub(crate) peer_window: i64,
    pub(crate) peer_frame_max: usize,
    pub(crate) resets: Bucket,
    pub(crate) control: Bucket,
    pub(crate) excused_updates: u32,
    pub(crate) excused_priorities: u32,
    /// What is left of this turn.
    pub(crate) turn: u32,
    pub(crate) requests: u64,
    /// Frames so far; a header block counts once.
    pub(crate) steps: u64,
}

impl Connection {
    /// A connection whose client has not spoken yet; our SETTINGS are ready to be sent.
    pub fn new(mut limits: Limits, now: Instant) -> Connection {
        let half = u32::try_from(limits.connection_bytes_max / 2).unwrap_or(u32::MAX);
        let window = limits.connection_window.min(half).max(65_535);
        limits.connection_window = window;
        limits.stream_window = limits.stream_window.min(window);
        let mut connection = Connection {
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            streams: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            output: BytesMut::with_capacity(64),
            block: None,
            preface: false,
            settled: false,
            acknowledged: false,
            dead: false,
            leaving: Leaving::No,
            peer_leaves: false,
            last_stream: 0,
            tombstones: VecDeque::new(),
            done: [0; DONE_KEPT],
            done_at: 0,
            receive_window: i64::from(window),
            credit: 0,
            unread: 0,
            send_window: WINDOW_DEFAULT,
            pending: 0,
            waiting: 0,
            head_bytes: 0,
            peer_window: WINDOW_DEFAULT,
            peer_frame_max: PAYLOAD_BYTES_MAX,
            resets: Bucket::new(limits.resets, now),
            control: Bucket::new(limits.control_frames, now),
            excused_updates: UPDATES_PER_DATA,
            excused_priorities: UPDATES_PER_DATA,
            turn: TURN,
            requests: 0,
            steps: 0,
            limits,
        };
        settings::announce(&connection.limits, &mut connection.output);
        let grant = window.saturating_sub(65_535);
        if grant > 0 {
            connection.put_window_update(0, grant as usize);
        }
        connection
    }

    /// Gives the client a turn: so much work, and then [`Connection::next`] leaves the rest of the
    /// input to the next one, for connections share a thread.
    pub fn begin_turn(&mut self) {
        self.turn = TURN;
    }

    /// Whether the turn is used up, so that there may be input left.
    pub fn is_turn_over(&self) -> bool {
        self.turn == 0
    }

    /// Takes a frame off the turn; false when it belongs to the next one. A request begins only
    /// where it can be taken back as well: taken back in the same breath, it is nobody's work.
    pub(crate) fn has_turn_for(&mut self, header: Header) -> bool {
        let block = match header.kind {
            Kind::Headers | Kind::Continuation => header.length / BLOCK_BYTES,
            _ => 0,
        };
        let is_request = header.kind == Kind::Headers && header.stream > self.last_stream;
        if is_request && self.turn <= RESET_WEIGHT {
            self.turn = 0;
        }
        let begins = self.turn > 0;
        self.use_turn(1 + u32::try_from(block).unwrap_or(TURN));
        begins
    }

    fn use_turn(&mut self, weight: u32) {
        self.turn = self.turn.saturating_sub(weight);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// A number that grows with every frame, but only once with a whole header block.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Streams that are open or whose exchange still runs.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether the client's preface and SETTINGS came.
    pub fn is_established(&self) -> bool {
        self.settled
    }

    /// Whether the last stream was named.
    pub fn is_final(&self) -> bool {
        matches!(self.leaving, Leaving::Final(_))
    }

    /// Whether nothing will ever be sent or received again (but what is left to send).
    pub fn is_over(&self) -> bool {
        let agreed = matches!(self.leaving, Leaving::Final(_)) || self.peer_leaves;
        self.dead || (agreed && self.streams.is_empty())
    }

    /// Whether a request head is on its way: in a header block, or in a frame of which `input`
    /// holds the beginning.
    pub fn awaits_head(&self, input: &[u8]) -> bool {
        let body = frame::Header::read(input).is_some_and(|header| header.kind == Kind::Data);
        self.block.is_some() || !self.settled || (!input.is_empty() && !body)
    }

    /// Bytes held for this client, but for response bodies, which are bounded by backpressure.
    pub fn held_bytes(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.bytes.len());
        self.head_bytes + self.unread + self.output.len() + block
    }

    pub(crate) fn position(&self, id: u32) -> Option<usize> {
        // Often it is the newest one.
        let last = self.streams.len().checked_sub(1)?;
        if self.streams.get(last).is_some_and(|stream| stream.id == id) {
            return Some(last);
        }
        self.streams
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()
    }

    pub(crate) fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.position(id)?;
        self.streams.get_mut(at)
    }

    pub(crate) fn put_window_update(&mut self, stream: u32, grant: usize) {
        let grant = u32::try_from(grant).unwrap_or(0);
        let payload = grant.to_be_bytes();
        frame::put(&mut self.output, Kind::WindowUpdate, 0, stream, &payload);
    }

    pub(crate) fn put_reset(&mut self, stream: u32, reason: Reason) {
        let payload = (reason as u32).to_be_bytes();
        frame::put(&mut self.output, Kind::RstStream, 0, stream, &payload);
    }

    pub(crate) fn put_goaway(&mut self, last: u32, reason: Reason, detail: &str) {
        self.output.reserve(HEADER_BYTES + 8 + detail.len());
        let mut payload = BytesMut::with_capacity(8 + detail.len());
        payload.put_u32(last);
        payload.put_u32(reason as u32);
        payload.put_slice(detail.as_bytes());
        frame::put(&mut self.output, Kind::GoAway, 0, 0, &payload);
    }

    /// Ends the connection for what the client did.
    pub(crate) fn fail(&mut self, reason: Reason, cause: Cause, detail: &'static str) {
        if self.dead {
            return;
        }
        // Acknowledgements that nobody reads are no reason to hold them.
        if cause == Cause::ConnectionBytes {
            self.output.clear();
        }
        self.put_goaway(self.last_stream, reason, detail);
        self.dead = true;
        self.ready.clear();
        self.streams.clear();
        self.block = None;
        (self.pending, self.unread, self.head_bytes) = (0, 0, 0);
        self.events
            .push_back(Event::Failed(Failure { cause, detail }));
    }

    pub(crate) fn violation(&mut self, reason: Reason, detail: &'static str) {
        self.fail(reason, Cause::Protocol, detail);
    }

    /// Counts a stream that the client had ended early.
    pub(crate) fn count_reset(&mut self, now: Instant) {
        self.use_turn(RESET_WEIGHT);
        if !self.resets.take(now) {
            let detail = "too many streams reset";
            self.fail(Reason::EnhanceYourCalm, Cause::StreamResets, detail);
        }
    }

    /// Counts a frame without use.
    pub(crate) fn count_control(&mut self, now: Instant) {
        if !self.control.take(now) {
            let detail = "too many control frames";
            self.fail(Reason::EnhanceYourCalm, Cause::ControlFrames, detail);
        }
    }

    /// Gives back what a DATA frame of ours justifies.
    pub(crate) fn excuse_updates(&mut self, length: usize) {
        let bytes = u32::try_from(length / UPDATE_BYTES).unwrap_or(0);
        let more = self.excused_updates + UPDATES_PER_DATA + bytes;
        self.excused_updates = more.min(UPDATES_SAVED_MAX);
    }

    /// Gives back what a request justifies.
    pub(crate) fn excuse_request(&mut self) {
        self.excused_updates = (self.excused_updates + 1).min(UPDATES_SAVED_MAX);
        self.excused_priorities = (self.excused_priorities + 1).min(PRIORITIES_SAVED_MAX);
    }

    /// Whether streams whose answers the client does not let out hold so much already that a
    /// further one of `head_bytes` must not begin.
    pub(crate) fn is_shut(&self, head_bytes: usize) -> bool {
        if self.peer_window >= GRANT_MIN {
            return false;
        }
        let shut = self.streams.iter().filter(|stream| {
            let granted = stream.send_window + stream.sent;
            !stream.is_answered() && granted < GRANT_MIN
        });
        let cost = |head: usize| EXCHANGE_BYTES + head * HEAD_COPIES;
        let held: usize = shut.map(|stream| cost(stream.head_bytes)).sum();
        held > 0 && held + cost(head_bytes) > self.limits.connection_bytes_max / SHUT_PART
    }

    /// Resets a stream for what the client did on it.
    pub(crate) fn stream_fault(
        &mut self,
        id: u32,
        reason: Reason,
        fault: &'static str,
        now: Instant,
    ) {
        self.put_reset(id, reason);
        match self.position(id) {
            Some(at) => {
                self.cut(at, Reset::ByUs);
                self.events.push_back(Event::Reset {
                    stream: id,
                    fault: Some(fault),
                });
                self.settle(id);
            }
            None => {
                self.bury(id, i64::from(self.limits.stream_window));
                self.events.push_back(Event::Refused { fault });
            }
        }
        self.count_reset(now);
    }

    /// Marks a stream as reset and drops what it would have sent.
    pub(crate) fn cut(&mut self, at: usize, by: Reset) {
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        stream.reset.get_or_insert(by);
        self.pending -= stream.pending;
        stream.pending = 0;
        stream.pieces = VecDeque::new();
        stream.sending = Sending::Ended;
        if std::mem::take(&mut stream.queued) {
            let id = stream.id;
            self.ready.retain(|queued| *queued != id);
        }
    }

    /// Remembers a stream that we reset.
    pub(crate) fn bury(&mut self, id: u32, window: i64) {
        let kept = 128.max(self.limits.streams_max as usize * 2);
        if self.tombstones.len() >= kept {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back(Tombstone { id, window });
    }

    /// Forgets a stream once nobody needs it.
    pub(crate) fn settle(&mut self, id: u32) {
        let Some(at) = self.position(id) else { return };
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        if !stream.released || !stream.is_answered() {
            return;
        }
        if stream.reset.is_none() && stream.receiving == Receiving::Open {
            // §8.1: the response is whole; the client need not send the rest.
            stream.reset = Some(Reset::ByUs);
            self.put_reset(id, Reason::NoError);
        }
        let Some(stream) = self.streams.remove(at) else {
            return;
        };
        self.head_bytes -= stream.head_bytes;
        self.waiting -= usize::from(stream.waits);
        if stream.reset == Some(Reset::ByUs) && stream.receiving == Receiving::Open {
            self.bury(id, stream.receive_window);
        } else if let Some(slot) = self.done.get_mut(self.done_at) {
            *slot = id;
            self.done_at = (self.done_at + 1) % DONE_KEPT;
        }
        if self.streams.is_empty() {
            // An idle connection holds no buffers.
            self.streams = VecDeque::new();
            self.ready = VecDeque::new();
        }
    }
}

//! The state of one stream (RFC 9113 §5.1), from its request to its release.

use crate::Field;
use bytes::Bytes;
use std::collections::VecDeque;

/// What the client may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    Open,
    Ended,
}

/// What we may still send.
#[derive(Debug, PartialEq, Eq)]
pub enum Sending {
    /// Nothing but interim responses so far.
    Head,
    Body,
    /// The end follows the pending pieces.
    Ending(Vec<Field>),
    Ended,
}

/// Who ended the stream before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    ByClient,
    ByUs,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    pub id: u32,
    pub receiving: Receiving,
    pub sending: Sending,
    pub reset: Option<Reset>,
    /// Nobody reads the request or sends the response any more.
    pub released: bool,
    /// What content-length said.
    pub expected: Option<u64>,
    pub received: u64,
    /// What the client may send now.
    pub receive_window: i64,
    /// Received and not consumed.
    pub unread: usize,
    /// Consumed and not yet given back to the client.
    pub credit: usize,
    /// What the peer takes now; negative after it shrank its windows (§6.9.2).
    pub send_window: i64,
    /// Bytes of DATA that were sent.
    pub sent: i64,
    pub pieces: VecDeque<Bytes>,
    /// Bytes in `pieces`.
    pub pending: usize,
    /// In the queue of streams that send.
    pub queued: bool,
    /// Somebody waits for room.
    pub waits: bool,
    /// Decoded request head, as long as its exchange lives.
    pub head_bytes: usize,
}

impl Stream {
    pub fn new(id: u32, receive_window: i64, send_window: i64) -> Stream {
        Stream {
            id,
            receiving: Receiving::Open,
            sending: Sending::Head,
            reset: None,
            released: false,
            expected: None,
            received: 0,
            receive_window,
            unread: 0,
            credit: 0,
            send_window,
            sent: 0,
            pieces: VecDeque::new(),
            pending: 0,
            queued: false,
            waits: false,
            head_bytes: 0,
        }
    }

    /// Whether the response can go on.
    pub fn is_sendable(&self) -> bool {
        self.reset.is_none() && !matches!(self.sending, Sending::Ending(_) | Sending::Ended)
    }

    /// Whether the whole response was sent.
    pub fn is_answered(&self) -> bool {
        self.sending == Sending::Ended
    }

    /// The sum of DATA so far breaks content-length (§8.1.1).
    pub fn breaks_length(&self) -> bool {
        let ended = self.receiving == Receiving::Ended;
        self.expected.is_some_and(|expected| {
            self.received > expected || (ended && self.received != expected)
        })
    }
}

/// A stream that we reset: what the client sent before it knew is ignored, up to its window.
#[derive(Debug)]
pub struct Tombstone {
    pub id: u32,
    pub window: i64,
}

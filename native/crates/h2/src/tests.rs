//! One connection under a client made of raw frames, in virtual time.

use crate::*;
use bytes::BytesMut;
use std::time::Instant;

pub const GET: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'a'];

fn limits() -> Limits {
    let list = |bytes_max, count_max| ListLimits {
        bytes_max,
        count_max,
    };
    let rate = |burst, per_second| Rate { burst, per_second };
    Limits {
        head: list(32 * 1024, 105),
        trailers: list(8 * 1024, 16),
        streams_max: 100,
        stream_window: 65_536,
        connection_window: 1024 * 1024,
        connection_bytes_max: 1024 * 1024,
        resets: rate(200, 20),
        control_frames: rate(500, 50),
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection, its clock, and everything it sent.
pub struct Peer {
    pub connection: Connection,
    pub now: Instant,
    sent: BytesMut,
    pub events: Vec<Event>,
}

impl Peer {
    fn with(limits: Limits) -> Peer {
        let now = Instant::now();
        let mut peer = Peer {
            connection: Connection::new(limits, now),
            now,
            sent: BytesMut::new(),
            events: Vec::new(),
        };
        peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        peer.send(&frame(4, 0, 0, &[]));
        peer.send(&frame(4, 1, 0, &[]));
        peer.frames();
        peer
    }

    pub fn new() -> Peer {
        Peer::with(limits())
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let mut input = BytesMut::from(bytes);
        while self.turn(&mut input) {}
    }

    /// One turn; whether there is more to take.
    pub fn turn(&mut self, input: &mut BytesMut) -> bool {
        self.connection.begin_turn();
        while let Some(event) = self.connection.next(input, self.now) {
            self.events.push(event);
        }
        self.connection.is_turn_over()
    }

    /// What was sent since, as `KIND flags stream length` with kinds by number.
    pub fn frames(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut out = BytesMut::new();
        while self.connection.has_output() {
            self.connection.transmit(&mut out, 16_384);
            self.sent.extend_from_slice(&out);
            out.clear();
        }
        let mut all = std::mem::take(&mut self.sent);
        let mut frames = Vec::new();
        while all.len() >= 9 {
            let head = all.split_to(9);
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push((head[3], head[4], stream, all.split_to(length).to_vec()));
        }
        let mut none = BytesMut::new();
        while let Some(event) = self.connection.next(&mut none, self.now) {
            self.events.push(event);
        }
        frames
    }

    /// Kind, flags, stream and length of what was sent since.
    fn shape(&mut self) -> Vec<(u8, u8, u32, usize)> {
        let frames = self.frames().into_iter();
        frames
            .map(|(kind, flags, stream, payload)| (kind, flags, stream, payload.len()))
            .collect()
    }

    pub fn failure(&self) -> Option<Cause> {
        self.events.iter().find_map(|event| match event {
            Event::Failed(failure) => Some(failure.cause),
            _ => None,
        })
    }

    /// Repeats `make` until the connection fails; how often that took.
    pub fn flood(&mut self, mut make: impl FnMut(u32) -> Vec<u8>) -> (usize, Option<Cause>) {
        for turn in 0..2000u32 {
            self.send(&make(turn));
            if let Some(cause) = self.failure() {
                return (turn as usize + 1, Some(cause));
            }
        }
        (2000, None)
    }
}

#[test]
fn a_request_and_its_answer() {
    let mut peer = Peer::new();
    peer.send(&frame(1, 0x5, 1, GET));
    let Some(Event::Request {
        stream: 1,
        fields,
        ended: true,
        too_large: false,
    }) = peer.events.pop()
    else {
        panic!("{:?}", peer.events);
    };
    assert_eq!(fields.len(), 4);
    let connection = &mut peer.connection;
    connection.send_interim(1, 103, []).unwrap();
    connection.send_head(1, 200, [], false).unwrap();
    assert_eq!(connection.room(1), Ok(65_535));
    connection
        .send_data(1, Bytes::from_static(b"hello"), false)
        .unwrap();
    connection
        .send_trailers(1, vec![("x".into(), "y".into())])
        .unwrap();
    connection.release(1);
    assert_eq!(
        peer.shape(),
        [(1, 4, 1, 5), (1, 4, 1, 1), (0, 0, 1, 5), (1, 5, 1, 5)]
    );
    assert_eq!(peer.connection.streams(), 0);
    assert_eq!(peer.connection.held_bytes(), 0);
}

#[test]
fn data_goes_as_far_as_the_windows() {
    let mut peer = Peer::new();
    peer.send(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 3]));
    peer.send(&frame(1, 0x5, 1, GET));
    peer.connection.send_head(1, 200, [], false).unwrap();
    assert_eq!(peer.connection.room(1), Ok(3));
    peer.connection
        .send_data(1, Bytes::from_static(b"abc"), false)
        .unwrap();
    assert_eq!(peer.shape(), [(4, 1, 0, 0), (1, 4, 1, 1), (0, 0, 1, 3)]);
    assert_eq!(peer.connection.room(1), Ok(0));
    peer.events.clear();
    peer.send(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 2])); // now -1
    peer.send(&frame(8, 0, 1, &[0, 0, 0, 2]));
    assert_eq!(peer.events, [Event::Room { stream: 1 }]);
    assert_eq!(peer.connection.room(1), Ok(1));
    peer.connection
        .send_data(1, Bytes::from_static(b"d"), true)
        .unwrap();
    assert_eq!(peer.shape(), [(4, 1, 0, 0), (0, 1, 1, 1)]);
}

#[test]
fn streams_that_send_take_turns() {
    let mut peer = Peer::new();
    for stream in [1, 3] {
        peer.send(&frame(1, 0x5, stream, GET));
        peer.connection.send_head(stream, 200, [], false).unwrap();
        let piece = Bytes::from(vec![b'x'; 30_000]);
        peer.connection.send_data(stream, piece, true).unwrap();
    }
    let order: Vec<u32> = peer.frames().iter().map(|frame| frame.2).collect();
    assert_eq!(order[..4], [1, 3, 1, 3]);
}

#[test]
fn consumed_bytes_open_the_windows() {
    let mut peer = Peer::new();
    peer.send(&frame(1, 0x4, 1, GET));
    for _ in 0..4 {
        peer.send(&frame(0, 0, 1, &[b'x'; 16_384]));
    }
    assert_eq!(peer.shape(), []);
    peer.connection.consume(1, 32_768);
    assert_eq!(peer.frames(), [(8, 0, 1, vec![0, 0, 0x80, 0])]);
    peer.send(&frame(0, 0, 1, &[b'x'; 16_384]));
    peer.send(&frame(0, 0, 1, &[b'x'; 16_384]));
    peer.send(&frame(0, 0, 1, b"x"));
    let fault = Some("stream window exceeded");
    assert_eq!(peer.events.last(), Some(&Event::Reset { stream: 1, fault }));
}

#[test]
fn content_length_and_data_must_agree() {
    let cases: [(&[&[u8]], bool); 5] = [
        (&[b"abc"], true),
        (&[b"a", b"bc"], true),
        (&[b""], false),
        (&[b"ab"], false),
        (&[b"abcd"], false),
    ];
    for (pieces, good) in cases {
        let mut peer = Peer::new();
        peer.send(&frame(1, 0x4, 1, GET));
        peer.connection.expect_length(1, Some(3));
        for (at, piece) in pieces.iter().enumerate() {
            peer.send(&frame(0, u8::from(at + 1 == pieces.len()), 1, piece));
        }
        let reset = peer
            .events
            .iter()
            .any(|event| matches!(event, Event::Reset { .. }));
        assert_eq!(reset, !good, "{pieces:?}");
    }
}

#[test]
fn an_early_answer_ends_the_request() {
    let mut peer = Peer::new();
    peer.send(&frame(1, 0x4, 1, GET));
    peer.connection.send_head(1, 413, [], true).unwrap();
    peer.connection.release(1);
    assert_eq!(peer.frames()[1], (3, 0, 1, vec![0, 0, 0, 0]));
    // What was under way is ignored, up to the window; its room comes back.
    for _ in 0..4 {
        peer.send(&frame(0, 0, 1, &[b'x'; 16_384]));
    }
    assert_eq!(peer.failure(), None);
    peer.send(&frame(0, 0, 1, b"x"));
    assert_eq!(peer.failure(), Some(Cause::Protocol));
}

#[test]
fn a_reset_stream_counts_until_its_exchange_ends() {
    let mut peer = Peer::with(Limits {
        streams_max: 1,
        ..limits()
    });
    peer.send(&frame(1, 0x5, 1, GET));
    peer.send(&frame(3, 0, 1, &[0, 0, 0, 8]));
    peer.send(&frame(1, 0x5, 3, GET));
    assert_eq!(peer.frames(), [(3, 0, 3, vec![0, 0, 0, 7])]);
    peer.connection.release(1);
    peer.events.clear();
    peer.send(&frame(1, 0x5, 5, GET));
    assert!(matches!(
        peer.events[..],
        [Event::Request { stream: 5, .. }]
    ));
}

#[test]
fn a_reset_stream_has_nothing_to_send() {
    let mut peer = Peer::new();
    peer.send(&frame(1, 0x5, 1, GET));
    let _ = peer.connection.send_head(1, 200, [], false);
    peer.frames();
    let piece = Bytes::from_static(b"hello");
    peer.connection.send_data(1, piece, false).unwrap();
    assert!(peer.connection.has_output());
    peer.send(&frame(3, 0, 1, &[0, 0, 0, 8]));
    assert!(!peer.connection.has_output());
    assert_eq!(peer.frames(), []);
}

#[test]
fn a_drain_loses_no_stream() {
    let mut peer = Peer::new();
    peer.connection.drain();
    let frames = peer.frames();
    assert_eq!(frames[0].3[..8], [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    peer.send(&frame(1, 0x5, 1, GET)); // sent before the client knew
    peer.send(&frame(6, 1, 0, &frames[1].3));
    assert_eq!(peer.frames()[0].3[..8], [0, 0, 0, 1, 0, 0, 0, 0]);
    peer.send(&frame(1, 0x5, 3, GET));
    assert_eq!(peer.frames(), [(3, 0, 3, vec![0, 0, 0, 7])]);
    assert!(!peer.connection.is_over());
    peer.connection.send_head(1, 204, [], true).unwrap();
    peer.connection.release(1);
    assert!(peer.connection.is_over());
}

#[test]
fn malformed_frames_end_the_connection_or_the_stream() {
    let open = frame(1, 0x4, 1, GET);
    let ended = frame(1, 0x5, 1, GET);
    // What comes, the error code, and whether the connection ends.
    let cases: [(&str, Vec<u8>, u8, bool); 18] = [
        ("DATA on stream 0", frame(0, 0, 0, b"x"), 1, true),
        ("DATA on an idle stream", frame(0, 0, 5, b"x"), 1, true),
        ("an even stream", frame(1, 5, 2, GET), 1, true),
        (
            "a lower stream",
            [frame(1, 5, 5, GET), frame(1, 5, 3, GET)].concat(),
            1,
            true,
        ),
        (
            "long padding",
            [open.clone(), frame(0, 8, 1, &[9, 0])].concat(),
            1,
            true,
        ),
        (
            "a frame within a block",
            [frame(1, 0, 1, GET), frame(6, 0, 0, &[0; 8])].concat(),
            1,
            true,
        ),
        ("CONTINUATION alone", frame(9, 4, 1, GET), 1, true),
        (
            "PUSH_PROMISE",
            [open.clone(), frame(5, 4, 1, &[0; 4])].concat(),
            1,
            true,
        ),
        ("bad HPACK", frame(1, 5, 1, &[0x80]), 9, true),
        ("PING of 7", frame(6, 0, 0, &[0; 7]), 6, true),
        ("SETTINGS of 3", frame(4, 0, 0, &[0; 3]), 6, true),
        (
            "RST_STREAM on an idle stream",
            frame(3, 0, 1, &[0; 4]),
            1,
            true,
        ),
        (
            "window overflow",
            frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            3,
            true,
        ),
        ("WINDOW_UPDATE of 0", frame(8, 0, 0, &[0; 4]), 1, true),
        (
            "DATA behind the end",
            [ended.clone(), frame(0, 0, 1, b"x")].concat(),
            5,
            false,
        ),
        (
            "HEADERS behind the end",
            [ended, frame(1, 5, 1, GET)].concat(),
            5,
            false,
        ),
        (
            "pseudo-field in trailers",
            [open, frame(1, 5, 1, GET)].concat(),
            1,
            false,
        ),
        (
            "self-dependency",
            frame(1, 0x25, 1, &[&[0, 0, 0, 1, 0], GET].concat()),
            1,
            false,
        ),
    ];
    for (name, bytes, code, ends) in cases {
        let mut peer = Peer::new();
        peer.send(&bytes);
        let frames = peer.frames();
        let last = frames.last().unwrap();
        let got = if last.0 == 7 { last.3[7] } else { last.3[3] };
        assert_eq!((last.0 == 7, got), (ends, code), "{name}: {frames:?}");
        assert_eq!(peer.failure().is_some(), ends, "{name}");
    }
}

#[test]
fn random_bytes_break_nothing() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..3000 {
        let mut bytes = vec![random() as u8];
        for _ in 0..random() % 40 {
            let length = (random() % 40) as usize;
            let payload: Vec<u8> = match random() % 3 {
                0 => GET.to_vec(),
                _ => (0..length).map(|_| random() as u8).collect(),
            };
            let kind = [0, 0, 1, 1, 1, 2, 3, 4, 6, 8, 9, 16][(random() % 12) as usize];
            let flags = [0, 1, 4, 5, 5, 5, 0xc, 0x2d][(random() % 8) as usize];
            let part = frame(kind, flags, (random() % 12) as u32, &payload);
            bytes.extend(part);
        }
        fuzz_connection(&bytes);
    }
}

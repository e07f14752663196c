//! The entry of the fuzz target.

use crate::{Connection, Event, Limits, ListLimits, Rate};
use bytes::{Bytes, BytesMut};
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const BYTES_MAX: usize = 128 * 1024;

/// Lets one connection read `bytes` behind a valid preface, in pieces as long as the first of them
/// says, and answers every request. Panics when a bound or an invariant is broken.
pub fn fuzz_connection(bytes: &[u8]) {
    let list = ListLimits {
        bytes_max: 4096,
        count_max: 32,
    };
    let rate = Rate {
        burst: 50,
        per_second: 5,
    };
    let limits = Limits {
        head: list,
        trailers: list,
        streams_max: 8,
        stream_window: 16_384,
        connection_window: 65_536,
        connection_bytes_max: BYTES_MAX,
        resets: rate,
        control_frames: rate,
    };
    let begun = Instant::now();
    let mut connection = Connection::new(limits, begun);
    let mut input = BytesMut::from(PREFACE);
    let Some((size, frames)) = bytes.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1) * 8;
    let (mut out, mut open) = (BytesMut::new(), Vec::new());
    for (turn, piece) in (0u64..).zip(frames.chunks(size)) {
        let now = begun + Duration::from_millis(turn);
        input.extend_from_slice(piece);
        let mut more = true;
        while more {
            connection.begin_turn();
            while let Some(event) = connection.next(&mut input, now) {
                answer(&mut connection, &mut open, event);
            }
            more = connection.is_turn_over();
        }
        assert!(connection.is_over() || connection.held_bytes() <= BYTES_MAX);
        assert!(connection.streams() <= 8);
        connection.transmit(&mut out, 16_384);
        assert!(out.len() <= BYTES_MAX + 16_384);
        out.clear();
        if open.len() > 4 {
            connection.release(open.remove(0));
        }
    }
    for stream in open {
        connection.release(stream);
    }
}

fn answer(connection: &mut Connection, open: &mut Vec<u32>, event: Event) {
    match event {
        Event::Request { stream, ended, .. } => {
            open.push(stream);
            connection.expect_length(stream, (!ended && stream % 8 == 1).then_some(5));
            let field = (&b"Date"[..], &b"now"[..]);
            let _ = connection.send_head(stream, 200, [field], stream % 16 == 3);
            send(connection, stream);
        }
        Event::Data { stream, piece, .. } => connection.consume(stream, piece.len()),
        Event::Room { stream } => send(connection, stream),
        Event::Trailers { .. } | Event::Reset { .. } | Event::Refused { .. } => {}
        Event::Failed(_) => assert!(connection.is_over()),
    }
}

fn send(connection: &mut Connection, stream: u32) {
    if let Ok(room @ 1..) = connection.room(stream) {
        let piece = Bytes::from(vec![b'x'; room.min(3000)]);
        let _ = connection.send_data(stream, piece, stream % 16 == 5);
    }
}

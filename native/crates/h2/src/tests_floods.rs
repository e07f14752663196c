//! Floods are cut within their budgets; what benign clients do never is.

use crate::tests::{GET, Peer, frame};
use crate::*;
use bytes::BytesMut;
use std::time::Duration;

#[test]
fn floods_are_cut() {
    let request = |turn: u32| frame(1, 0x4, turn * 2 + 1, GET);
    let with = |turn: u32, more: Vec<u8>| [request(turn), more].concat();
    let zero = |turn: u32| with(turn, frame(8, 0, turn * 2 + 1, &[0; 4]));
    let big = |turn: u32| with(turn, frame(8, 0, turn * 2 + 1, &[0x7f, 0xff, 0xff, 0xff]));
    type Make<'a> = &'a dyn Fn(u32) -> Vec<u8>;
    let cases: [(&str, Make, Cause); 12] = [
        ("PING", &|_| frame(6, 0, 0, &[0; 8]), Cause::ControlFrames),
        ("SETTINGS", &|_| frame(4, 0, 0, &[]), Cause::ControlFrames),
        (
            "PRIORITY",
            &|_| frame(2, 0, 1, &[0, 0, 0, 3, 0]),
            Cause::ControlFrames,
        ),
        (
            "PRIORITY_UPDATE",
            &|_| frame(16, 0, 0, &[0, 0, 0, 1]),
            Cause::ControlFrames,
        ),
        (
            "unknown",
            &|_| frame(0x77, 0, 1, &[0; 100]),
            Cause::ControlFrames,
        ),
        (
            "WINDOW_UPDATE",
            &|_| frame(8, 0, 0, &[0, 0, 0, 1]),
            Cause::ControlFrames,
        ),
        (
            "empty DATA",
            &|turn| match turn {
                0 => request(0),
                _ => frame(0, 0, 1, &[]),
            },
            Cause::ControlFrames,
        ),
        (
            "empty CONTINUATION",
            &|turn| match turn {
                0 => frame(1, 0, 1, GET),
                _ => frame(9, 0, 1, &[]),
            },
            Cause::ControlFrames,
        ),
        (
            "CONTINUATION",
            &|turn| match turn {
                0 => frame(1, 0, 1, GET),
                _ => frame(9, 0, 1, &[0x82; 16_384]),
            },
            Cause::ConnectionBytes,
        ),
        (
            "rapid reset",
            &|turn| with(turn, frame(3, 0, turn * 2 + 1, &[0, 0, 0, 8])),
            Cause::StreamResets,
        ),
        ("WINDOW_UPDATE of 0", &zero, Cause::StreamResets),
        ("window overflow", &big, Cause::StreamResets),
    ];
    for (name, make, cause) in cases {
        let mut peer = Peer::new();
        let mut open = 0;
        let (frames, got) = peer.flood(|turn| {
            open = turn;
            make(turn)
        });
        // Streams are not released here, so concurrency refuses before the budget is spent.
        assert_eq!(got, Some(cause), "{name}");
        assert!(frames <= 701, "{name}: {frames}");
        assert!(
            peer.frames().last().is_some_and(|frame| frame.0 == 7),
            "{name}"
        );
    }
}

#[test]
fn benign_traffic_is_not_cut() {
    let mut peer = Peer::new();
    for turn in 0..20_000u32 {
        let id = turn * 2 + 1;
        peer.now += Duration::from_millis(20);
        peer.send(&frame(1, 0x5, id, GET));
        peer.send(&frame(6, 0, 0, &[7; 8]));
        peer.send(&frame(16, 0, 0, &id.to_be_bytes()));
        let _ = peer.connection.send_head(id, 200, [], false);
        if turn % 3 == 0 {
            peer.send(&frame(3, 0, id, &[0, 0, 0, 8]));
        } else {
            let room = peer.connection.room(id).unwrap();
            let piece = Bytes::from(vec![b'x'; 40_000.min(room)]);
            peer.connection.send_data(id, piece, true).unwrap();
            peer.frames();
            peer.send(&frame(8, 0, 0, &40_000u32.to_be_bytes()));
            peer.send(&frame(8, 0, id, &40_000u32.to_be_bytes()));
        }
        peer.connection.release(id);
        assert_eq!(peer.failure(), None, "{turn}");
        peer.events.clear();
        peer.frames();
    }
}

#[test]
fn a_download_may_be_granted_piece_by_piece() {
    // A fast client takes a whole window before its first grants arrive: two for each 4 KiB.
    const WINDOW: u32 = 16 * 1024 * 1024;
    let mut peer = Peer::new();
    peer.send(&frame(
        4,
        0,
        0,
        &[&[0, 4][..], &WINDOW.to_be_bytes()].concat(),
    ));
    peer.send(&frame(8, 0, 0, &(WINDOW - 65_535).to_be_bytes()));
    peer.send(&frame(1, 0x5, 1, GET));
    let _ = peer.connection.send_head(1, 200, [], false);
    let mut sent = 0;
    while let Ok(room @ 1..) = peer.connection.room(1) {
        let piece = Bytes::from(vec![b'x'; room]);
        peer.connection.send_data(1, piece, false).unwrap();
        sent += room;
        peer.frames();
    }
    assert_eq!(sent, WINDOW as usize);
    for _ in 0..sent / 4096 {
        peer.send(&frame(8, 0, 0, &4096u32.to_be_bytes()));
        peer.send(&frame(8, 0, 1, &4096u32.to_be_bytes()));
    }
    assert_eq!(peer.failure(), None);
}

#[test]
fn a_client_that_lets_no_answer_out_has_few_exchanges() {
    let mut first = vec![0x40, 1, b'a', 0x7f, 0xad, 0x01];
    first.extend([b'x'; 300]);
    let begun = |window: u32, head: &[u8]| {
        let mut peer = Peer::new();
        peer.send(&frame(
            4,
            0,
            0,
            &[&[0, 4][..], &window.to_be_bytes()].concat(),
        ));
        peer.send(&frame(1, 0x5, 1, &[GET, &first].concat()));
        for turn in 1..100u32 {
            peer.send(&frame(1, 0x5, turn * 2 + 1, &[GET, head].concat()));
        }
        assert_eq!(peer.failure(), None);
        peer.connection.streams()
    };
    let big = [0xbe; 20];
    assert_eq!(begun(65_535, &[]), 100);
    let (small, large) = (begun(0, &[]), begun(0, &big));
    assert!((8..=16).contains(&small), "{small}");
    assert!((2..small).contains(&large), "{large}");
    assert_eq!(begun(4095, &big), large);
}

#[test]
fn a_bomb_is_bounded() {
    let mut peer = Peer::new();
    let mut first = vec![0x40, 1, b'a', 0x7f, 0xa1, 0x1e];
    first.extend([b'x'; 4000]);
    peer.send(&frame(1, 0x5, 1, &[GET, &first].concat()));
    for turn in 1..100u32 {
        peer.send(&frame(
            1,
            0x5,
            turn * 2 + 1,
            &[GET, &[0xbe; 16_000]].concat(),
        ));
        assert!(peer.connection.is_over() || peer.connection.held_bytes() <= 1024 * 1024);
    }
    assert_eq!(peer.failure(), Some(Cause::ConnectionBytes));
}

#[test]
fn a_turn_takes_so_much_work_and_leaves_the_rest() {
    let requests = |count: u32, more: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        let with = |turn| [frame(1, 0x5, turn * 2 + 1, GET), more(turn)].concat();
        (0..count).flat_map(with).collect()
    };
    let again = |turn: u32| frame(1, 0x5, turn * 2 + 1, GET);
    let broken = [frame(6, 0, 0, &[0; 8]), requests(10, &again)].concat();
    let reset = |turn: u32| frame(3, 0, turn * 2 + 1, &[0, 0, 0, 8]);
    let block = [GET, &[0x82; 6000]].concat();
    let long = (0..5).flat_map(|turn| frame(1, 0x5, turn * 2 + 1, &block));
    // The frames of each turn. The last place of a turn is for what takes a request back.
    let cases: [(&str, Vec<u8>, &[u64]); 6] = [
        ("PING", frame(6, 0, 0, &[0; 8]).repeat(100), &[40, 40, 20]),
        ("requests", requests(80, &|_| Vec::new()), &[32, 32, 16]),
        ("requests taken back", requests(10, &reset), &[8, 8, 4]),
        ("requests broken", broken, &[9, 8, 4]),
        ("long blocks", long.collect(), &[3, 2]),
        ("DATA", frame(0, 0, 1, &[0; 1000]).repeat(50), &[40, 10]),
    ];
    for (name, bytes, expected) in cases {
        let mut peer = Peer::new();
        if name == "DATA" {
            peer.send(&frame(1, 0x4, 1, GET));
        }
        let mut input = BytesMut::from(&bytes[..]);
        let mut taken = Vec::new();
        let mut more = true;
        while more {
            let before = peer.connection.steps();
            more = peer.turn(&mut input);
            taken.push(peer.connection.steps() - before);
        }
        assert_eq!((taken.as_slice(), input.len()), (expected, 0), "{name}");
    }
}

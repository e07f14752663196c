//! HTTP/3 over loopback, with quiche as the client. The one file of the wire that crosses QUIC
//! timers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::test_edge::{BIG_BYTES, Client, edge, limited_edge};
use quiche::h3;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn requests_are_answered_and_the_connection_is_known() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "two.test");
    let facts = client.get("/facts");
    let answer = client.answer(facts);
    assert_eq!(answer.status, "200");
    assert_eq!(
        String::from_utf8(answer.body).unwrap(),
        "7 127.0.0.1 two.test 1"
    );
    let health = client.get("/_health");
    assert_eq!(client.answer(health).body, b"ok\n");
    let head = client.send(&[(":method", "HEAD"), (":path", "/x")], true);
    let answer = client.answer(head);
    assert!(
        answer
            .headers
            .contains(&("content-length".into(), "5".into())),
        "{answer:?}"
    );
    assert!(answer.headers.iter().any(|(name, _)| name == "date"));
    assert!(answer.body.is_empty());
    let mut other = Client::connect(edge.address, "unknown.test");
    let facts = other.get("/facts");
    let text = other.answer(facts).body;
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "7 127.0.0.1 unknown.test 4294967295"
    );
    assert_eq!(edge.shared.stats.connections_h3.get(), 2);
}

#[test]
fn bodies_go_both_ways() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let text = vec![b'y'; 700_000];
    for length in [None, Some("700000")] {
        let mut fields = vec![(":method", "POST"), (":path", "/echo")];
        fields.extend(length.map(|length| ("content-length", length)));
        let id = client.send(&fields, false);
        client.body(id, &text, true);
        let answer = client.answer(id);
        let got = (answer.status.as_str(), answer.body.len(), answer.reset);
        assert_eq!(got, ("200", text.len(), None), "{length:?}");
    }
    let big: Vec<u64> = (0..3).map(|_| client.get("/big")).collect();
    for id in big {
        assert_eq!(client.answer(id).body.len(), BIG_BYTES);
    }
    let many: Vec<u64> = (0..50).map(|_| client.get("/hello")).collect();
    for id in many {
        assert_eq!(client.answer(id).body, b"hello");
    }
    let empty = client.send(&[(":method", "POST"), (":path", "/echo")], false);
    client.body(empty, b"", true);
    assert_eq!(client.answer(empty).body, b"");
}

#[test]
fn a_response_waits_for_another_as_long_as_the_client_takes_something() {
    let edge = limited_edge(|config| config.limits.body_idle_timeout_ms = 2000);
    let mut client = Client::connect(edge.address, "one.test");
    let both = [client.get("/big"), client.get("/big")];
    // The first one takes longer than the second may wait if nothing moves.
    let begun = Instant::now();
    client.until(|_| {
        std::thread::sleep(Duration::from_millis(2));
        begun.elapsed() > Duration::from_secs(3)
    });
    assert!(client.answers[&both[0]].body.len() < BIG_BYTES);
    for id in both {
        assert_eq!(client.answer(id).body.len(), BIG_BYTES);
    }
}

#[test]
fn malformed_requests_are_reset_and_the_connection_lives() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let cases: [&[(&str, &str)]; 8] = [
        &[],
        &[(":path", "/"), (":path", "/")],
        &[(":path", "/"), (":protocol", "x")],
        &[("a", "b"), (":path", "/")],
        &[(":path", "/"), ("connection", "close")],
        &[(":path", "/"), ("transfer-encoding", "chunked")],
        &[(":path", "/"), ("host", "other")],
        &[(":path", "/"), ("a", "b\r\nc: d")],
    ];
    for fields in cases {
        let id = client.send(fields, true);
        assert_eq!(client.answer(id).reset, Some(0x10e), "{fields:?}");
    }
    let large = "v".repeat(4090);
    let id = client.send(
        &[(":path", "/"), ("a", &large), ("b", &large), ("c", "d")],
        true,
    );
    let answer = client.answer(id);
    assert_eq!(
        (answer.status.as_str(), &answer.body[..]),
        ("431", &b"large\n"[..])
    );
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
}

#[test]
fn content_length_must_fit_the_content() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let cases: [(&str, &[u8]); 4] = [("5", b"four"), ("3", b"four"), ("4", b""), ("0", b"x")];
    for (length, text) in cases {
        let fields = [
            (":method", "POST"),
            (":path", "/echo"),
            ("content-length", length),
        ];
        let id = client.send(&fields, false);
        client.body(id, text, true);
        assert_eq!(client.answer(id).reset, Some(0x10e), "{length}");
    }
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
}

#[test]
fn a_client_that_stops_takes_nothing_with_it() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    for _ in 0..5 {
        let id = client.get("/big");
        client.until(|client| {
            client
                .answers
                .get(&id)
                .is_some_and(|answer| !answer.status.is_empty())
        });
        client
            .quic
            .stream_shutdown(id, quiche::Shutdown::Read, 0x10c)
            .unwrap();
    }
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
    let start = Instant::now();
    while edge.shared.active.load(Ordering::Relaxed) > 0 {
        assert!(start.elapsed() < Duration::from_secs(5));
        client.turn();
    }
}

/// While the window is full of a response nothing else can be sent, not even that.
#[test]
fn a_drain_says_goaway_in_the_middle_of_a_download() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let id = client.get("/big");
    client.until(|client| client.answers.contains_key(&id));
    // Nobody acknowledges: what may be sent is sent.
    std::thread::sleep(Duration::from_millis(100));
    edge.shared.begin_drain();
    std::thread::sleep(Duration::from_millis(50));
    client.until(|client| client.goaway);
    assert_eq!(client.answer(id).body.len(), BIG_BYTES);
}

#[test]
fn a_drain_says_goaway_and_closes_what_is_idle() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
    edge.shared.begin_drain();
    client.until(|client| client.goaway);
    client.until(|client| client.quic.peer_error().is_some());
    assert_eq!(client.quic.peer_error().unwrap().error_code, 0x100);
}

#[test]
fn many_half_open_connections_make_clients_prove_their_address() {
    let edge = edge();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (local, mut packet) = (socket.local_addr().unwrap(), [0; 1500]);
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
    config
        .set_application_protos(h3::APPLICATION_PROTOCOL)
        .unwrap();
    for _ in 0..100 {
        let id = super::cid::Cid::new(&super::cid::random::<16>().unwrap()).unwrap();
        let mut quic = quiche::connect(None, &id.id(), local, edge.address, &mut config).unwrap();
        while let Ok((length, _)) = quic.send(&mut packet) {
            socket.send_to(&packet[..length], edge.address).unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let mut client = Client::connect(edge.address, "one.test");
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
    let stats = edge.shared.stats.json(0, 0, 0);
    assert!(stats.contains("\"retries\":"), "{stats}");
}

#[test]
fn a_token_of_a_retry_that_does_not_open_ends_the_attempt() {
    let edge = limited_edge(|config| config.limits.quic_retry_from = 0);
    let mut client = Client::begin(edge.address, "one.test", None);
    let mut packet = [0; 1500];
    client.until(|_| edge.counted("retries") > 0);
    client.receive();
    let (length, _) = client.quic.send(&mut packet).unwrap();
    let header = quiche::Header::from_slice(&mut packet[..length], 16).unwrap();
    assert!(header.token.is_some_and(|token| !token.is_empty()));
    let token_at = 6 + header.dcid.len() + 1 + header.scid.len() + 1;
    packet[token_at + 9] ^= 1;
    client.send_raw(&packet[..length]);
    for _ in 0..1000 {
        if client.quic.peer_error().is_none() {
            client.receive(); // and sends nothing: the token of a second packet would be whole
        }
    }
    assert_eq!(client.quic.peer_error().unwrap().error_code, 0x0b);
    assert_eq!(edge.counted("accepted"), 0);
}

#[test]
fn a_place_is_free_as_soon_as_the_handshake_took_too_long() {
    let edge = limited_edge(|config| config.limits.handshake_timeout_ms = 100);
    let half = Client::begin(edge.address, "one.test", None);
    let mut packet = [0; 1500];
    let Client { mut quic, .. } = half;
    let (length, _) = quic.send(&mut packet).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(&packet[..length], edge.address).unwrap();
    // Three probe timeouts would be three seconds.
    let begun = std::time::Instant::now();
    while edge.counted("ended") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_slow_handshake_a_slow_head_and_too_many_resets_are_cut_and_counted() {
    let edge = limited_edge(|config| {
        config.limits.header_timeout_ms = 300;
        config.limits.stream_resets_max = 5;
        config.limits.stream_resets_per_second = 0;
    });
    let mut half = Client::begin(edge.address, "one.test", None);
    let mut packet = [0; 1500];
    let (length, _) = half.quic.send(&mut packet).unwrap();
    half.send_raw(&packet[..length]);
    let mut client = Client::connect(edge.address, "one.test");
    // The type and the length of a HEADERS frame, and nothing more.
    client.quic.stream_send(396, &[1, 40], false).unwrap();
    client.until(|client| client.answers.contains_key(&396) || edge.refused("HEADER_TIMEOUT"));
    for _ in 0..8 {
        let id = client.send(&[(":method", "POST"), (":path", "/echo")], false);
        client.turn();
        let _ = client
            .quic
            .stream_shutdown(id, quiche::Shutdown::Write, 0x10c);
    }
    client.until(|client| client.quic.peer_error().is_some());
    assert_eq!(client.quic.peer_error().unwrap().error_code, 0x107);
    assert!(edge.refused("STREAM_RESETS_EXCEEDED"));
    let mut other = Client::connect(edge.address, "one.test");
    other.until(|_| edge.refused("HANDSHAKE_TIMEOUT"));
}

#[test]
fn an_idle_connection_and_one_with_enough_requests_are_told_to_leave() {
    let edge = limited_edge(|config| {
        config.limits.keep_alive_idle_timeout_ms = 200;
        config.limits.requests_per_connection_max = 3;
    });
    let mut idle = Client::connect(edge.address, "one.test");
    idle.until(|client| client.goaway && client.quic.peer_error().is_some());
    assert_eq!(idle.quic.peer_error().unwrap().error_code, 0x100);
    let mut busy = Client::connect(edge.address, "one.test");
    for _ in 0..3 {
        let id = busy.get("/hello");
        assert_eq!(busy.answer(id).body, b"hello");
    }
    busy.until(|client| client.goaway && client.quic.peer_error().is_some());
    assert_eq!(busy.quic.peer_error().unwrap().error_code, 0x100);
}

#[test]
fn trailers_and_a_tunnel_reach_the_seam() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    let id = client.send(&[(":method", "POST"), (":path", "/echo")], false);
    client.body(id, b"text", false);
    client.trailers(id, &[("grpc-status", "0")]);
    assert_eq!(client.answer(id).body, b"text");
    let id = client.send(&[(":method", "POST"), (":path", "/echo")], false);
    client.body(id, b"text", false);
    client.trailers(id, &[("content-length", "4")]);
    assert_eq!(client.answer(id).reset, Some(0x10e));
}

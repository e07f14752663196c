//! Packets that reach another thread or another program than the one that has their connection,
//! and clients that move.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::cid::{Cid, Owner, random};
use super::test_edge::{BIG_BYTES, Client, Edge, edge, limited_edge, shared_edge};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

fn says_hello(client: &mut Client) {
    let id = client.get("/hello");
    assert_eq!(client.answer(id).body, b"hello");
}

#[test]
fn a_client_behind_a_nat_that_rebinds_keeps_its_connection_over_two_threads() {
    let edge = shared_edge("127.0.0.1:0", 2);
    let mut client = Client::connect(edge.address, "one.test");
    says_hello(&mut client);
    // Which thread gets a port is the kernel's choice: 14 ports miss one in 2^14 runs.
    for _ in 0..14 {
        client.rebind();
        says_hello(&mut client);
    }
    assert!(edge.counted("forwardedThreads") > 0);
    // The last port is proven by an answer to a challenge.
    client.until(|_| edge.counted("migrations") > 0);
    let facts = client.get("/facts");
    let text = String::from_utf8(client.answer(facts).body).unwrap();
    assert_eq!(text, "7 127.0.0.1 one.test 4294967295");
    assert_eq!(edge.shared.stats.connections_h3.get(), 1);
}

/// What was on its way to the port before is lost with it, and quiche notices nothing.
#[test]
fn a_download_goes_on_at_once_when_a_nat_rebinds() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    says_hello(&mut client);
    for turn in 0..3 {
        let big = client.get("/big");
        let body = |client: &Client| client.answers.get(&big).map_or(0, |big| big.body.len());
        client.until(|client| body(client) > BIG_BYTES / 4);
        assert!(body(&client) < BIG_BYTES, "it was over already");
        let began = Instant::now();
        client.rebind();
        client.quic.send_ack_eliciting().unwrap();
        assert_eq!(client.answer(big).body.len(), BIG_BYTES, "{turn}");
        let took = began.elapsed();
        println!("turn {turn}: the rest took {took:?}");
        assert!(took < Duration::from_secs(5), "turn {turn}: {took:?}");
    }
}

#[test]
fn a_client_that_migrates_keeps_its_connection() {
    let edge = shared_edge("127.0.0.1:0", 2);
    let mut client = Client::connect(edge.address, "one.test");
    // quiche as a client gives up none of its ids, so it can move as often as it got spare ones.
    for turn in 0..3 {
        says_hello(&mut client);
        client.migrate();
        let big = client.get("/big");
        assert_eq!(client.answer(big).body.len(), BIG_BYTES, "{turn}");
    }
    assert!(edge.counted("migrations") > 0);
}

/// Another path may be slower: what a client sent before it gave an id up arrives after that.
#[test]
fn a_packet_whose_id_was_given_up_in_the_meantime_costs_nothing() {
    let edge = edge();
    let mut client = Client::connect(edge.address, "one.test");
    says_hello(&mut client);
    for sequence in 0..20 {
        client.until(|client| client.quic.available_dcids() > 0);
        client.quic.send_ack_eliciting().unwrap();
        let late = client.packets();
        client.quic.retire_dcid(sequence).unwrap();
        // Sent without a pause, so that one look of the edge finds all of them.
        for packet in client.packets().iter().chain(&late) {
            client.send_raw(packet);
        }
        says_hello(&mut client);
    }
}

#[test]
fn an_old_and_a_new_edge_on_one_port_hand_over_what_is_not_theirs() {
    let old = shared_edge("127.0.0.1:0", 2);
    let address = old.address.to_string();
    let clients = |edge: &Edge| -> Vec<Client> {
        let connect = |_| {
            let mut client = Client::connect(edge.address, "one.test");
            says_hello(&mut client); // the handshake's last packet goes with it
            client
        };
        (0..12).map(connect).collect()
    };
    let mut before = clients(&old);
    let new = shared_edge(&address, 2);
    // Until the new one's sockets are read, its share of the packets waits there.
    std::thread::sleep(Duration::from_millis(100));
    let mut after = clients(&new);
    for client in before.iter_mut().chain(&mut after) {
        says_hello(client);
        client.rebind();
        says_hello(client);
        let big = client.get("/big");
        assert_eq!(client.answer(big).body.len(), BIG_BYTES);
    }
    let forwarded = || [&old, &new].map(|edge| edge.counted("forwardedPrograms"));
    // Which edge a port reaches is the kernel's choice: some more ports until both had one to pass.
    for turn in 0..240 {
        if forwarded().iter().all(|count| *count > 0) {
            break;
        }
        let client = &mut after[turn % 12];
        client.rebind();
        says_hello(client);
    }
    let forwarded = forwarded();
    assert!(forwarded.iter().all(|count| *count > 0), "{forwarded:?}");
}

#[test]
fn every_id_of_a_server_behind_a_balancer_carries_the_servers_id() {
    let server = *b"server 1";
    for retry_from in [0, 100] {
        let edge = limited_edge(|config| {
            config.quic_server_id = Some(server);
            config.limits.quic_retry_from = retry_from;
        });
        let mut client = Client::connect(edge.address, "one.test");
        for _ in 0..3 {
            says_hello(&mut client);
            let id = client.quic.destination_id();
            assert_eq!(&id.as_ref()[1..9], &server[..]);
            assert_eq!((id.len(), id.as_ref()[0] >> 5), (16, 0));
            client.migrate();
        }
        let big = client.get("/big");
        assert_eq!(client.answer(big).body.len(), BIG_BYTES);
        assert!(edge.counted("migrations") > 0);
        assert_eq!(edge.counted("retries") > 0, retry_from == 0);
    }
}

#[test]
fn a_packet_of_a_lost_connection_gets_a_reset_that_only_its_issuer_could_make() {
    let edge = edge();
    edge.shared.quic.set_reset_key([7; 32]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let owner = Owner {
        thread: 0,
        generation: 9,
    };
    let cid = Cid::random(owner, None).unwrap();
    let noise: [u8; 60] = random().unwrap();
    let ask = |first: u8, length: usize| {
        let packet = [&[first], cid.as_slice(), &noise[..]].concat();
        socket.send_to(&packet[..length], edge.address).unwrap();
        let mut answer = [0; 100];
        let got = socket.recv(&mut answer).ok();
        got.map(|got| answer[..got].to_vec())
    };
    let reset = ask(0x41, 77).unwrap();
    let token = super::reset::token(&[7; 32], &cid).unwrap();
    assert_eq!(reset.len(), 42);
    assert!(reset.ends_with(&token.to_be_bytes()));
    assert_eq!(ask(0x41, 30).unwrap().len(), 29);
    assert_eq!(ask(0x41, 21), None);
    assert_eq!(ask(0x01, 77), None, "without the fixed bit");
    assert_eq!(ask(0xc1, 77), None, "a long header");
    assert_eq!(edge.counted("statelessResets"), 2);
}

#[test]
fn sessions_resume_on_other_threads_and_early_data_only_when_allowed() {
    let edge = shared_edge("127.0.0.1:0", 2);
    let mut first = Client::connect(edge.address, "one.test");
    says_hello(&mut first);
    first.until(|client| client.quic.session().is_some());
    let session = first.quic.session().unwrap().to_vec();
    for _ in 0..6 {
        let mut again = Client::resume(edge.address, "one.test", Some(&session));
        assert!(again.quic.is_resumed());
        assert!(!again.quic.is_in_early_data());
        says_hello(&mut again);
    }
    assert_eq!(edge.counted("resumed"), 6);
}

#[test]
fn early_requests_are_marked_when_early_data_is_on() {
    assert_eq!(first_early_answer(100), b"true");
}

#[test]
fn early_data_survives_a_retry() {
    // The Retry cost a round trip: by then the request may no longer be early.
    assert!([&b"true"[..], b"false"].contains(&&first_early_answer(0)[..]));
}

fn first_early_answer(retry_from: usize) -> Vec<u8> {
    let edge = limited_edge(|config| {
        config.early_data = true;
        config.limits.quic_retry_from = retry_from;
    });
    let mut first = Client::connect(edge.address, "one.test");
    says_hello(&mut first);
    first.until(|client| client.quic.session().is_some());
    let session = first.quic.session().unwrap().to_vec();
    let mut early = Client::begin(edge.address, "one.test", Some(&session));
    let mut packet = [0; 1500];
    let (length, _) = early.quic.send(&mut packet).unwrap();
    early.send_raw(&packet[..length]);
    assert!(early.quic.is_in_early_data());
    early.start_h3();
    let id = early.get("/early");
    let answer = early.answer(id).body;
    assert!(early.quic.is_established());
    let id = early.get("/early");
    assert_eq!(early.answer(id).body, b"false");
    answer
}

//! Whole carriers in TCP between two devices that are sockets of the test.

use crate::tests::{Node, exchange, local};
use crate::{Event, Options, Way};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn serving(change: impl FnOnce(&mut Options)) -> (Node, SocketAddr) {
    let relay = Node::new(change);
    let to = local(relay.carriers.serve(Way::Tcp, 0).unwrap());
    (relay, to)
}

/// A relay, where it listens, a node that it carries, and the carrier at both.
fn pair(change: impl FnOnce(&mut Options)) -> (Node, SocketAddr, Node, [u32; 2], SocketAddr) {
    let ((mut relay, to), mut node) = (serving(change), Node::new(|_| {}));
    let number = node.connect_in(Way::Tcp, to, &relay);
    let (served, who) = relay.admit();
    assert_eq!(who, node.identity());
    let endpoint = node.opened(number);
    (relay, to, node, [number, served], endpoint)
}

/// Until the other end hangs up.
fn hangs_up(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).is_ok_and(|length| length > 0) {}
}

#[test]
fn packets_of_any_length_pass_both_ways() {
    let (relay, _, node, _, endpoint) = pair(|_| {});
    exchange(&node, &relay, endpoint);
}

#[test]
fn packets_that_come_together_keep_their_order_and_their_ends() {
    let (relay, _, node, _, endpoint) = pair(|_| {});
    for round in 0..50 {
        let lengths = [1452, 1452, 1452, 90, 1, 4000, 1452, 32];
        for (at, length) in lengths.into_iter().enumerate() {
            let packet = vec![(round + at) as u8; length];
            node.device.send_to(&packet, endpoint).unwrap();
        }
        for (at, length) in lengths.into_iter().enumerate() {
            assert_eq!(relay.got().0, vec![(round + at) as u8; length]);
        }
    }
}

#[test]
fn a_packet_that_no_device_sends_is_dropped_and_counted() {
    let (relay, _, mut node, [number, _], endpoint) = pair(|_| {});
    node.device.send_to(&[1; 4201], endpoint).unwrap();
    node.device.send_to(&[2; 4200], endpoint).unwrap();
    assert_eq!(relay.got().0, [2; 4200]);
    node.carriers.end(number);
    let dropped = node.wait(|event| match event {
        Event::Ended { dropped, .. } => Some(*dropped),
        _ => None,
    });
    assert_eq!(dropped, 1);
}

#[test]
fn who_is_refused_is_cut_off_and_so_is_who_is_not_answered() {
    let (mut relay, to) = serving(|options| options.opening_timeout_ms = 1_500);
    let mut node = Node::new(|_| {});
    let number = node.connect_in(Way::Tcp, to, &relay);
    let asked = relay.wait(|event| match event {
        Event::Asks { carrier, way, .. } => (*way == Way::Tcp).then_some(*carrier),
        _ => None,
    });
    relay.carriers.admit(asked, false);
    assert_eq!(relay.ended(asked), "it is no member of the mesh");
    node.ended(number);
    let number = node.connect_in(Way::Tcp, to, &relay);
    node.ended(number);
    let said = relay.wait(|event| match event {
        Event::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(said, "not let in in time");
}

#[test]
fn a_relay_that_is_somebody_else_is_not_used() {
    let (_relay, to) = serving(|_| {});
    let (mut node, other) = (Node::new(|_| {}), Node::new(|_| {}));
    let number = node.connect_in(Way::Tcp, to, &other);
    assert_eq!(node.ended(number), "it is somebody else");
}

#[test]
fn who_does_not_shake_hands_is_cut_off() {
    let (_relay, to) = serving(|options| options.opening_timeout_ms = 300);
    hangs_up(TcpStream::connect(to).unwrap());
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    hangs_up(stream);
}

#[test]
fn so_many_handshakes_and_no_more_are_there_for_one_address() {
    let (mut relay, to) = serving(|options| options.handshakes_per_address_max = 1);
    let first = TcpStream::connect(to).unwrap();
    hangs_up(TcpStream::connect(to).unwrap());
    drop(first);
    // Its place is free again.
    let mut node = Node::new(|_| {});
    let mut is_open = false;
    while !is_open {
        let number = node.connect_in(Way::Tcp, to, &relay);
        is_open = node.wait(|event| match event {
            Event::Opened { carrier, .. } => (*carrier == number).then_some(true),
            Event::Ended { carrier, .. } => (*carrier == number).then_some(false),
            _ => None,
        });
    }
    relay.admit();
}

#[test]
fn nobody_comes_in_beyond_the_number() {
    let (mut relay, to, node, _, _) = pair(|options| options.carriers_max = 1);
    hangs_up(TcpStream::connect(to).unwrap());
    node.carriers.close();
    relay.wait(|event| matches!(event, Event::Ended { .. }).then_some(()));
}

#[test]
fn a_relay_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::new(|options| options.connect_timeout_ms = 200);
    let number = node.connect_in(Way::Tcp, silent.local_addr().unwrap(), &node);
    assert_eq!(node.ended(number), "no answer in time");
    // It can be ended before that.
    let mut node = Node::new(|_| {});
    let number = node.connect_in(Way::Tcp, silent.local_addr().unwrap(), &node);
    node.carriers.end(number);
    assert_eq!(node.ended(number), "ended here");
}

#[test]
fn an_end_is_told_to_the_other_one() {
    let (mut relay, _, mut node, [number, served], _) = pair(|_| {});
    node.carriers.end(number);
    assert_eq!(node.ended(number), "ended here");
    assert_eq!(relay.ended(served), "the other end closed it");
}

#[test]
fn a_carrier_in_which_nothing_passes_ends() {
    let (mut relay, _, mut node, [number, served], _) = pair(|options| options.silence_ms = 300);
    assert_eq!(relay.ended(served), "silence");
    assert_eq!(node.ended(number), "the other end closed it");
}

#[test]
fn what_the_other_end_does_not_take_is_bounded() {
    let (mut relay, _, mut node, [number, served], endpoint) =
        pair(|options| options.queue_bytes_max = 200);
    node.device.send_to(&[1; 300], endpoint).unwrap();
    let (_, from) = relay.got();
    relay.device.send_to(&[2; 300], from).unwrap();
    relay.device.send_to(&[3; 100], from).unwrap();
    assert_eq!(node.got().0, [3; 100]);
    relay.carriers.end(served);
    let dropped = relay.wait(|event| match event {
        Event::Ended { dropped, .. } => Some(*dropped),
        _ => None,
    });
    assert_eq!(dropped, 1);
    node.ended(number);
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let (relay, to) = serving(|_| {});
    let node = Node::new(|_| {});
    assert!(node.carriers.serve(Way::Tcp, to.port()).is_err());
    drop(relay);
    assert!(node.carriers.serve(Way::Tcp, to.port()).is_ok());
}

use super::*;
use crate::limits::HALF_OPEN_TIMEOUT;
use crate::segment::{Sacks, Terms};
use std::time::Duration;

const HERE: &str = "100.96.0.1";
const THERE: &str = "100.96.0.2";

fn stack(now: Instant) -> Stack {
    let mut stack = Stack::new(1420, vec!["10.30.0.0/16".parse().unwrap()], now);
    stack.add_address(HERE.parse().unwrap());
    stack.add_address("fd00::1".parse().unwrap());
    stack.add_route("100.96.0.0/16".parse().unwrap());
    stack
}

fn segment(source: &str, target: &str, flags: u8) -> Segment<'static> {
    Segment {
        source: source.parse().unwrap(),
        target: target.parse().unwrap(),
        flags,
        sequence: 100,
        acknowledged: 0,
        window: 60_000,
        terms: Terms::default(),
        sacks: Sacks::default(),
        payload: &[],
    }
}

fn receive(stack: &mut Stack, segment: &Segment<'_>, now: Instant) {
    stack.receive(&segment.build((&[], &[])), now);
    stack.finish(now);
}

fn said(stack: &mut Stack, now: Instant) -> Vec<(u8, u32)> {
    let mut packets = Vec::new();
    while stack.transmit(&mut packets, now) {}
    let parse = |bytes: &BytesMut| {
        let packet = packet::parse(bytes).unwrap();
        let segment = Segment::parse(&packet).unwrap();
        (segment.flags, segment.sequence)
    };
    packets.iter().map(parse).collect()
}

#[test]
fn a_connection_that_begins_waits_until_it_is_taken() {
    let now = Instant::now();
    let mut stack = stack(now);
    for target in ["100.96.0.1:80", "10.30.7.7:443"] {
        receive(&mut stack, &segment("100.96.0.2:999", target, SYN), now);
        assert_eq!(said(&mut stack, now), []);
        let (id, local) = stack.next_offer().unwrap();
        assert_eq!(local, target.parse().unwrap());
        stack.held(id).unwrap().0.accept();
        stack.settle(id, now);
        assert_eq!(said(&mut stack, now)[0].0, SYN | ACK);
    }
    assert_eq!(stack.counts(), (2, 2));
}

#[test]
fn what_nobody_takes_is_refused_and_what_is_not_for_us_is_not_looked_at() {
    let now = Instant::now();
    let mut stack = stack(now);
    receive(
        &mut stack,
        &segment("100.96.0.2:999", "100.96.0.1:80", SYN),
        now,
    );
    let (id, _) = stack.next_offer().unwrap();
    stack.release(id, now);
    assert_eq!(said(&mut stack, now)[0].0, RST | ACK);
    assert_eq!(stack.counts(), (0, 0));
    receive(
        &mut stack,
        &segment("100.96.0.2:999", "100.96.0.1:80", ACK),
        now,
    );
    assert_eq!(said(&mut stack, now), [(RST, 0)]);
    for (source, target) in [
        ("100.96.0.2:9", "100.96.0.3:80"),
        ("100.96.0.1:9", "100.96.0.1:80"),
        ("224.0.0.1:9", "100.96.0.1:80"),
        ("100.96.0.2:9", "10.31.0.1:80"),
    ] {
        receive(&mut stack, &segment(source, target, SYN), now);
        receive(&mut stack, &segment(source, target, ACK), now);
    }
    stack.receive(b"E", now);
    assert!(stack.next_offer().is_none());
    assert_eq!(said(&mut stack, now), []);
}

#[test]
fn a_flood_of_syns_takes_a_bounded_room_and_passes() {
    let now = Instant::now();
    let mut stack = stack(now);
    for port in 1..=20_000_u16 {
        let source = SocketAddr::new(THERE.parse().unwrap(), port);
        let syn = Segment {
            source,
            ..segment("1.1.1.1:1", "100.96.0.1:80", SYN)
        };
        receive(&mut stack, &syn, now);
        // Those that are taken are no fewer of it: nobody confirms them.
        if let Some((id, _)) = stack.next_offer() {
            stack.held(id).unwrap().0.accept();
            stack.settle(id, now);
        }
    }
    assert_eq!(stack.counts(), (HALF_OPEN_MAX, HALF_OPEN_MAX));
    // A dial of our own finds room all the while.
    assert!(stack.dial("100.96.0.2:80".parse().unwrap(), now).is_ok());
    let later = now + HALF_OPEN_TIMEOUT + Duration::from_millis(1);
    let ids: Vec<usize> = stack.connections.iter().map(|(id, _)| id).collect();
    stack.finish(later);
    for id in ids {
        stack.release(id, later); // as who took it does when it fails
    }
    said(&mut stack, later);
    assert_eq!(stack.counts(), (0, 0));
    receive(
        &mut stack,
        &segment("100.96.0.2:999", "100.96.0.1:80", SYN),
        later,
    );
    assert!(stack.next_offer().is_some());
}

#[test]
fn dials_are_bounded_and_go_only_where_a_route_leads() {
    let now = Instant::now();
    let mut stack = stack(now);
    let dial = |stack: &mut Stack, target: &str| stack.dial(target.parse().unwrap(), now);
    assert_eq!(
        dial(&mut stack, "8.8.8.8:53"),
        Err(ErrorKind::NetworkUnreachable)
    );
    stack.add_route("fd01::/64".parse().unwrap());
    assert!(dial(&mut stack, "[fd01::5]:80").is_ok());
    stack.remove_address("fd00::1".parse().unwrap());
    assert_eq!(
        dial(&mut stack, "[fd01::5]:80"),
        Err(ErrorKind::AddrNotAvailable)
    );
    let first = dial(&mut stack, "100.96.0.2:80").unwrap();
    for _ in 2..CONNECTIONS_MAX {
        assert!(dial(&mut stack, "100.96.0.2:80").is_ok());
    }
    assert_eq!(
        dial(&mut stack, "100.96.0.2:80"),
        Err(ErrorKind::ResourceBusy)
    );
    stack.release(first, now);
    said(&mut stack, now);
    assert!(dial(&mut stack, "100.96.0.2:80").is_ok());
}

#[test]
fn an_echo_request_is_answered_for_own_addresses_only() {
    let now = Instant::now();
    let mut stack = stack(now);
    for (target, answers) in [(HERE, 1), ("10.30.0.1", 0)] {
        let (source, target) = (THERE.parse().unwrap(), target.parse().unwrap());
        let mut ping = packet::begin(source, target, packet::ICMP, 8);
        ping.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0]);
        stack.receive(&ping, now);
        let mut packets = Vec::new();
        stack.transmit(&mut packets, now);
        assert_eq!(packets.len(), answers);
    }
}

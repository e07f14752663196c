//! Two nodes and one between them, which is all that each of the two knows.

use super::*;
use crate::ip::tests::is_right;

/// Where each family has its hops.
const HOPS: [(Family, usize); 2] = [(Family::V4, 8), (Family::V6, 7)];
const SYN: u8 = 0x02;

struct Chain {
    one: Machine,
    middle: Machine,
    two: Machine,
}

/// Node 1, which is inside, has 10.0.0.1 and fdfd…, node 2 10.0.0.2 and fefe…; the one between them
/// 10.0.0.9.
fn chain() -> Chain {
    let (one, middle, two) = (Machine::new(1), Machine::new(9), Machine::new(2));
    let peer = |number: u8, allowed: &str, at: &Machine| {
        let (key, port) = (key(number), at.port);
        format!(r#"{{"publicKey":"{key}","allowedIps":[{allowed}],"endpoint":"127.0.0.1:{port}"}}"#)
    };
    let peers = |list: &[String]| format!(r#"{{"peers":[{}]}}"#, list.join(","));
    let wide = r#""10.0.0.0/8","fc00::/6""#;
    for end in [&one, &two] {
        end.apply(&peers(&[peer(9, wide, &middle)]));
    }
    let v6 = |byte: &str| [byte; 8].join(":");
    let of = |number: u8, byte: &str| format!(r#""10.0.0.{number}/32","{}/128""#, v6(byte));
    middle.apply(&peers(&[
        peer(1, &of(1, "fdfd"), &one),
        peer(2, &of(2, "fefe"), &two),
    ]));
    middle.apply(r#"{"addAddresses":["10.0.0.9/32"]}"#);
    one.reaches(&middle, &packet(1, 9, b"one is there"));
    two.reaches(&middle, &packet(2, 9, b"two is there"));
    inside(&middle, 1, true);
    Chain { one, middle, two }
}

fn forwarding() -> Chain {
    let all = chain();
    all.middle.apply(r#"{"forwards":true}"#);
    all
}

fn inside(middle: &Machine, number: u8, is_inside: bool) {
    let key = key(number);
    middle.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{key}","isInside":{is_inside}}}]}}"#
    ));
}

/// After one hop.
fn hopped(packet: &[u8], at: usize) -> Vec<u8> {
    let ip = crate::ip::Ip::parse(packet).expect("a packet");
    let mut packet = packet.to_vec();
    let before = packet[at];
    assert!(crate::ip::count_hop(&mut packet, &ip));
    assert_eq!(packet[at], before - 1);
    packet
}

/// So many datagrams wait in a pair of sockets (unix(7)).
const QUEUE: usize = 8;
const SOON: Duration = Duration::from_secs(5);

#[test]
fn nothing_is_forwarded_before_that_is_asked_for_and_after_it_is_no_more() {
    let Chain { one, middle, two } = chain();
    let sent = packet(1, 2, b"to two");
    let comes_to_the_interface = || {
        one.send(&sent);
        assert_eq!(middle.got(SOON).as_ref(), Some(&sent));
        assert_eq!(two.got(SHORT), None);
    };
    comes_to_the_interface();
    middle.apply(r#"{"forwards":true}"#);
    one.send(&sent);
    assert_eq!(two.got(SOON), Some(hopped(&sent, 8)));
    middle.apply(r#"{"peers":[]}"#);
    one.send(&sent);
    assert_eq!(two.got(SOON), Some(hopped(&sent, 8)), "it stays as it is");
    middle.apply(r#"{"forwards":false}"#);
    comes_to_the_interface();
}

#[test]
fn a_packet_goes_on_with_one_hop_less_and_right_checksums() {
    let Chain { one, middle, two } = forwarding();
    let before = (
        middle.seen(1).received_bytes,
        middle.seen(2).sent_bytes,
        middle.seen(1).sent_bytes,
    );
    for (family, at) in HOPS {
        // Of a length that is padded, and of one that is not.
        for length in [3, 1300] {
            let sent = tcp(family, 1, 0x10, &[], &vec![7; length]);
            one.send(&sent);
            let got = two.got(SOON).expect("a packet");
            assert!(is_right(&got), "{family:?}");
            assert_eq!(got, hopped(&sent, at));
        }
    }
    assert_eq!(middle.got(SHORT), None, "nothing came to the interface");
    assert!(middle.seen(1).received_bytes > before.0 + 2600);
    assert!(middle.seen(2).sent_bytes > before.1 + 2600);
    assert_eq!(middle.seen(1).sent_bytes, before.2);
}

#[test]
fn a_packet_on_its_last_hop_is_lost() {
    let Chain { one, middle, two } = forwarding();
    for (family, at) in HOPS {
        for hops in [0, 1] {
            let mut sent = tcp(family, 1, 0x10, &[], b"too far");
            sent[at] = hops;
            one.send(&sent);
        }
        let mut sent = tcp(family, 1, 0x10, &[], b"far");
        sent[at] = 2;
        one.send(&sent);
        let got = two.got(SOON).expect("the last one");
        assert_eq!(got, hopped(&sent, at));
    }
    assert_eq!(middle.got(SHORT), None);
}

#[test]
fn a_packet_never_goes_back_to_its_sender() {
    let Chain { one, middle, two } = forwarding();
    one.send(&packet(1, 1, b"to myself"));
    one.send(&packet(1, 2, b"to two"));
    assert!(two.got(SOON).is_some());
    assert_eq!(one.got(SHORT), None);
    assert_eq!(middle.got(SHORT), None);
}

#[test]
fn what_comes_from_outside_does_not_go_outside() {
    let Chain { one, middle, two } = forwarding();
    inside(&middle, 1, false);
    one.send(&packet(1, 2, b"past it"));
    assert_eq!(two.got(SHORT), None);
    assert_eq!(middle.got(SHORT), None);
    inside(&middle, 2, true);
    one.send(&packet(1, 2, b"into it"));
    assert!(two.got(SOON).is_some());
}

#[test]
fn what_is_this_nodes_own_or_nobodys_comes_to_its_interface() {
    let Chain { one, middle, two } = forwarding();
    let (one_key, two_key) = (key(1), key(2));
    middle.apply(&format!(
        r#"{{"ownRanges":["10.0.5.0/24"],"peers":[{{"publicKey":"{two_key}",
        "allowedIps":["10.0.0.0/16","10.0.5.128/25"]}},{{"publicKey":"{one_key}",
        "allowedIps":["10.0.0.1/32"]}}]}}"#
    ));
    let to = |bytes: [u8; 4]| {
        let mut packet = packet(1, 0, b"hello");
        packet[16..20].copy_from_slice(&bytes);
        packet
    };
    let here = [[10, 0, 0, 9], [10, 0, 5, 7], [10, 200, 0, 1]];
    for sent in here.map(to) {
        one.send(&sent);
        assert_eq!(middle.got(SOON), Some(sent));
    }
    for sent in [[10, 0, 0, 8], [10, 0, 5, 200]].map(to) {
        one.send(&sent);
        assert_eq!(two.got(SOON), Some(hopped(&sent, 8)));
    }
    // An address that is no longer this node's is whose it is otherwise.
    middle.apply(r#"{"removeAddresses":["10.0.0.9/32"],"ownRanges":[]}"#);
    for sent in [[10, 0, 0, 9], [10, 0, 5, 7]].map(to) {
        one.send(&sent);
        assert_eq!(two.got(SOON), Some(hopped(&sent, 8)));
    }
    assert_eq!(middle.got(SHORT), None);
}

#[test]
fn nobody_speaks_for_this_node_or_for_others_through_it() {
    let Chain { one, middle, two } = forwarding();
    // To the peer with the wide prefix everything belongs that is nobody else's.
    middle.apply(&format!(
        r#"{{"ownRanges":["10.0.5.0/24"],"peers":[{{"publicKey":"{}",
        "allowedIps":["10.0.0.0/8"]}}]}}"#,
        key(1)
    ));
    let from = |bytes: [u8; 4]| {
        let mut packet = packet(0, 2, b"hello");
        packet[12..16].copy_from_slice(&bytes);
        packet
    };
    for forged in [[10, 0, 0, 9], [10, 0, 5, 7], [10, 0, 0, 2], [11, 0, 0, 1]] {
        one.send(&from(forged));
    }
    let own = from([10, 9, 9, 9]);
    one.send(&own);
    assert_eq!(two.got(SOON), Some(hopped(&own, 8)));
    assert_eq!(two.got(SHORT), None);
    assert_eq!(middle.got(SHORT), None);
}

#[test]
fn addresses_of_one_link_stay_on_it() {
    let Chain { one, middle, two } = forwarding();
    let (one_key, two_key) = (key(1), key(2));
    middle.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{two_key}","allowedIps":["0.0.0.0/0"]}},
        {{"publicKey":"{one_key}","allowedIps":["10.0.0.1/32"]}}]}}"#
    ));
    one.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","allowedIps":["0.0.0.0/0"]}}]}}"#,
        key(9)
    ));
    for kept in [[224, 0, 0, 5], [169, 254, 1, 1], [255, 255, 255, 255]] {
        let mut sent = packet(1, 0, b"hello");
        sent[16..20].copy_from_slice(&kept);
        one.send(&sent);
        assert_eq!(middle.got(SOON), Some(sent));
    }
    assert_eq!(two.got(SHORT), None);
}

#[test]
fn a_connection_offers_what_fits_through_the_narrower_of_both_ways() {
    let Chain { one, middle, two } = forwarding();
    let offered = |mss: u16| {
        let [high, low] = mss.to_be_bytes();
        tcp(Family::V4, 1, SYN, &[2, 4, high, low], b"")
    };
    let narrow = |number: u8, mtu: u16| {
        let key = key(number);
        middle.apply(&format!(
            r#"{{"peers":[{{"publicKey":"{key}","mtu":{mtu}}}]}}"#
        ));
    };
    for (of_one, of_two, most) in [
        (0, 0, MTU),
        (1300, 0, 1300),
        (1300, 1290, 1290),
        (0, 1290, 1290),
    ] {
        narrow(1, of_one);
        narrow(2, of_two);
        one.send(&offered(1460));
        let got = two.got(SOON).expect("a packet");
        assert!(is_right(&got));
        assert_eq!(got, hopped(&offered(most - 40), 8));
    }
}

#[test]
fn a_burst_arrives_whole_and_in_its_order() {
    let all = forwarding();
    let (one, two) = (&all.one, &all.two);
    let sent: Vec<_> = (0..500_u32)
        .map(|number| packet(1, 2, &number.to_be_bytes().repeat(200)))
        .collect();
    for burst in sent.chunks(QUEUE) {
        for packet in burst {
            one.send(packet);
        }
        for packet in burst {
            assert_eq!(two.got(SOON), Some(hopped(packet, 8)));
        }
    }
}

#[test]
fn packets_wait_for_a_session_and_then_go_on() {
    let Chain { one, middle, .. } = forwarding();
    let late = Machine::new(3);
    late.knows(9, "10.0.0.0/8", &middle);
    middle.knows(3, "10.0.0.3/32", &late);
    let sent = packet(1, 3, b"the first one that the middle ever sends there");
    one.send(&sent);
    assert_eq!(late.got(SOON), Some(hopped(&sent, 8)));
}

#[test]
fn keys_of_the_middle_change_under_a_flow_that_loses_nothing() {
    let Chain { one, middle, two } = forwarding();
    let mut round = 0_u32;
    let mut flow = |times: u32| {
        for _ in 0..times {
            round += 1;
            for (from, to, sent) in both_ways(&one, &two, round) {
                from.send(&sent);
                assert_eq!(to.got(SOON), Some(hopped(&sent, 8)), "{round}");
            }
        }
    };
    flow(20);
    let next = format!(
        r#"{{"peers":[{{"publicKey":"{}","previousKey":"{}"}}]}}"#,
        key(4),
        key(9)
    );
    let text = |number| STANDARD.encode(secret(number).to_bytes());
    one.apply(&next); // and two does not know of it yet
    middle.apply(&format!(
        r#"{{"privateKey":"{}","previousPrivateKey":"{}"}}"#,
        text(4),
        text(9)
    ));
    flow(50);
    two.apply(&next);
    flow(20);
    let until = Instant::now() + Duration::from_secs(20);
    while (one.seen(4).is_on_previous_key || two.seen(4).is_on_previous_key)
        && Instant::now() < until
    {
        flow(5);
    }
    assert!(!one.seen(4).is_on_previous_key && !two.seen(4).is_on_previous_key);
    for end in [&one, &two] {
        end.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(9)));
    }
    middle.apply(&format!(r#"{{"privateKey":"{}"}}"#, text(4)));
    flow(20);
}

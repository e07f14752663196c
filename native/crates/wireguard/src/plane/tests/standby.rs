//! Packets from addresses to which another peer is the way.

use super::*;

/// Node 1 speaks to node 2, which knows of nodes 8 and 9 as well.
fn standing_by(allowed: &[(u8, &str)], standby: &str) -> (Machine, Machine) {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    let strangers = allowed.iter().map(|(number, prefix)| {
        let key = key(*number);
        format!(r#"{{"publicKey":"{key}","allowedIps":["{prefix}"]}}"#)
    });
    two.apply(&format!(
        r#"{{"peers":[{}]}}"#,
        strangers.collect::<Vec<_>>().join(",")
    ));
    stand_by(&two, standby);
    (one, two)
}

fn stand_by(two: &Machine, standby: &str) {
    let key = key(1);
    two.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{key}","standbyIps":[{standby}]}}]}}"#
    ));
}

fn from(bytes: [u8; 4]) -> Vec<u8> {
    let mut packet = packet(0, 2, &bytes);
    packet[12..16].copy_from_slice(&bytes);
    packet
}

/// Whether node 2 takes packets of node 1 from these addresses.
fn takes(one: &Machine, two: &Machine, cases: &[([u8; 4], bool)]) {
    for (source, _) in cases {
        one.send(&from(*source));
    }
    // It is the last one that arrives.
    one.send(&packet(1, 2, b"the end"));
    let mut got = Vec::new();
    let end = packet(1, 2, b"the end");
    while let Some(packet) = two.got(Duration::from_secs(5)) {
        if packet == end {
            break;
        }
        got.push(packet);
    }
    let wanted = cases.iter().filter(|(_, is_taken)| *is_taken);
    let wanted: Vec<_> = wanted.map(|(source, _)| from(*source)).collect();
    assert_eq!(got, wanted);
}

#[test]
fn a_standby_may_send_from_exactly_the_longest_prefix_that_it_has() {
    let owners = [(9, "10.1.0.0/16"), (8, "10.1.8.8/32")];
    let (one, two) = standing_by(&owners, r#""10.1.0.0/16","10.0.0.0/8","10.2.0.0/16""#);
    let cases = [
        ([10, 1, 2, 3], true),
        ([10, 1, 8, 8], false), // a node of its own stands behind another prefix
        ([10, 2, 0, 1], false), // nobody's: there is nobody to stand in for
        ([10, 1, 8, 9], true),
        ([10, 0, 0, 2], false),
    ];
    takes(&one, &two, &cases);
    stand_by(&two, r#""10.1.8.8/32""#);
    takes(&one, &two, &[([10, 1, 2, 3], false), ([10, 1, 8, 8], true)]);
    stand_by(&two, "");
    takes(&one, &two, &[([10, 1, 8, 8], false)]);
}

#[test]
fn who_stands_by_takes_over_in_one_change_and_the_other_one_stands_by() {
    let (one, two) = standing_by(&[(9, "10.1.0.0/16")], r#""10.1.0.0/16""#);
    let moved = |owner: u8, standby: u8| {
        let peer = |number: u8, allowed: &str, standby: &str| {
            let (key, own) = (key(number), format!(r#""10.0.0.{number}/32""#));
            format!(
                r#"{{"publicKey":"{key}","allowedIps":[{own}{allowed}],
                "standbyIps":[{standby}]}}"#
            )
        };
        two.apply(&format!(
            r#"{{"peers":[{},{}]}}"#,
            peer(standby, "", r#""10.1.0.0/16""#),
            peer(owner, r#","10.1.0.0/16""#, ""),
        ));
    };
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..300 {
                moved(1, 9);
                moved(9, 1);
            }
        });
        let sent = from([10, 1, 2, 3]);
        while !changes.is_finished() {
            one.send(&sent);
            assert_eq!(two.got(Duration::from_secs(5)).as_ref(), Some(&sent));
        }
        changes.join().expect("no panic");
    });
}

#[test]
fn a_removed_peer_stands_by_for_nothing_when_it_comes_back() {
    let (one, two) = standing_by(&[(9, "10.1.0.0/16")], r#""10.1.0.0/16""#);
    takes(&one, &two, &[([10, 1, 2, 3], true)]);
    two.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(1)));
    two.knows(1, "10.0.0.1/32", &one);
    two.reaches(&one, &packet(2, 1, b"again"));
    takes(&one, &two, &[([10, 1, 2, 3], false)]);
}

#[test]
fn a_key_that_changes_keeps_what_it_stands_by_for() {
    let (one, two) = standing_by(&[(9, "10.1.0.0/16")], r#""10.1.0.0/16""#);
    two.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","previousKey":"{}"}}]}}"#,
        key(3),
        key(1)
    ));
    two.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(1)));
    let text = STANDARD.encode(secret(3).to_bytes());
    one.apply(&format!(r#"{{"privateKey":"{text}"}}"#));
    one.reaches(&two, &from([10, 1, 2, 3]));
}

//! Two nodes and a relay between them.

use super::*;

/// A relay between two that know each other by key only; what they know of each other's place is
/// where `between` passes datagrams on.
struct Relayed {
    one: Machine,
    two: Machine,
    relay: Machine,
}

fn relayed(one_at: Option<u16>, two_at: Option<u16>) -> Relayed {
    let (one, two, relay) = (Machine::new(1), Machine::new(2), Machine::of(3, true));
    let at = |port: Option<u16>| {
        port.map_or(String::new(), |port| {
            format!(r#","endpoint":"127.0.0.1:{port}""#)
        })
    };
    for (node, number, other, place) in [(&one, 1, 2, two_at), (&two, 2, 1, one_at)] {
        node.apply(&format!(
            r#"{{"peers":[
            {{"publicKey":"{}","allowedIps":["10.0.0.3/32"],
            "endpoint":"127.0.0.1:{}","keepaliveS":1}},
            {{"publicKey":"{}","allowedIps":["10.0.0.{other}/32"],
            "relay":"{}"{}}}]}}"#,
            key(3),
            relay.port,
            key(other),
            key(3),
            at(place)
        ));
        let key = key(number);
        relay.apply(&format!(
            r#"{{"peers":[{{"publicKey":"{key}","allowedIps":["10.0.0.{number}/32"]}}]}}"#
        ));
    }
    for (node, number) in [(&one, 1), (&two, 2)] {
        let known = || relay.seen(number).endpoint.is_some();
        let until = Instant::now() + Duration::from_secs(20);
        while !known() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(known(), "{}", node.port);
    }
    Relayed { one, two, relay }
}

#[test]
fn two_that_know_no_address_of_each_other_speak_through_a_relay() {
    let Relayed { one, two, relay } = relayed(None, None);
    one.reaches(&two, &packet(1, 2, b"through"));
    two.reaches(&one, &packet(2, 1, b"back"));
    assert_eq!(one.seen(2).doubt, Some(crate::paths::Doubt::NoEndpoint));
    assert_eq!(
        one.seen(2).endpoint,
        None,
        "the relay's address is not the peer's"
    );
    assert_eq!(relay.got(SHORT), None, "the relay sees nothing of it");
}

#[test]
fn a_direct_way_that_is_proven_is_taken_and_its_end_is_noticed() {
    let between = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let place = between.local_addr().expect("an address").port();
    // Both know the other where a third one passes datagrams on, until it is told to stop.
    let Relayed {
        one,
        two,
        relay: _relay,
    } = relayed(Some(place), Some(place));
    let ports = (one.port, two.port);
    let is_cut = std::sync::atomic::AtomicBool::new(false);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    between
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a deadline");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = [0; 2000];
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = between.recv_from(&mut buffer) else {
                    continue;
                };
                let to = if from.port() == ports.0 {
                    ports.1
                } else {
                    ports.0
                };
                if !is_cut.load(Ordering::Relaxed) {
                    let _ = between.send_to(&buffer[..length], ("127.0.0.1", to));
                }
            }
        });
        one.reaches(&two, &packet(1, 2, b"first"));
        let until = Instant::now() + Duration::from_secs(20);
        while one.seen(2).doubt.is_some() && Instant::now() < until {
            one.reaches(&two, &packet(1, 2, b"again"));
        }
        assert_eq!(one.seen(2).doubt, None);
        assert_eq!(one.seen(2).seen_as.map(|at| at.port()), Some(place));
        is_cut.store(true, Ordering::Relaxed);
        let cut = Instant::now();
        let mut round = 0_u32;
        let back = loop {
            round += 1;
            one.send(&packet(1, 2, &round.to_be_bytes()));
            if two.got(Duration::from_millis(20)).is_some() {
                break cut.elapsed();
            }
            assert!(
                cut.elapsed() < Duration::from_secs(10),
                "it never came back"
            );
        };
        assert!(
            back >= Duration::from_millis(100),
            "it was direct: {back:?}"
        );
        assert!(one.seen(2).doubt.is_some());
        is_cut.store(false, Ordering::Relaxed);
        let until = Instant::now() + Duration::from_secs(20);
        while one.seen(2).doubt.is_some() && Instant::now() < until {
            one.send(&packet(1, 2, b"direct again"));
            two.got(Duration::from_millis(50));
        }
        assert_eq!(one.seen(2).doubt, None);
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nobody_but_a_peer_is_served_and_only_a_relay_serves() {
    use crate::envelope::{Ends, Envelope, Kind, id_of, probe, seal};
    let (one, two) = pair();
    two.reaches(&one, &packet(2, 1, b"there"));
    let ids = |from: u8| Ends {
        from: id_of(&PublicKey::from(&secret(from))),
        to: id_of(&PublicKey::from(&secret(2))),
    };
    let shared = |number: u8| {
        secret(number)
            .diffie_hellman(&PublicKey::from(&secret(2)))
            .to_bytes()
    };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(SHORT)).expect("a deadline");
    let ask = |message: &[u8]| {
        socket
            .send_to(message, ("127.0.0.1", two.port))
            .expect("sent");
        let mut buffer = [0; 200];
        let answer = socket.recv(&mut buffer).ok();
        answer.map(|length| buffer[..length].to_vec())
    };
    // A stranger, a peer's name with another secret, and a message to forward.
    assert_eq!(ask(&probe(ids(9), &shared(9), 1)), None);
    assert_eq!(ask(&probe(ids(1), &shared(9), 1)), None);
    let forward = Ends {
        to: ids(1).from,
        ..ids(1)
    };
    assert_eq!(
        ask(&seal(Kind::Forward, forward, &shared(1), &[4; 64])),
        None
    );
    let told = ask(&probe(ids(1), &shared(1), 1)).expect("an answer");
    let answer = Envelope::parse(&told).expect("an envelope");
    assert_eq!(answer.seen(), socket.local_addr().ok());
    let more =
        (0..200).filter(|&number| ask_fast(&socket, two.port, &probe(ids(1), &shared(1), number)));
    assert!(more.count() < 150, "answers are bounded");
}

fn ask_fast(socket: &std::net::UdpSocket, port: u16, message: &[u8]) -> bool {
    socket
        .set_read_timeout(Some(Duration::from_millis(10)))
        .expect("a deadline");
    socket.send_to(message, ("127.0.0.1", port)).expect("sent");
    socket.recv(&mut [0; 200]).is_ok()
}

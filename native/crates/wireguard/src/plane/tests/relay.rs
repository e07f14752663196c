//! Two nodes and a relay between them.

use super::*;
use crate::paths::Doubt;
use std::sync::atomic::AtomicBool;

const LIMITS: RelayLimits = RelayLimits {
    bytes_per_second: 1 << 20,
    pairs_max: 8,
};

/// Passes datagrams on between two ports of loopback, as a NAT would: nobody else is
/// heard there.
struct Passage {
    port: u16,
    is_cut: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Passage {
    fn between(one: u16, other: u16) -> Self {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let turn = Some(Duration::from_millis(20));
        socket.set_read_timeout(turn).expect("a deadline");
        let port = socket.local_addr().expect("an address").port();
        let (is_cut, is_over) = (Arc::default(), Arc::default());
        let ends = (Arc::<AtomicBool>::clone(&is_cut), Arc::clone(&is_over));
        let pass = move || pass(&socket, (one, other), &ends);
        Self {
            port,
            is_cut,
            is_over,
            thread: Some(std::thread::spawn(pass)),
        }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
    }
}

fn pass(
    socket: &std::net::UdpSocket,
    (one, other): (u16, u16),
    (is_cut, is_over): &(Arc<AtomicBool>, Arc<AtomicBool>),
) {
    let mut buffer = [0; 2000];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let to = match from.port() {
            port if port == one => other,
            port if port == other => one,
            _ => continue,
        };
        if !is_cut.load(Ordering::Relaxed) {
            let _ = socket.send_to(&buffer[..length], ("127.0.0.1", to));
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

/// Two nodes, and two relays that each of them reaches through a passage of its own.
struct Relayed {
    one: Machine,
    two: Machine,
    relays: Vec<Machine>,
    /// Of each relay, that of each node.
    passages: Vec<[Passage; 2]>,
    /// Where each knows the other directly.
    direct: Option<Passage>,
}

/// What is known from the beginning, or can be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nobody knows where the two are.
    Hidden,
    /// Relays see their own ports.
    Open,
    /// There is a direct passage, which both know.
    Known,
}

/// The numbers of relays begin here.
const RELAY: u8 = 3;

fn relayed(relays: u8, shape: Shape) -> Relayed {
    let (one, two) = (Machine::new(1), Machine::new(2));
    let relays: Vec<_> = (0..relays)
        .map(|number| Machine::of(RELAY + number, Some(LIMITS)))
        .collect();
    let passage = |node: &Machine, relay: &Machine| Passage::between(node.port, relay.port);
    let passages: Vec<_> = relays
        .iter()
        .map(|relay| [passage(&one, relay), passage(&two, relay)])
        .collect();
    let direct = (shape == Shape::Known).then(|| Passage::between(one.port, two.port));
    let place = direct.as_ref().map(|passage| passage.port);
    let names: Vec<_> = (0..relays.len())
        .map(|at| format!(r#""{}""#, key(RELAY + at as u8)))
        .collect();
    for (node, number, other) in [(&one, 1_u8, 2), (&two, 2, 1)] {
        let mut peers = vec![format!(
            r#"{{"publicKey":"{}","allowedIps":["10.0.0.{other}/32"],"relays":[{}]{}}}"#,
            key(other),
            names.join(","),
            place.map_or(String::new(), |port| format!(
                r#","endpoint":"127.0.0.1:{port}""#
            ))
        )];
        for (at, relay) in relays.iter().enumerate() {
            let own = &passages[at][usize::from(number) - 1];
            let is_open = shape == Shape::Open;
            let port = if is_open { relay.port } else { own.port };
            let name = &names[at];
            peers.push(format!(
                r#"{{"publicKey":{name},"allowedIps":["10.0.0.{}/32"],
                "endpoint":"127.0.0.1:{port}","keepaliveS":1}}"#,
                usize::from(RELAY) + at
            ));
        }
        node.apply(&format!(r#"{{"peers":[{}]}}"#, peers.join(",")));
        for relay in &relays {
            let key = key(number);
            relay.apply(&format!(
                r#"{{"peers":[{{"publicKey":"{key}","allowedIps":["10.0.0.{number}/32"]}}]}}"#
            ));
        }
    }
    for relay in &relays {
        for number in [1, 2] {
            wait_for(|| relay.seen(number).endpoint.is_some());
        }
    }
    Relayed {
        one,
        two,
        relays,
        passages,
        direct,
    }
}

pub fn wait_for(mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "it never came to pass");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends until something arrives; how long that took.
fn time_to_arrive(from: &Machine, to: &Machine, packet: &[u8]) -> Duration {
    let since = Instant::now();
    wait_for(|| {
        from.send(packet);
        to.got(Duration::from_millis(20)).is_some()
    });
    since.elapsed()
}

#[test]
fn two_that_know_no_address_of_each_other_speak_through_a_relay() {
    let all = relayed(1, Shape::Hidden);
    let (one, two) = (&all.one, &all.two);
    one.reaches(two, &packet(1, 2, b"through"));
    two.reaches(one, &packet(2, 1, b"back"));
    let seen = one.seen(2);
    assert_eq!(seen.unanswered, None, "a word through a relay is a word");
    assert_eq!(seen.doubt, Some(Doubt::NoEndpoint));
    assert_eq!(seen.endpoint, None, "the relay's address is not the peer's");
    let relay = PublicKey::from(&secret(RELAY));
    assert_eq!(seen.relay, Some(relay));
    assert_eq!(
        all.relays[0].got(SHORT),
        None,
        "the relay sees nothing of it"
    );
    assert!(all.relays[0].seen(1).served.forwarded_bytes > 0);
    assert_eq!(all.relays[0].seen(1).served.refused_packets, 0);
}

#[test]
fn a_leader_behind_a_relay_forwards_to_and_from_it() {
    let all = relayed(1, Shape::Hidden);
    let (one, leader) = (&all.one, &all.two);
    let three = Machine::new(9);
    one.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","allowedIps":["10.0.0.2/32","10.0.0.9/32"]}}]}}"#,
        key(2)
    ));
    leader.knows(9, "10.0.0.9/32", &three);
    leader.apply(r#"{"addAddresses":["10.0.0.2/32"],"forwards":true}"#);
    leader.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","isInside":true}}]}}"#,
        key(9)
    ));
    three.knows(2, "10.0.0.0/24", leader);
    let hop = |mut packet: Vec<u8>| {
        let ip = crate::ip::Ip::parse(&packet).expect("a packet");
        assert!(crate::ip::count_hop(&mut packet, &ip));
        Some(packet)
    };
    one.reaches(leader, &packet(1, 2, b"a session"));
    for round in 0..10 {
        let (to, back) = (packet(1, 9, &[round; 1300]), packet(9, 1, &[round; 1300]));
        one.send(&to);
        assert_eq!(three.got(Duration::from_secs(5)), hop(to));
        three.send(&back);
        assert_eq!(one.got(Duration::from_secs(5)), hop(back));
    }
    assert_eq!(leader.seen(1).doubt, Some(Doubt::NoEndpoint));
    assert_eq!(leader.got(SHORT), None);
}

#[test]
fn a_relay_tells_two_where_the_other_is_and_they_go_on_directly() {
    let all = relayed(1, Shape::Open);
    let (one, two) = (&all.one, &all.two);
    wait_for(|| {
        one.send(&packet(1, 2, b"there"));
        two.send(&packet(2, 1, b"back"));
        while one.got(Duration::from_millis(10)).is_some() {}
        while two.got(Duration::from_millis(10)).is_some() {}
        one.seen(2).doubt.is_none() && two.seen(1).doubt.is_none()
    });
    let port = |seen: crate::peer::Seen| seen.endpoint.map(|at| at.port());
    assert_eq!(port(one.seen(2)), Some(two.port));
    assert_eq!(port(two.seen(1)), Some(one.port));
    assert_eq!(one.seen(2).relay, None);
}

#[test]
fn a_relay_that_falls_silent_gives_way_to_the_other_one() {
    let all = relayed(2, Shape::Hidden);
    let (one, two) = (&all.one, &all.two);
    one.reaches(two, &packet(1, 2, b"first"));
    let first = one.seen(2).relay;
    assert_eq!(first, Some(PublicKey::from(&secret(RELAY))));
    for passage in &all.passages[0] {
        passage.cut(true);
    }
    while two.got(Duration::from_millis(50)).is_some() {}
    let took = time_to_arrive(one, two, &packet(1, 2, b"second"));
    assert!(took >= Duration::from_millis(100), "it was cut: {took:?}");
    let second = Some(PublicKey::from(&secret(RELAY + 1)));
    assert_eq!(one.seen(2).relay, second);
    for passage in &all.passages[0] {
        passage.cut(false);
    }
    wait_for(|| {
        one.send(&packet(1, 2, b"first again"));
        std::thread::sleep(Duration::from_millis(50));
        one.seen(2).relay == first
    });
}

#[test]
fn a_direct_way_that_is_proven_is_taken_and_its_end_is_noticed() {
    let all = relayed(1, Shape::Known);
    let (one, two) = (&all.one, &all.two);
    let direct = all.direct.as_ref().expect("a passage");
    one.reaches(two, &packet(1, 2, b"first"));
    wait_for(|| {
        one.send(&packet(1, 2, b"again"));
        std::thread::sleep(Duration::from_millis(20));
        one.seen(2).doubt.is_none()
    });
    let place = one.seen(2).seen_as.map(|at| at.port());
    assert_eq!(place, Some(direct.port));
    while two.got(Duration::from_millis(50)).is_some() {}
    direct.cut(true);
    let back = time_to_arrive(one, two, &packet(1, 2, b"by the relay"));
    assert!(
        back >= Duration::from_millis(100),
        "it was direct: {back:?}"
    );
    assert!(one.seen(2).doubt.is_some());
    direct.cut(false);
    wait_for(|| {
        one.send(&packet(1, 2, b"direct again"));
        two.got(Duration::from_millis(50));
        one.seen(2).doubt.is_none()
    });
}

#[test]
fn a_relay_forwards_as_much_as_its_limits_say() {
    let all = relayed(1, Shape::Hidden);
    let (one, two) = (&all.one, &all.two);
    one.reaches(two, &packet(1, 2, b"first"));
    let big = packet(1, 2, &[7; 1200]);
    // Some two and a half times what is forwarded in a second.
    wait_for(|| {
        for _ in 0..20 {
            one.send(&big);
        }
        all.relays[0].seen(1).served.refused_packets > 0
    });
    assert_eq!(
        all.relays[0].seen(2).served.refused_packets,
        0,
        "of its own"
    );
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

#[test]
fn a_relay_tells_anybody_his_address_in_measure_and_others_do_not() {
    let (relay, other) = (Machine::of(RELAY, Some(LIMITS)), Machine::new(1));
    let asking = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let turn = Some(Duration::from_secs(5));
    asking.set_read_timeout(turn).expect("a deadline");
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], b"transaction!"].concat();
    let mut buffer = [0; 100];
    let ask = |port: u16| asking.send_to(&request, ("127.0.0.1", port)).expect("sent");
    ask(relay.port);
    let (length, _) = asking.recv_from(&mut buffer).expect("an answer");
    let own = asking.local_addr().expect("an address");
    let wanted = crate::stun::answer(&request, own).expect("an answer");
    assert_eq!(buffer[..length], wanted[..]);

    // The other one is asked first, and says nothing before the relay's answers or behind them.
    ask(other.port);
    asking.set_nonblocking(true).expect("at once");
    let since = Instant::now();
    let at_once = crate::stun::ANSWERS_AT_ONCE;
    let mut answers = 0.0;
    let mut count = |asking: &std::net::UdpSocket| {
        while let Ok((_, from)) = asking.recv_from(&mut buffer) {
            assert_eq!(from.port(), relay.port);
            answers += 1.0;
        }
        answers
    };
    for _ in 0..at_once as usize * 2 {
        ask(relay.port);
        count(&asking);
    }
    wait_for(|| count(&asking) >= at_once / 2.0);
    std::thread::sleep(Duration::from_millis(100));
    let seconds = since.elapsed().as_secs_f64();
    let most = at_once + seconds * crate::stun::ANSWERS_PER_SECOND;
    let answered = count(&asking);
    assert!(answered <= most, "{answered} answers in {seconds} s");
}

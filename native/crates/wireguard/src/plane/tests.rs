//! Whole devices whose interfaces are pairs of sockets: real packets, no privilege.

use super::inbound::COOKIE_REPLY;
use super::*;
use crate::delta::Delta;
use crate::device::change_table;
use crate::ip::tests::tcp;
use crate::ip::{Family, UDP};
use crate::tun::TunEnd;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gotatun::packet::Packet;
use gotatun::x25519::{PublicKey, StaticSecret};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

mod forwarding;
mod relay;
mod standby;
mod watching;

const MTU: u16 = 1420;

/// A device whose interface is a pair of sockets: the test is the machine behind it.
struct Machine {
    plane: Arc<Plane>,
    inside: OwnedFd,
    paths: Vec<JoinHandle<()>>,
    port: u16,
}

fn secret(number: u8) -> StaticSecret {
    StaticSecret::from([number; 32])
}

fn key(number: u8) -> String {
    STANDARD.encode(PublicKey::from(&secret(number)).as_bytes())
}

impl Machine {
    fn new(number: u8) -> Self {
        Self::of(number, None)
    }

    fn of(number: u8, relay: Option<RelayLimits>) -> Self {
        Self::on(number, 0, relay)
    }

    fn at(number: u8, port: u16) -> Self {
        Self::on(number, port, None)
    }

    fn on(number: u8, port: u16, relay: Option<RelayLimits>) -> Self {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let (inside, outside) =
            socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).expect("a pair");
        let udp = UdpEnd::bind(port, None).expect("a socket");
        let port = udp.port();
        let keys = OwnKeys::new(secret(number), None);
        let plane = Plane::new(
            (End::Tun(TunEnd::of(outside, false)), udp),
            MTU,
            relay,
            keys,
        )
        .expect("a plane");
        let plane = Arc::new(plane);
        let paths = plane.start().expect("threads");
        Self {
            plane,
            inside,
            paths,
            port,
        }
    }

    fn apply(&self, delta: &str) {
        change_table(&self.plane, &Delta::parse(delta).expect("a delta"));
    }

    fn knows(&self, number: u8, allowed: &str, other: &Machine) {
        self.apply(&format!(
            r#"{{"peers":[{{"publicKey":"{}","allowedIps":["{allowed}"],
            "endpoint":"127.0.0.1:{}"}}]}}"#,
            key(number),
            other.port
        ));
    }

    fn send(&self, packet: &[u8]) {
        nix::unistd::write(&self.inside, packet).expect("written");
    }

    /// What comes out of the device in this time.
    fn got(&self, within: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 2000];
        let until = Instant::now() + within;
        while Instant::now() < until {
            match nix::unistd::read(&self.inside, &mut buffer) {
                Ok(length) => return Some(buffer[..length].to_vec()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }

    /// Sends a packet until the other machine has it.
    fn reaches(&self, other: &Machine, packet: &[u8]) {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            self.send(packet);
            if other.got(Duration::from_millis(200)).as_deref() == Some(packet) {
                while other.got(Duration::from_millis(50)).is_some() {}
                return;
            }
        }
        panic!("it never arrived");
    }

    fn seen(&self, number: u8) -> crate::peer::Seen {
        let table = self.plane.current.get();
        let peer = table
            .peer(&PublicKey::from(&secret(number)))
            .expect("a peer");
        peer.seen().expect("a key")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.plane.stop();
        for path in self.paths.drain(..) {
            path.join().expect("no panic");
        }
    }
}

/// From 10.0.0.1 to 10.0.0.2, or back.
fn packet(from: u8, to: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = tcp(Family::V4, 1, 0x10, &[], payload);
    packet[15] = from;
    packet[19] = to;
    packet
}

fn pair() -> (Machine, Machine) {
    let (one, two) = (Machine::new(1), Machine::new(2));
    one.knows(2, "10.0.0.2/32", &two);
    two.knows(1, "10.0.0.1/32", &one);
    (one, two)
}

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn packets_pass_both_ways_without_their_padding() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    two.reaches(&one, &packet(2, 1, &[7; 1300]));
    assert!(one.seen(2).last_handshake.is_some());
    assert!(one.seen(2).received_bytes > 1300);
}

#[test]
fn a_peer_speaks_for_its_own_addresses_only() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"mine"));
    // The sender's own table lets it pass; the receiver knows whose address it is.
    one.send(&packet(9, 2, b"not mine"));
    assert_eq!(two.got(SHORT), None);
    // It is another peer's: no better.
    two.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","allowedIps":["10.0.0.9/32"]}}]}}"#,
        key(9)
    ));
    one.send(&packet(9, 2, b"not mine"));
    assert_eq!(two.got(SHORT), None);
    one.reaches(&two, &packet(1, 2, b"mine"));
}

#[test]
fn an_address_that_moves_is_no_longer_the_first_peers() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"mine"));
    two.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","allowedIps":["10.0.0.1/32"]}}]}}"#,
        key(9)
    ));
    one.send(&packet(1, 2, b"was mine"));
    assert_eq!(two.got(SHORT), None);
}

#[test]
fn what_was_encrypted_for_a_peer_is_not_encrypted_for_it_again() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    one.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","allowedIps":["127.0.0.0/8","10.0.0.2/32"]}}]}}"#,
        key(2)
    ));
    let udp = |from: u16, to: u16| {
        let mut packet = packet(1, 2, b"");
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[127, 0, 0, 1]);
        crate::ip::put16(&mut packet, 20, from);
        crate::ip::put16(&mut packet, 22, to);
        packet
    };
    one.send(&udp(one.port, two.port));
    assert_eq!(two.got(SHORT), None);
    // Another port is another program, which may well speak WireGuard too.
    for passed in [udp(1, two.port), udp(one.port, 1)] {
        one.send(&passed);
        assert_eq!(two.got(Duration::from_secs(5)), Some(passed));
    }
}

#[test]
fn a_connection_offers_no_more_than_fits_through_the_path() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    let offered = |mss: u16| {
        let [high, low] = mss.to_be_bytes();
        tcp(Family::V4, 1, 0x02, &[2, 4, high, low], b"")
    };
    one.send(&offered(1460));
    assert_eq!(two.got(Duration::from_secs(5)), Some(offered(MTU - 40)));
    let narrow = |number: u8| {
        let key = key(number);
        format!(r#"{{"peers":[{{"publicKey":"{key}","mtu":1300}}]}}"#)
    };
    two.apply(&narrow(1));
    one.send(&offered(1460));
    assert_eq!(two.got(Duration::from_secs(5)), Some(offered(1260)));
    one.apply(&narrow(2));
    one.send(&offered(1250));
    assert_eq!(two.got(Duration::from_secs(5)), Some(offered(1250)));
}

#[test]
fn a_removed_peer_is_heard_no_more() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    two.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(1)));
    one.send(&packet(1, 2, b"gone"));
    assert_eq!(two.got(SHORT), None);
    assert!(two.plane.by_index.lock().is_empty());
    two.knows(1, "10.0.0.1/32", &one);
    two.reaches(&one, &packet(2, 1, b"again"));
}

#[test]
fn a_peer_that_moves_is_followed() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"there"));
    let port = one.port;
    drop(one);
    let moved = Machine::new(1);
    assert_ne!(moved.port, port);
    moved.knows(2, "10.0.0.2/32", &two);
    moved.reaches(&two, &packet(1, 2, b"from elsewhere"));
    let endpoint = two.seen(1).endpoint.map(|endpoint| endpoint.port());
    assert_eq!(endpoint, Some(moved.port));
    two.reaches(&moved, &packet(2, 1, b"back"));
}

#[test]
fn a_flood_of_handshakes_is_asked_for_a_cookie() {
    let (one, two) = pair();
    let own = secret(5);
    let limiter = gotatun::noise::rate_limiter::RateLimiter::new(&PublicKey::from(&own), 1);
    let mut stranger = gotatun::noise::Tunn::new(
        own,
        PublicKey::from(&secret(2)),
        None,
        None,
        IndexTable::from_os_rng(),
        Arc::new(limiter),
    );
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a deadline");
    for _ in 0..300 {
        let initiation = stranger.format_handshake_initiation(true).expect("one");
        let bytes: Packet = initiation.into();
        socket
            .send_to(&bytes[..], ("127.0.0.1", two.port))
            .expect("sent");
    }
    let mut answer = [0; 200];
    let length = socket.recv(&mut answer).expect("an answer");
    assert_eq!((length, answer[0]), (64, COOKIE_REPLY));
    one.reaches(&two, &packet(1, 2, b"still"));
}

/// A packet of node 1 to node 2, and one back.
fn both_ways<'a>(
    one: &'a Machine,
    two: &'a Machine,
    round: u32,
) -> [(&'a Machine, &'a Machine, Vec<u8>); 2] {
    let text = round.to_be_bytes();
    [
        (one, two, packet(1, 2, &text)),
        (two, one, packet(2, 1, &text)),
    ]
}

#[test]
fn keys_of_both_sides_change_under_a_flow_that_loses_nothing() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"before"));
    let mut lost = 0;
    let mut round = 0_u32;
    let mut flow = |times: u32| {
        for _ in 0..times {
            round += 1;
            for (from, to, sent) in both_ways(&one, &two, round) {
                from.send(&sent);
                lost += u32::from(to.got(Duration::from_secs(2)).as_deref() != Some(&sent[..]));
            }
        }
    };
    let keys = |private: u8, previous: u8| {
        let text = |number| STANDARD.encode(secret(number).to_bytes());
        let (private, previous) = (text(private), text(previous));
        format!(r#"{{"privateKey":"{private}","previousPrivateKey":"{previous}"}}"#)
    };
    let peer = |new: u8, old: u8| {
        let (new, old) = (key(new), key(old));
        format!(r#"{{"peers":[{{"publicKey":"{new}","previousKey":"{old}"}}]}}"#)
    };
    flow(20);
    two.apply(&peer(3, 1)); // one's next key is known before one has it
    flow(20);
    one.apply(&keys(3, 1));
    flow(20);
    two.apply(&keys(4, 2)); // and two changes while one does not know yet
    flow(20);
    one.apply(&peer(4, 2));
    flow(20);
    let until = Instant::now() + Duration::from_secs(20);
    while (one.seen(4).is_on_previous_key || two.seen(3).is_on_previous_key)
        && Instant::now() < until
    {
        flow(5);
    }
    assert!(!one.seen(4).is_on_previous_key && !two.seen(3).is_on_previous_key);
    one.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(2)));
    two.apply(&format!(r#"{{"removePeers":["{}"]}}"#, key(1)));
    let only = |number| STANDARD.encode(secret(number).to_bytes());
    one.apply(&format!(r#"{{"privateKey":"{}"}}"#, only(3)));
    two.apply(&format!(r#"{{"privateKey":"{}"}}"#, only(4)));
    flow(20);
    assert_eq!(lost, 0);
}

#[test]
fn a_peer_that_nobody_spoke_to_is_not_told_of() {
    let (one, two) = pair();
    let is_told = |machine: &Machine, number: u8| {
        let table = machine.plane.current.get();
        let peer = table.peer(&PublicKey::from(&secret(number)));
        peer.is_some_and(|peer| peer.is_in_use())
    };
    assert!(!is_told(&one, 2) && !is_told(&two, 1));
    one.reaches(&two, &packet(1, 2, b"a word"));
    assert!(is_told(&one, 2) && is_told(&two, 1));
}

#[test]
fn packets_to_a_peer_that_hears_one_key_wait_for_the_next_one() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"before"));
    let text = |number| STANDARD.encode(secret(number).to_bytes());
    let change = |now: u8, before: u8| {
        let keys = [now, before].map(text).join(r#"","previousPrivateKey":""#);
        one.apply(&format!(r#"{{"privateKey":"{keys}"}}"#));
    };
    one.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","hearsOneKey":true}}]}}"#,
        key(2)
    ));
    // It knows the next one: they take as long as a handshake.
    two.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","previousKey":"{}"}}]}}"#,
        key(3),
        key(1)
    ));
    change(3, 1);
    let sent: Vec<_> = (0..20_u8).map(|round| packet(1, 2, &[round])).collect();
    for sent in &sent {
        one.send(sent);
    }
    for sent in &sent {
        assert_eq!(two.got(Duration::from_secs(1)).as_ref(), Some(sent));
    }
    assert!(!one.seen(2).is_on_previous_key);
    // It does not: for some time nothing, then all of them by the one before.
    change(4, 3);
    for sent in &sent {
        one.send(sent);
    }
    assert_eq!(two.got(Duration::from_millis(300)), None);
    for sent in &sent {
        assert_eq!(two.got(Duration::from_secs(5)).as_ref(), Some(sent));
    }
    assert!(one.seen(2).is_on_previous_key);
}

#[test]
fn a_change_of_a_thousand_peers_loses_and_delays_nothing() {
    let (one, two) = pair();
    one.reaches(&two, &packet(1, 2, b"before"));
    let strangers: Vec<_> = (0..1000_u32)
        .map(|number| {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let [_, _, high, low] = number.to_be_bytes();
            (STANDARD.encode(bytes), format!("10.9.{high}.{low}/32"))
        })
        .collect();
    let list = |each: &dyn Fn(&(String, String)) -> String| {
        strangers.iter().map(each).collect::<Vec<_>>().join(",")
    };
    let peers = list(&|(key, ip)| format!(r#"{{"publicKey":"{key}","allowedIps":["{ip}"]}}"#));
    let keys = list(&|(key, _)| format!(r#""{key}""#));
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..3 {
                two.apply(&format!(r#"{{"peers":[{peers}]}}"#));
                two.apply(&format!(r#"{{"removePeers":[{keys}]}}"#));
            }
        });
        for round in 0..2000_u32 {
            let sent = packet(1, 2, &round.to_be_bytes());
            one.send(&sent);
            assert_eq!(two.got(Duration::from_secs(5)), Some(sent));
            if changes.is_finished() {
                break;
            }
        }
        changes.join().expect("no panic");
    });
    let mut left = 0;
    two.plane.current.get().for_each(|_, _| left += 1);
    assert_eq!(left, 1);
}

#[test]
fn a_peer_that_is_kept_alive_is_called_without_a_packet() {
    let (one, two) = (Machine::new(1), Machine::new(2));
    two.knows(1, "10.0.0.1/32", &one);
    one.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{}","endpoint":"127.0.0.1:{}","keepaliveS":1}}]}}"#,
        key(2),
        two.port
    ));
    let until = Instant::now() + Duration::from_secs(20);
    while one.seen(2).last_handshake.is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(one.seen(2).last_handshake.is_some());
}

#[test]
fn who_began_before_it_was_known_does_not_wait_to_begin_again() {
    let (one, two) = (Machine::new(1), Machine::new(2));
    one.knows(2, "10.0.0.2/32", &two);
    one.send(&packet(1, 2, b"too early"));
    assert_eq!(two.got(SHORT), None);
    two.knows(1, "10.0.0.1/32", &one);
    let until = Instant::now() + Duration::from_secs(3); // of the five until it begins again
    while one.seen(2).last_handshake.is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(one.seen(2).last_handshake.is_some());
    one.send(&packet(1, 2, b"there"));
    assert!(two.got(Duration::from_secs(1)).is_some());
}

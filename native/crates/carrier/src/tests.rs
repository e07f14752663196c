//! Whole carriers between two devices that are sockets of the test.

use crate::{Carriers, Event, Options, Way};
use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{Id, PKey, Private};
use boring::x509::{X509, X509Name};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const TARGET: &str = "127.0.0.1:51820";

/// With room for everything.
pub fn options() -> Options {
    Options {
        key: String::new(),
        certificate: String::new(),
        device: "127.0.0.1:1".parse().unwrap(),
        targets: vec![TARGET.parse().unwrap()],
        carriers_max: 16,
        handshakes_max: 16,
        handshakes_per_address_max: 16,
        retry_from: 16,
        opening_timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        silence_ms: 30_000,
        ping_ms: 3_000,
        deaf_ms: 10_000,
        queue_bytes_max: 1024 * 1024,
        queue_packets_max: 1024,
        packet_bytes_max: 4_200,
        window_bytes_max: 4 * 1024 * 1024,
    }
}

/// Around a key, signed by another one: BoringSSL's binding signs nothing with Ed25519.
fn certificate(key: &PKey<Private>) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "somebody").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let (past, future) = (Asn1Time::from_unix(0), Asn1Time::days_from_now(1));
    builder.set_not_before(&past.unwrap()).unwrap();
    builder.set_not_after(&future.unwrap()).unwrap();
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let signer = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    builder.sign(&signer, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A node: its carriers, its device, and what it heard.
pub struct Node {
    key: PKey<Private>,
    pub carriers: Carriers,
    pub device: UdpSocket,
    woken: Receiver<()>,
    heard: Vec<Event>,
}

impl Node {
    pub fn new(change: impl FnOnce(&mut Options)) -> Node {
        Node::with(PKey::generate(Id::ED25519).unwrap(), change)
    }

    fn with(key: PKey<Private>, change: impl FnOnce(&mut Options)) -> Node {
        let device = UdpSocket::bind("127.0.0.1:0").unwrap();
        device.set_read_timeout(Some(PATIENCE)).unwrap();
        let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut options = Options {
            key: pem(key.private_key_to_pem_pkcs8().unwrap()),
            certificate: pem(certificate(&key).to_pem().unwrap()),
            device: device.local_addr().unwrap(),
            ..options()
        };
        change(&mut options);
        let (wake, woken) = channel();
        let wake = Box::new(move || wake.send(()).unwrap_or_default());
        Node {
            key,
            carriers: Carriers::with(options, wake).unwrap(),
            device,
            woken,
            heard: Vec::new(),
        }
    }

    pub fn identity(&self) -> [u8; 32] {
        let mut raw = [0; 32];
        self.key.raw_public_key(&mut raw).unwrap();
        raw
    }

    fn connect(&self, to: SocketAddr, relay: &Node) -> u32 {
        self.connect_in(Way::H3, to, relay)
    }

    pub fn connect_in(&self, way: Way, to: SocketAddr, relay: &Node) -> u32 {
        let target = TARGET.parse().unwrap();
        self.carriers.connect(way, to, target, relay.identity())
    }

    /// The first event that is meant, whatever else happens.
    pub fn wait<T>(&mut self, meant: impl Fn(&Event) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.iter().position(|event| meant(event).is_some()) {
                return meant(&self.heard.remove(at)).unwrap();
            }
            let left = end.saturating_duration_since(Instant::now());
            self.woken
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{:?}", self.heard));
            self.heard.extend(self.carriers.take());
        }
    }

    /// Lets the next one in that asks, whoever it is.
    pub fn admit(&mut self) -> (u32, [u8; 32]) {
        let (carrier, identity) = self.wait(|event| match event {
            Event::Asks {
                carrier, identity, ..
            } => Some((*carrier, *identity)),
            _ => None,
        });
        self.carriers.admit(carrier, true);
        (carrier, identity)
    }

    /// Where the device finds the other end of a carrier.
    pub fn opened(&mut self, number: u32) -> SocketAddr {
        self.wait(|event| match event {
            Event::Opened {
                carrier, endpoint, ..
            } => (*carrier == number).then_some(*endpoint),
            _ => None,
        })
    }

    pub fn ended(&mut self, number: u32) -> String {
        self.wait(|event| match event {
            Event::Ended {
                carrier, reason, ..
            } => (*carrier == number).then(|| reason.clone()),
            _ => None,
        })
    }

    pub fn got(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 8192];
        let (length, from) = self.device.recv_from(&mut buffer).unwrap();
        (buffer[..length].to_vec(), from)
    }
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A relay, where it listens, and a node that it carries: number and endpoint of the carrier there.
fn pair(change: impl FnOnce(&mut Options)) -> (Node, SocketAddr, Node, (u32, SocketAddr)) {
    let (mut relay, mut node) = (Node::new(change), Node::new(|_| {}));
    let to = local(relay.carriers.serve(Way::H3, 0).unwrap());
    let number = node.connect(to, &relay);
    assert_eq!(relay.admit().1, node.identity());
    let endpoint = node.opened(number);
    (relay, to, node, (number, endpoint))
}

/// Packets of some lengths go there and back.
pub fn exchange(node: &Node, relay: &Node, endpoint: SocketAddr) {
    for length in [1, 148, 1200, 1420, 1452, 4000] {
        let packet = vec![u8::try_from(length % 251).unwrap(); length];
        node.device.send_to(&packet, endpoint).unwrap();
        let (got, from) = relay.got();
        assert_eq!(got, packet);
        assert!(from.to_string().starts_with("127.77."));
        relay.device.send_to(&packet, from).unwrap();
        assert_eq!(node.got(), (packet, endpoint));
    }
}

#[test]
fn packets_of_any_length_pass_both_ways() {
    let (relay, _, node, (_, endpoint)) = pair(|_| {});
    exchange(&node, &relay, endpoint);
}

#[test]
fn a_client_proves_its_address_where_many_come() {
    let (relay, _, node, (_, endpoint)) = pair(|options| options.retry_from = 0);
    exchange(&node, &relay, endpoint);
}

#[test]
fn nobody_comes_in_beyond_the_number() {
    let (mut relay, to, mut node, _) = pair(|options| options.carriers_max = 1);
    let mut other = Node::new(|options| options.connect_timeout_ms = 300);
    let number = other.connect(to, &relay);
    assert_eq!(other.ended(number), "no answer in time");
    // Its place is free again.
    node.carriers.close();
    relay.wait(|event| matches!(event, Event::Ended { .. }).then_some(()));
    let mut next = Node::new(|_| {});
    let number = next.connect(to, &relay);
    relay.admit();
    next.opened(number);
    drop(node.heard.drain(..));
}

#[test]
fn who_is_refused_is_told_and_who_is_not_answered_is_not_let_in() {
    let mut relay = Node::new(|options| options.opening_timeout_ms = 300);
    let to = local(relay.carriers.serve(Way::H3, 0).unwrap());
    let mut node = Node::new(|_| {});
    let number = node.connect(to, &relay);
    let asked = relay.wait(|event| match event {
        Event::Asks { carrier, .. } => Some(*carrier),
        _ => None,
    });
    relay.carriers.admit(asked, false);
    assert_eq!(node.ended(number), "it answers 403");
    assert_eq!(relay.ended(asked), "it is no member of the mesh");
    let number = node.connect(to, &relay);
    let reason = node.ended(number);
    assert!(reason.contains("not let in in time"), "{reason}");
}

#[test]
fn a_relay_that_is_somebody_else_is_not_used() {
    let (relay, to, mut node, _) = pair(|_| {});
    let other = Node::new(|_| {});
    let number = node.connect(to, &other);
    assert_eq!(node.ended(number), "it is somebody else");
    drop(relay);
}

#[test]
fn another_target_than_its_device_is_refused() {
    let mut relay = Node::new(|options| options.targets = vec!["192.0.2.1:1".parse().unwrap()]);
    let to = local(relay.carriers.serve(Way::H3, 0).unwrap());
    let mut node = Node::new(|_| {});
    let number = node.connect(to, &relay);
    assert_eq!(node.ended(number), "it answers 403");
    relay.heard.extend(relay.carriers.take());
    assert_eq!(relay.heard, []);
}

#[test]
fn an_end_is_told_to_the_other_one() {
    let (mut relay, to, mut node, (number, _)) = pair(|_| {});
    node.carriers.end(number);
    assert_eq!(node.ended(number), "ended here");
    let reason = relay.wait(|event| match event {
        Event::Ended { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(reason.contains("ended here"), "{reason}");
    let number = node.connect(to, &relay);
    let (served, _) = relay.admit();
    node.opened(number);
    relay.carriers.end(served);
    assert!(node.ended(number).contains("ended here"));
}

#[test]
fn a_relay_that_was_killed_and_started_again_resets_what_it_served() {
    let (relay, to, mut node, (number, endpoint)) = pair(|_| {});
    exchange(&node, &relay, endpoint);
    // As if it were killed: what it says at its end goes nowhere.
    let wall = Wall::between(to);
    let through = node.connect(wall.place, &relay);
    let mut relay = relay;
    relay.admit();
    let endpoint = node.opened(through);
    wall.is_closed
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let key = relay.key.clone();
    drop(relay);
    assert!(node.ended(number).contains("ended here"));
    let again = Node::with(key, |_| {});
    assert_eq!(again.carriers.serve(Way::H3, to.port()).unwrap(), to.port());
    wall.is_closed
        .store(false, std::sync::atomic::Ordering::Relaxed);
    node.device.send_to(&[7; 100], endpoint).unwrap();
    assert_eq!(
        node.ended(through),
        "the other end does not know it any more"
    );
}

#[test]
fn a_client_behind_a_nat_that_gives_it_another_port_goes_on() {
    let (mut relay, to, mut node, _) = pair(|_| {});
    let wall = Wall::between(to);
    let number = node.connect(wall.place, &relay);
    let (served, _) = relay.admit();
    let endpoint = node.opened(number);
    exchange(&node, &relay, endpoint);
    for _ in 0..3 {
        wall.rebind
            .store(true, std::sync::atomic::Ordering::Relaxed);
        exchange(&node, &relay, endpoint);
        relay.wait(|event| match event {
            Event::Moved { carrier, .. } => (*carrier == served).then_some(()),
            _ => None,
        });
    }
}

#[test]
fn a_path_that_goes_dark_is_noticed_without_traffic() {
    let mut relay = Node::new(|_| {});
    let to = local(relay.carriers.serve(Way::H3, 0).unwrap());
    let mut node = Node::new(|options| (options.ping_ms, options.deaf_ms) = (50, 2_000));
    let wall = Wall::between(to);
    let number = node.connect(wall.place, &relay);
    relay.admit();
    let endpoint = node.opened(number);
    exchange(&node, &relay, endpoint);
    wall.is_closed
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(node.ended(number), "the other end answers no more");
}

#[test]
fn a_carrier_that_nobody_uses_stays() {
    let mut relay = Node::new(|options| options.silence_ms = 1_500);
    let to = local(relay.carriers.serve(Way::H3, 0).unwrap());
    let mut node = Node::new(|options| (options.ping_ms, options.deaf_ms) = (100, 5_000));
    let wall = Wall::between(to);
    let number = node.connect(wall.place, &relay);
    relay.admit();
    let endpoint = node.opened(number);
    // Nothing but these pass by and by: for longer than either end would have waited.
    let begin = wall.passed.load(std::sync::atomic::Ordering::Relaxed);
    let end = Instant::now() + PATIENCE;
    while wall.passed.load(std::sync::atomic::Ordering::Relaxed) < begin + 25 {
        assert!(Instant::now() < end);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    exchange(&node, &relay, endpoint);
    let heard = [node.carriers.take(), relay.carriers.take()].concat();
    let is_end = |event: &Event| matches!(event, Event::Ended { .. });
    assert!(!heard.iter().any(is_end), "{heard:?}");
}

/// A NAT between one client and a relay.
struct Wall {
    place: SocketAddr,
    is_closed: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// Takes another port with the client's next packet.
    rebind: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// The client's packets.
    passed: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Wall {
    fn between(to: SocketAddr) -> Wall {
        use std::sync::atomic::Ordering::Relaxed;
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let wall = Wall {
            place: inside.local_addr().unwrap(),
            is_closed: std::sync::Arc::default(),
            rebind: std::sync::Arc::default(),
            passed: std::sync::Arc::default(),
        };
        let (is_closed, rebind) = (wall.is_closed.clone(), wall.rebind.clone());
        let passed = wall.passed.clone();
        // Both end with the test's process.
        std::thread::spawn(move || {
            let mut outside: Option<UdpSocket> = None;
            let mut buffer = [0; 65_536];
            loop {
                let (length, client) = inside.recv_from(&mut buffer).unwrap();
                if is_closed.load(Relaxed) {
                    continue;
                }
                passed.fetch_add(1, Relaxed);
                if outside.is_none() || rebind.swap(false, Relaxed) {
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    let (from, back) = (socket.try_clone().unwrap(), inside.try_clone().unwrap());
                    let is_closed = is_closed.clone();
                    std::thread::spawn(move || {
                        let mut buffer = [0; 65_536];
                        while let Ok(length) = from.recv(&mut buffer) {
                            if !is_closed.load(Relaxed) {
                                back.send_to(&buffer[..length], client).unwrap();
                            }
                        }
                    });
                    outside = Some(socket);
                }
                outside
                    .as_ref()
                    .unwrap()
                    .send_to(&buffer[..length], to)
                    .unwrap();
            }
        });
        wall
    }
}

#[test]
fn what_is_wrong_with_options_is_said() {
    let said = |text: &str| {
        Carriers::new(text, Box::new(|| {}))
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(said("{}").contains("missing field"));
    assert!(said("x").contains("options"));
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let (relay, to, node, _) = pair(|_| {});
    assert!(node.carriers.serve(Way::H3, to.port()).is_err());
    drop(relay);
    assert!(node.carriers.serve(Way::H3, to.port()).is_ok());
}

//! The front over real sockets. Certificates are made here; nobody looks at their signatures, so
//! one around an Ed25519 key is signed by another key.

use crate::{Event, Front, Request, Then};
use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{Id, PKey, Private};
use boring::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use boring::x509::{X509, X509Name};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT_MS: u64 = 300;
const LONG_MS: u64 = 20_000;

fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

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
    builder.sign(&p256(), MessageDigest::sha256()).unwrap();
    builder.build()
}

/// A front and what happens there.
struct House {
    front: Front,
    woken: Receiver<()>,
}

impl House {
    /// With other options than usual.
    fn new(other: Value) -> House {
        let (wake, woken) = channel();
        let wake = Box::new(move || wake.send(()).unwrap_or_default());
        let front = Front::new(&House::options(&other).to_string(), wake).unwrap();
        House { front, woken }
    }

    fn options(other: &Value) -> Value {
        let key = p256();
        let pem = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut options = json!({
            "address": "127.0.0.1:0",
            "key": pem(key.private_key_to_pem_pkcs8().unwrap()),
            "certificate": pem(certificate(&key).to_pem().unwrap()),
            "ticketKeys": vec![7; 48],
            "curves": "X25519:P-256",
            "backlogMax": 16,
            "connectionsMax": 100,
            "handshakeTimeoutMs": LONG_MS,
            "requestTimeoutMs": LONG_MS,
            "idleTimeoutMs": LONG_MS,
            "stallTimeoutMs": LONG_MS,
            "requestHeadBytesMax": 1000,
            "requestHeadersMax": 10,
            "requestBytesMax": 1000,
            "streamQueueBytesMax": 100_000,
        });
        let others = other.as_object().unwrap().clone();
        options.as_object_mut().unwrap().extend(others);
        options
    }

    fn next(&self) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.front.take(1).pop() {
                return event;
            }
            let left = end.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).unwrap();
        }
    }

    fn asked(&self) -> Request {
        match self.next() {
            Event::Asked(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, request: &Request, then: Then) {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        self.front
            .answer(request.connection, Bytes::from_static(answer), then);
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.front.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn client(&self) -> Client {
        Client::new(self, None)
    }
}

struct Client(SslStream<TcpStream>);

impl Client {
    fn new(house: &House, key: Option<&PKey<Private>>) -> Client {
        let mut builder = SslConnector::builder(SslMethod::tls()).unwrap();
        builder.set_verify(SslVerifyMode::NONE);
        if let Some(key) = key {
            builder.set_certificate(&certificate(key)).unwrap();
            builder.set_private_key(key).unwrap();
        }
        Client(builder.build().connect("front.test", house.tcp()).unwrap())
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// What comes until `end`; when that is empty, until the other end closes.
    fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        let mut byte = [0];
        while end.is_empty() || !heard.ends_with(end.as_bytes()) {
            match self.0.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => heard.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("silence"),
                Err(_) => break,
            }
        }
        String::from_utf8(heard).unwrap()
    }
}

/// Whether the other end closes without a word, neither at once nor late.
fn is_cut_after(ms: u64, mut stream: impl Read) -> bool {
    let began = Instant::now();
    let mut heard = [0; 64];
    let is_closed = match stream.read(&mut heard) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    is_closed && began.elapsed() >= Duration::from_millis(ms) && began.elapsed() < PATIENCE
}

const GET: &str = "GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn who_asks_is_known_by_an_ed25519_key_and_by_nothing_else() {
    let house = House::new(json!({}));
    let node = PKey::generate(Id::ED25519).unwrap();
    let mut raw = [0; 32];
    node.raw_public_key(&mut raw).unwrap();
    let other = p256();
    for (key, identity) in [(Some(&node), Some(raw)), (Some(&other), None), (None, None)] {
        let mut client = Client::new(&house, key);
        client.say(GET);
        let asked = house.asked();
        assert_eq!(asked.identity, identity);
        assert_eq!(asked.target, b"/a?b=c");
        assert!(asked.address.is_loopback());
        house.answer(&asked, Then::Close);
        assert!(client.hear("").ends_with("\r\n\r\nok"));
    }
}

#[test]
fn bodies_come_whole_and_requests_one_after_the_other() {
    let house = House::new(json!({}));
    let mut client = house.client();
    let post = "POST / HTTP/1.1\r\nhost: x\r\n";
    client.say(&format!("{post}content-length: 4\r\n\r\nbody{GET}"));
    let asked = house.asked();
    assert_eq!(&asked.body[..], b"body");
    assert!(house.front.take(1).is_empty(), "the next one waits");
    house.answer(&asked, Then::Keep);
    let asked = house.asked();
    assert_eq!(&asked.method[..], b"GET");
    house.answer(&asked, Then::Keep);
    client.hear("ok");
    client.hear("ok");
    client.say(&format!(
        "{post}transfer-encoding: chunked\r\n\r\n2\r\nbo\r\n"
    ));
    client.say("2\r\ndy\r\n0\r\n\r\n");
    let asked = house.asked();
    assert_eq!(&asked.body[..], b"body");
    house.answer(&asked, Then::Keep);
    client.hear("ok");
    let expecting = "expect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    client.say(&format!("{post}{expecting}"));
    assert!(client.hear("\r\n\r\n").starts_with("HTTP/1.1 100 "));
    client.say("body");
    assert_eq!(&house.asked().body[..], b"body");
}

#[test]
fn what_is_too_large_or_unclear_is_refused_and_asked_of_nobody() {
    let house = House::new(json!({}));
    let long = "x".repeat(1001);
    let head = "POST / HTTP/1.1\r\nhost: x\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let cases = [
        (format!("{head}a: {long}\r\n\r\n"), 431),
        (format!("{head}{}\r\n", "a: b\r\n".repeat(10)), 431),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 414),
        (format!("{head}content-length: 1001\r\n\r\n{long}"), 413),
        (
            format!("{head}{chunked}\r\n3e9\r\n{long}\r\n0\r\n\r\n"),
            413,
        ),
        (
            format!("{head}content-length: 1\r\n{chunked}\r\n0\r\n\r\n"),
            400,
        ),
        (
            "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n".to_owned(),
            400,
        ),
        ("GET / HTTP/3.0\r\nhost: x\r\n\r\n".to_owned(), 505),
        (
            format!("{head}expect: more\r\ncontent-length: 1\r\n\r\n"),
            417,
        ),
    ];
    for (text, status) in cases {
        let mut client = house.client();
        client.say(&text);
        let heard = client.hear("");
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status} ")),
            "{text}: {heard}"
        );
        assert!(house.front.take(1).is_empty());
    }
}

#[test]
fn nobody_is_waited_for_longer_than_the_options_say() {
    let house = House::new(json!({ "handshakeTimeoutMs": SHORT_MS }));
    assert!(is_cut_after(SHORT_MS, house.tcp()), "no handshake");

    let house = House::new(json!({ "requestTimeoutMs": SHORT_MS }));
    assert!(is_cut_after(SHORT_MS, house.client().0), "no request");
    let mut client = house.client();
    client.say("GET / HTTP/1.1\r\n");
    assert!(client.hear("").starts_with("HTTP/1.1 408 "), "half a head");
    let mut client = house.client();
    client.say("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    assert!(client.hear("").starts_with("HTTP/1.1 408 "), "half a body");

    let house = House::new(json!({ "idleTimeoutMs": SHORT_MS }));
    let mut client = house.client();
    client.say(GET);
    house.answer(&house.asked(), Then::Keep);
    client.hear("ok");
    assert!(is_cut_after(SHORT_MS / 2, client.0), "no next request");
}

#[test]
fn connections_beyond_their_number_are_closed() {
    let house = House::new(json!({ "connectionsMax": 1 }));
    let mut client = house.client();
    assert!(is_cut_after(0, house.tcp()));
    client.say(GET);
    house.answer(&house.asked(), Then::Close);
    assert!(client.hear("").ends_with("ok"));
    drop(client);
    // Its place is free again, soon.
    let end = Instant::now() + PATIENCE;
    while is_cut_after(0, Quick(house.tcp())) {
        assert!(Instant::now() < end);
    }
}

/// Is not cut when it hears nothing for a moment.
struct Quick(TcpStream);

impl Read for Quick {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let moment = Duration::from_millis(50);
        self.0.set_read_timeout(Some(moment)).unwrap();
        self.0.read(to)
    }
}

/// A client that is told things, and its number.
fn told(house: &House, request: &str) -> (Client, u32) {
    let mut client = house.client();
    client.say(request);
    let number = house.asked().connection;
    let head = Bytes::from_static(b"HTTP/1.1 200 OK\r\nx: y\r\n");
    house.front.open(number, head);
    client.hear("\r\n\r\n");
    (client, number)
}

#[test]
fn each_is_told_its_own_and_what_all_are_told() {
    let house = House::new(json!({}));
    let (mut one, first) = told(&house, GET);
    let (mut other, second) = told(&house, "GET / HTTP/1.0\r\n\r\n");
    let to = [(first, "a: "), (second, ""), (999_999, "nobody")];
    let to = to.map(|(number, own)| (number, Bytes::from_static(own.as_bytes())));
    let shared = Bytes::from_static(b"news");
    assert!(house.front.tell(to.into_iter(), &shared).is_empty());
    assert_eq!(one.hear("news\r\n"), "7\r\na: news\r\n");
    drop(one);
    assert_eq!(other.hear("news"), "news");
    assert!(matches!(house.next(), Event::Gone(number) if number == first));
    house.front.end(second);
    assert_eq!(other.hear(""), "");
    assert!(matches!(house.next(), Event::Gone(number) if number == second));
}

#[test]
fn who_reads_slowly_is_told_of_once_and_when_everything_is_read() {
    let house = House::new(json!({}));
    let (mut client, number) = told(&house, GET);
    let much = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    let tell = || {
        house
            .front
            .tell([(number, Bytes::new())].into_iter(), &much)
    };
    assert_eq!(tell(), [number]);
    house.front.end(number);
    let heard = client.hear("");
    assert!(heard.starts_with("800000\r\nxxx") && heard.ends_with("xxx\r\n0\r\n\r\n"));
    assert!(matches!(house.next(), Event::Drained(drained) if drained == number));
    assert!(matches!(house.next(), Event::Gone(gone) if gone == number));
}

#[test]
fn who_takes_nothing_goes() {
    let house = House::new(json!({ "stallTimeoutMs": SHORT_MS }));
    let (_client, number) = told(&house, GET);
    let much = Bytes::from(vec![b'x'; 64 * 1024 * 1024]);
    house
        .front
        .tell([(number, Bytes::new())].into_iter(), &much);
    assert!(matches!(house.next(), Event::Gone(gone) if gone == number));
}

#[test]
fn who_is_told_things_has_nothing_to_say() {
    let house = House::new(json!({}));
    let (mut client, number) = told(&house, GET);
    client.say(GET);
    assert_eq!(client.hear(""), "");
    assert!(matches!(house.next(), Event::Gone(gone) if gone == number));
}

#[test]
fn an_end_is_told_and_frees_the_port() {
    let house = House::new(json!({}));
    let address = house.front.address();
    let (mut client, _) = told(&house, GET);
    let mut idle = house.client();
    idle.say(GET);
    house.answer(&house.asked(), Then::Keep);
    idle.hear("ok");
    house.front.close();
    assert_eq!(idle.hear(""), "");
    assert_eq!(client.hear(""), "0\r\n\r\n");
    drop(std::net::TcpListener::bind(address).unwrap());
}

#[test]
fn wrong_options_make_no_front() {
    for (name, value) in [
        ("key", json!("nothing")),
        ("ticketKeys", json!([1, 2])),
        ("curves", json!("none")),
        ("other", json!(1)),
    ] {
        let options = House::options(&json!({ name: value }));
        assert!(
            Front::new(&options.to_string(), Box::new(|| ())).is_err(),
            "{name}"
        );
    }
}

//! An edge of one wire thread and one worker, and a client, for the tests of HTTP/3.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::listen;
use crate::config::{CertificateConfig, CertificateSet, WireConfig, WireLimits};
use crate::port::{Port, Taken};
use crate::shared::Shared;
use crate::thread::{WireThread, pump};
use boring::asn1::Asn1Time;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::PKey;
use boring::x509::{X509, X509NameBuilder};
use quiche::h3::{self, Event, Header, NameValue};
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) const BIG_BYTES: usize = 5 * 1024 * 1024;

fn certificate(name: &str, is_default: bool) -> CertificateConfig {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    CertificateConfig {
        chain: String::from_utf8(builder.build().to_pem().unwrap()).unwrap(),
        key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        id: None,
        names: vec![name.to_owned()],
        is_default,
    }
}

/// The limits of the tests.
pub(crate) fn limits() -> WireLimits {
    config().limits
}

pub(crate) fn config() -> WireConfig {
    serde_json::from_value(serde_json::json!({
        "threads": 1, "workers": 1, "listeners": [], "healthPath": "/_health",
        "errors": [{ "code": "HEADER_TOO_LARGE", "status": 431, "headers": [], "body": "large\n" }],
        "limits": {
            "headerBytesMax": 8192, "headerLineBytesMax": 4096, "headerCountMax": 20,
            "headerTimeoutMs": 2000, "handshakeTimeoutMs": 1000,
            "keepAliveIdleTimeoutMs": 5000, "bodyIdleTimeoutMs": 10_000,
            "requestsPerConnectionMax": 0, "connectionsMax": 200, "h2StreamsMax": 100,
            "quicStreamsMax": 100, "quicIdleTimeoutMs": 5000,
            "inspectedBodiesBytesMax": 100_000_000, "workerQueueMax": 1000,
            "workerWaitTimeoutMs": 5000, "upstreamIdleTimeoutMs": 1000,
            "upstreamIdleConnectionsMax": 1,
            "trailerCountMax": 16, "trailerBytesMax": 8192, "bodyRateBytesMin": 0,
            "bodyRateGraceMs": 10000, "connectionAgeMaxMs": 3_600_000,
            "connectionsPerAddressMax": 200, "connectionBytesMax": 1_048_576,
            "pressurePercent": 80, "keepAliveIdleTimeoutUnderPressureMs": 5000,
            "streamsMaxUnderPressure": 20, "h2StreamWindowBytes": 65536,
            "h2ConnectionWindowBytes": 1_048_576, "streamResetsMax": 200,
            "streamResetsPerSecond": 20, "controlFramesMax": 500, "controlFramesPerSecond": 50,
            "quicRetryFrom": 100, "quicHandshakesMax": 4096, "quicHandshakesPerAddressMax": 200
        }
    }))
    .unwrap()
}

pub(super) struct Edge {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

impl Edge {
    /// A number of the QUIC counters.
    pub fn counted(&self, name: &str) -> u64 {
        let stats: serde_json::Value =
            serde_json::from_str(&self.shared.stats.json(0, 0, 0)).unwrap();
        stats["quic"][name].as_u64().unwrap_or(0)
    }

    /// Whether anything was refused with the code of that name.
    pub fn refused(&self, code: &str) -> bool {
        let stats: serde_json::Value =
            serde_json::from_str(&self.shared.stats.json(0, 0, 0)).unwrap();
        stats["refusals"][code].as_u64().unwrap_or(0) > 0
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One wire thread with one listener, and one worker that answers by path.
pub(super) fn edge() -> Edge {
    edge_of(config(), vec![UdpSocket::bind("127.0.0.1:0").unwrap()])
}

/// An edge with other limits than those of the tests.
pub(super) fn limited_edge(change: impl FnOnce(&mut WireConfig)) -> Edge {
    let mut config = config();
    change(&mut config);
    edge_of(config, vec![UdpSocket::bind("127.0.0.1:0").unwrap()])
}

/// An edge of so many threads on `address`, which other edges may share.
pub(super) fn shared_edge(address: &str, threads: usize) -> Edge {
    let mut config = config();
    config.threads = threads;
    // Dozens of clients take turns: none must be idle for too long on a busy machine.
    config.limits.keep_alive_idle_timeout_ms = 60_000;
    config.limits.quic_idle_timeout_ms = 60_000;
    let mut address: SocketAddr = address.parse().unwrap();
    let mut sockets = Vec::new();
    for _ in 0..threads {
        let kind = socket2::Type::DGRAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        let socket = UdpSocket::from(socket);
        address = socket.local_addr().unwrap();
        sockets.push(socket);
    }
    edge_of(config, sockets)
}

/// One thread for each socket.
fn edge_of(config: WireConfig, sockets: Vec<UdpSocket>) -> Edge {
    let shared = Arc::new(Shared::new(config));
    let certificates = vec![
        certificate("one.test", true),
        certificate("two.test", false),
    ];
    shared.tls.set(&CertificateSet { certificates }).unwrap();
    shared.set_health(1);
    let address = sockets[0].local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    for (index, socket) in sockets.into_iter().enumerate() {
        let (wire, stopped) = (shared.clone(), stop.clone());
        std::thread::spawn(move || serve_socket(index, wire, socket, &stopped));
    }
    let port = shared.hub.attach(0, Arc::new(|| {})).unwrap();
    let stopped = stop.clone();
    std::thread::spawn(move || work(port, &stopped));
    Edge {
        address,
        shared,
        stop,
    }
}

fn serve_socket(index: usize, wire: Arc<Shared>, socket: UdpSocket, stopped: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let outbox = wire.hub.outboxes[index].clone();
        let thread = WireThread::new(index, wire);
        tokio::task::spawn_local(pump(outbox));
        let on = thread.clone();
        tokio::task::spawn_local(async move { on.timers.clone().run().await });
        let server = tokio::task::spawn_local(listen(thread, 7, socket));
        while !stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server.abort();
    });
}

/// A worker: `/echo` reads the body and answers with it, `/big` answers 5 MiB, `/facts` answers
/// what the connection is known by, the rest `hello`.
fn work(mut port: Port, stop: &AtomicBool) {
    let mut out = vec![0; 1 << 20];
    while !stop.load(Ordering::Relaxed) {
        let Taken::Written(bytes) = port.take(&mut out) else {
            panic!("records too large")
        };
        if bytes == 0 {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let word = |at: usize| u32::from_le_bytes(out[at * 4..at * 4 + 4].try_into().unwrap());
        let (words, mut at, mut plans) = (2 + word(0) as usize, 2, Vec::new());
        while at < words {
            let (kind, handle) = (word(at), word(at + 1));
            let path = |port: &Port| port.exchange(handle).unwrap().head.path.to_vec();
            at += match kind {
                1 => 17 + 2 * word(at + 16) as usize,
                2 => 4,
                3 => 15,
                6 => 8,
                other => panic!("record {other}"),
            };
            match kind {
                1 if path(&port) == b"/echo" => {
                    plans.push(2);
                    plans.extend_from_slice(&handle.to_le_bytes());
                    plans.extend_from_slice(&1_000_000u32.to_le_bytes());
                }
                1 | 2 => {
                    let exchange = port.exchange(handle).unwrap();
                    let facts = &exchange.connection;
                    let body = match exchange.head.path.as_ref() {
                        b"/echo" => exchange.body.get().unwrap().to_vec(),
                        b"/big" => vec![b'x'; BIG_BYTES],
                        b"/early" => exchange.head.early.to_string().into_bytes(),
                        b"/facts" => format!(
                            "{} {} {} {}",
                            facts.listener,
                            facts.peer_text.escape_ascii(),
                            facts.sni.escape_ascii(),
                            facts.certificate
                        )
                        .into_bytes(),
                        _ => b"hello".to_vec(),
                    };
                    plans.push(1);
                    plans.extend_from_slice(&handle.to_le_bytes());
                    plans.extend_from_slice(&[200, 0, 0, 0, 0]);
                    plans.extend_from_slice(&(body.len() as u32).to_le_bytes());
                    plans.extend_from_slice(&body);
                }
                3 => {
                    plans.push(6);
                    plans.extend_from_slice(&handle.to_le_bytes());
                }
                _ => {}
            }
        }
        port.answer(&plans).unwrap();
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Answer {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    done: bool,
    pub reset: Option<u64>,
}

pub(super) struct Client {
    socket: UdpSocket,
    /// What quiche believes the socket's address to be: a NAT tells nobody.
    local: SocketAddr,
    address: SocketAddr,
    pub quic: quiche::Connection,
    h3: Option<h3::Connection>,
    pub answers: BTreeMap<u64, Answer>,
    pub goaway: bool,
}

impl Client {
    pub fn connect(address: SocketAddr, name: &str) -> Client {
        Client::resume(address, name, None)
    }

    /// Connects, with the session of an earlier connection.
    pub fn resume(address: SocketAddr, name: &str, session: Option<&[u8]>) -> Client {
        let mut client = Client::begin(address, name, session);
        client.until(|client| client.quic.is_established());
        client.start_h3();
        client
    }

    pub fn start_h3(&mut self) {
        let settings = h3::Config::new().unwrap();
        self.h3 = Some(h3::Connection::with_transport(&mut self.quic, &settings).unwrap());
    }

    /// A connection whose handshake has not begun.
    pub fn begin(address: SocketAddr, name: &str, session: Option<&[u8]>) -> Client {
        let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).unwrap();
        config.verify_peer(false);
        config
            .set_application_protos(h3::APPLICATION_PROTOCOL)
            .unwrap();
        config.set_max_idle_timeout(60_000);
        config.set_max_recv_udp_payload_size(1500);
        config.set_initial_max_data(10_000_000);
        config.set_initial_max_stream_data_bidi_local(1_000_000);
        config.set_initial_max_stream_data_uni(1_000_000);
        config.set_initial_max_streams_uni(10);
        config.set_active_connection_id_limit(4);
        if session.is_some() {
            config.enable_early_data();
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let id = super::cid::Cid::new(&super::cid::random::<16>().unwrap()).unwrap();
        let local = socket.local_addr().unwrap();
        let mut quic = quiche::connect(Some(name), &id.id(), local, address, &mut config).unwrap();
        if let Some(session) = session {
            quic.set_session(session).unwrap();
        }
        Client {
            socket,
            local,
            address,
            quic,
            h3: None,
            answers: BTreeMap::new(),
            goaway: false,
        }
    }

    /// A NAT gives the client another port, without a word.
    pub fn rebind(&mut self) {
        self.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        self.socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .unwrap();
    }

    /// The client itself goes to another port.
    pub fn migrate(&mut self) {
        self.rebind();
        self.local = self.socket.local_addr().unwrap();
        let own = super::cid::Cid::new(&super::cid::random::<16>().unwrap()).unwrap();
        self.quic.new_scid(&own.id(), 1, true).unwrap();
        self.quic.migrate_source(self.local).unwrap();
    }

    pub fn get(&mut self, path: &str) -> u64 {
        self.send(&[(":path", path)], true)
    }

    pub fn send(&mut self, more: &[(&str, &str)], fin: bool) -> u64 {
        let base = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "one.test"),
        ];
        let given = |name: &str| more.iter().any(|(other, _)| *other == name);
        let base = base.iter().filter(|(name, _)| !given(name));
        let fields: Vec<Header> = base
            .chain(more)
            .map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()))
            .collect();
        self.h3
            .as_mut()
            .unwrap()
            .send_request(&mut self.quic, &fields, fin)
            .unwrap()
    }

    pub fn send_raw(&self, packet: &[u8]) {
        self.socket.send_to(packet, self.address).unwrap();
    }

    pub fn trailers(&mut self, id: u64, fields: &[(&str, &str)]) {
        let pair = |(name, value): &(&str, &str)| Header::new(name.as_bytes(), value.as_bytes());
        let fields: Vec<Header> = fields.iter().map(pair).collect();
        let h3 = self.h3.as_mut().unwrap();
        h3.send_additional_headers(&mut self.quic, id, &fields, true, true)
            .unwrap();
    }

    pub fn body(&mut self, id: u64, text: &[u8], fin: bool) {
        let mut rest = text;
        loop {
            match self
                .h3
                .as_mut()
                .unwrap()
                .send_body(&mut self.quic, id, rest, fin)
            {
                Ok(sent) if sent == rest.len() => return,
                Ok(sent) => rest = &rest[sent..],
                Err(h3::Error::Done) => {}
                Err(error) => panic!("{error}"),
            }
            self.turn();
        }
    }

    pub fn until(&mut self, mut done: impl FnMut(&Client) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "answers {:?}, closed by the edge {:?}, by us {:?}, spare ids {}, {:?}",
                self.answers.keys(),
                self.quic.peer_error(),
                self.quic.local_error(),
                self.quic.available_dcids(),
                self.quic.stats(),
            );
            self.turn();
        }
    }

    pub fn answer(&mut self, id: u64) -> Answer {
        let over = |answer: &Answer| answer.done || answer.reset.is_some();
        self.until(|client| client.answers.get(&id).is_some_and(over));
        self.answers[&id].clone()
    }

    pub fn turn(&mut self) {
        let mut packet = [0; 65_535];
        while let Ok((length, _)) = self.quic.send(&mut packet) {
            self.socket
                .send_to(&packet[..length], self.address)
                .unwrap();
        }
        self.receive();
        self.poll();
    }

    /// What would be sent now.
    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packet = [0; 65_535];
        let mut all = Vec::new();
        while let Ok((length, _)) = self.quic.send(&mut packet) {
            all.push(packet[..length].to_vec());
        }
        all
    }

    /// Waits a moment for a datagram.
    pub fn receive(&mut self) {
        let (to, mut packet) = (self.local, [0; 65_535]);
        if let Ok((length, from)) = self.socket.recv_from(&mut packet) {
            let _ = self
                .quic
                .recv(&mut packet[..length], quiche::RecvInfo { from, to });
        } else if self.quic.timeout() == Some(Duration::ZERO) {
            self.quic.on_timeout();
        }
    }

    fn poll(&mut self) {
        let Some(h3) = &mut self.h3 else { return };
        while let Ok((id, event)) = h3.poll(&mut self.quic) {
            if matches!(event, Event::GoAway) {
                self.goaway = true;
                continue;
            }
            let answer = self.answers.entry(id).or_default();
            match event {
                Event::Headers { list, .. } => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let pair = |field: &Header| (text(field.name()), text(field.value()));
                    answer.headers = list.iter().map(pair).collect();
                    answer.status = answer.headers[0].1.clone();
                }
                Event::Data => {
                    let mut piece = [0; 65_536];
                    while let Ok(length) = h3.recv_body(&mut self.quic, id, &mut piece) {
                        answer.body.extend_from_slice(&piece[..length]);
                    }
                }
                Event::Finished => answer.done = true,
                Event::Reset(code) => answer.reset = Some(code),
                _ => {}
            }
        }
    }
}

//! Clients that come from another address than before, on ways that lose packets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::test_edge::{BIG_BYTES, Client, shared_edge};
use edge_trials::Random;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A NAT that loses packets: every address of a client has a port of its own towards the edge.
struct LossyNat {
    address: SocketAddr,
    edge: Arc<Mutex<SocketAddr>>,
    rebinds: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn quick_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

impl LossyNat {
    /// Before `edge`; loses so many of 1,000 packets in each direction.
    fn start(edge: SocketAddr, loss: usize, seed: u64) -> LossyNat {
        let front = quick_socket();
        let nat = LossyNat {
            address: front.local_addr().unwrap(),
            edge: Arc::new(Mutex::new(edge)),
            rebinds: Arc::default(),
            closed: Arc::default(),
            thread: None,
        };
        let (rebinds, closed) = (nat.rebinds.clone(), nat.closed.clone());
        let led_to = nat.edge.clone();
        let mut dice = Random::seeded(seed);
        let thread = std::thread::spawn(move || {
            let mut ports: HashMap<SocketAddr, UdpSocket> = HashMap::new();
            let (mut packet, mut done) = ([0; 2048], 0);
            while !closed.load(Ordering::Relaxed) {
                let asked = rebinds.load(Ordering::Relaxed);
                if std::mem::replace(&mut done, asked) != asked {
                    for port in ports.values_mut() {
                        *port = quick_socket();
                    }
                }
                let (edge, mut quiet) = (*led_to.lock().unwrap(), true);
                while let Ok((length, client)) = front.recv_from(&mut packet) {
                    quiet = false;
                    let port = ports.entry(client).or_insert_with(quick_socket);
                    if dice.below(1000) >= loss {
                        let _ = port.send_to(&packet[..length], edge);
                    }
                }
                for (client, port) in &ports {
                    while let Ok((length, from)) = port.recv_from(&mut packet) {
                        quiet = false;
                        if from == edge && dice.below(1000) >= loss {
                            let _ = front.send_to(&packet[..length], client);
                        }
                    }
                }
                if quiet {
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        LossyNat {
            thread: Some(thread),
            ..nat
        }
    }

    /// Flows lead to that address from now on; what another sends reaches nobody.
    fn lead_to(&self, edge: SocketAddr) {
        *self.edge.lock().unwrap() = edge;
    }

    fn rebind(&self) {
        self.rebinds.fetch_add(1, Ordering::Relaxed);
    }

    fn close(mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A download by a client that moves each time some of it is here; it keeps alive, as browsers do.
fn download(client: &mut Client, mut go: impl FnMut(&mut Client)) -> Duration {
    let began = Instant::now();
    let big = client.get("/big");
    let (mut moved, mut alive) = (0, Instant::now());
    loop {
        let came = client.answers.get(&big).map_or(0, |big| big.body.len());
        if came == BIG_BYTES {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it stood still at {came}"
        );
        if came > moved + BIG_BYTES / 4 {
            moved = came;
            go(client);
        }
        if alive.elapsed() > Duration::from_millis(200) {
            alive = Instant::now();
            client.quic.send_ack_eliciting().unwrap();
        }
        client.turn();
    }
}

#[test]
fn downloads_by_clients_that_move_on_a_lossy_way_end() {
    let edge = shared_edge("127.0.0.1:0", 2);
    let address = edge.address;
    let clients: Vec<_> = (0..6)
        .map(|number| {
            std::thread::spawn(move || {
                let mut slowest = Duration::ZERO;
                for turn in 0..4 {
                    let nat = LossyNat::start(address, 20, 100 * number + turn);
                    let mut client = Client::connect(nat.address, "one.test");
                    let took = download(&mut client, |client| match number % 2 {
                        0 => nat.rebind(),
                        _ => {
                            if client.quic.available_dcids() > 0 {
                                client.migrate();
                            }
                        }
                    });
                    slowest = slowest.max(took);
                    nat.close();
                }
                slowest
            })
        })
        .collect();
    for client in clients {
        println!("slowest: {:?}", client.join().unwrap());
    }
}

/// As when a node leads a flow to the new pod, which passes its packets on to the old one.
#[test]
fn a_client_that_reaches_another_address_of_ours_has_not_moved() {
    let edge = shared_edge("0.0.0.0:0", 1);
    let at = |host: u8| SocketAddr::from(([127, 0, 0, host], edge.address.port()));
    let nat = LossyNat::start(at(1), 0, 1);
    let mut client = Client::connect(nat.address, "one.test");
    let mut host = 1;
    for _ in 0..3 {
        download(&mut client, |_| {
            host += 1;
            nat.lead_to(at(host));
        });
    }
    assert!(host > 8, "{host}");
    nat.lead_to(at(1));
    download(&mut client, |_| {});
    assert_eq!(edge.counted("migrations"), 0);
    nat.close();
}

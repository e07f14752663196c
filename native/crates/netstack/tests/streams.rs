//! Two stacks with a link between them, and real sockets on both sides of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use bytes::BytesMut;
use edge_netstack::door::{self, DoorStream};
use edge_netstack::{Netstack, Offer, Options, Stream, forward};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

const HERE: &str = "100.96.0.1";
const THERE: &str = "100.96.0.2";
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    netstack: Netstack,
    incoming: mpsc::Receiver<Offer>,
}

/// Carries packets; one of so many is lost.
async fn carry((from, told): (Netstack, Arc<Notify>), into: Netstack, one_of: u64) {
    let mut count = 0_u64;
    let mut packets = Vec::new();
    loop {
        while from.collect(&mut packets) {
            let passes = |_: &&BytesMut| {
                count += 1;
                !count.is_multiple_of(one_of)
            };
            into.deliver(packets.iter().filter(passes).map(|packet| &packet[..]));
            packets.clear();
        }
        told.notified().await;
    }
}

fn node(address: &str, served: &[&str]) -> (Node, Arc<Notify>) {
    let served = served.iter().map(|text| text.parse().unwrap()).collect();
    let options = Options {
        packet_bytes_max: 1420,
        served,
    };
    let told = Arc::new(Notify::new());
    let signal = told.clone();
    let (netstack, incoming) = Netstack::open(options, move || signal.notify_one());
    netstack.add_address(address.parse().unwrap());
    for route in ["100.96.0.0/16", "127.0.0.0/8"] {
        netstack.add_route(route.parse().unwrap());
    }
    (Node { netstack, incoming }, told)
}

/// Two of them; the second serves the loopback's addresses as a range, too.
fn pair(one_of: u64) -> (Node, Node) {
    let (here, one) = node(HERE, &[]);
    let (there, other) = node(THERE, &["127.0.0.0/8"]);
    let (a, b) = (here.netstack.clone(), there.netstack.clone());
    tokio::spawn(carry((a.clone(), one), b.clone(), one_of));
    tokio::spawn(carry((b, other), a, one_of));
    (here, there)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Writes all of it, ends its half, and reads to the end.
async fn exchange(stream: impl AsyncRead + AsyncWrite, bytes: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut read = Vec::new();
    let writing = async {
        writer.write_all(&bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let reading = async { reader.read_to_end(&mut read).await.unwrap() };
    tokio::join!(writing, reading);
    read
}

fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.unwrap() });
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A stream from one to the other, and its other end.
async fn connect(here: &Node, there: &mut Node) -> (Stream, Stream) {
    let accepting = async { there.incoming.recv().await.unwrap().accept() };
    let (dialed, accepted) = tokio::join!(here.netstack.dial(at(THERE, 80)), accepting);
    (dialed.unwrap(), accepted)
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

#[test]
fn both_ways_at_once_over_links_that_lose_packets() {
    run(async {
        for one_of in [u64::MAX, 500, 50] {
            let (here, mut there) = pair(one_of);
            let length = if one_of == 50 { 300_000 } else { 5_000_000 };
            let (up, down) = (pattern(length), pattern(length / 2));
            let answers = down.clone();
            let server = tokio::spawn(async move {
                let stream = there.incoming.recv().await.unwrap().accept();
                exchange(stream, answers).await
            });
            let stream = here.netstack.dial(at(THERE, 80)).await.unwrap();
            assert!(exchange(stream, up.clone()).await == down);
            assert!(server.await.unwrap() == up);
        }
    });
}

#[test]
fn what_others_begin_reaches_sockets_of_the_system() {
    run(async {
        let (here, there) = pair(u64::MAX);
        tokio::spawn(forward::forward(there.incoming));
        // To the node's own address, and to one in the range that it serves.
        for address in [THERE, "127.0.0.1"] {
            let (listener, port) = listener().await;
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                exchange(stream, pattern(100_000)).await
            });
            let stream = here.netstack.dial(at(address, port)).await.unwrap();
            assert!(exchange(stream, pattern(200_000)).await == pattern(100_000));
            assert!(server.await.unwrap() == pattern(200_000));
        }
    });
}

#[test]
fn a_refusal_a_reset_and_silence_are_told_as_by_a_socket() {
    run(async {
        let (here, there) = pair(u64::MAX);
        tokio::spawn(forward::forward(there.incoming));
        let (closed, port) = listener().await;
        drop(closed);
        let refused = here.netstack.dial(at(THERE, port)).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let nowhere = here.netstack.dial(at("8.8.8.8", 53)).await.err().unwrap();
        assert_eq!(nowhere.kind(), ErrorKind::NetworkUnreachable);

        let (listener, port) = listener().await;
        let mut stream = here.netstack.dial(at(THERE, port)).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        accepted.set_zero_linger().unwrap();
        drop(accepted);
        let reset = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        drop(stream);

        // Nobody is at this address: it takes as long as who dials has patience.
        let dialing = here.netstack.dial(at("100.96.9.9", 80));
        assert!(timeout(Duration::from_millis(300), dialing).await.is_err());
        assert!(until(|| here.netstack.connections() == 0).await);
    });
}

async fn until(is_so: impl Fn() -> bool) -> bool {
    for _ in 0..1000 {
        if is_so() {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

#[test]
fn the_end_of_a_stack_ends_the_streams_of_its_peers() {
    run(async {
        let (here, mut there) = pair(u64::MAX);
        let (mut stream, held) = connect(&here, &mut there).await;
        there.netstack.close().await;
        let reset = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        drop(held);
    });
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("netstack-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A door to the node that is `here`, and a program's way through it.
async fn door(here: &Node, name: &str) -> PathBuf {
    let path = folder(name).join("dial.sock");
    let listener = door::bind(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    tokio::spawn(door::serve(listener, here.netstack.clone()));
    path
}

#[test]
fn other_programs_dial_through_the_door() {
    run(async {
        let (here, there) = pair(u64::MAX);
        tokio::spawn(forward::forward(there.incoming));
        let path = door(&here, "dial").await;
        let (listener, port) = listener().await;
        // Through the mesh, and to the node itself.
        for address in [THERE, HERE] {
            let connecting = door::dial(&path, at(address, port));
            let (stream, accepted) = tokio::join!(connecting, listener.accept());
            let server = tokio::spawn(exchange(accepted.unwrap().0, pattern(1_000_000)));
            assert!(exchange(stream.unwrap(), pattern(2_000_000)).await == pattern(1_000_000));
            assert!(server.await.unwrap() == pattern(2_000_000));
        }
        drop(listener);
        for (address, kind) in [
            (at(THERE, port), ErrorKind::ConnectionRefused),
            (at(HERE, port), ErrorKind::ConnectionRefused),
            (at("8.8.8.8", 1), ErrorKind::NetworkUnreachable),
        ] {
            let refused = door::dial(&path, address).await.unwrap_err();
            assert_eq!(refused.kind(), kind);
        }
        assert!(until(|| here.netstack.connections() <= 1).await);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    });
}

#[test]
fn an_end_through_the_door_is_no_reset_and_a_reset_is_no_end() {
    run(async {
        let (here, there) = pair(u64::MAX);
        tokio::spawn(forward::forward(there.incoming));
        let path = door(&here, "ends").await;
        let (listener, port) = listener().await;
        let connect = async || -> (DoorStream, TcpStream) {
            let connecting = door::dial(&path, at(THERE, port));
            let (stream, accepted) = tokio::join!(connecting, listener.accept());
            (stream.unwrap(), accepted.unwrap().0)
        };
        let mut answer = Vec::new();
        let (mut stream, mut accepted) = connect().await;
        accepted.write_all(b"all of it").await.unwrap();
        drop(accepted);
        assert_eq!(stream.read_to_end(&mut answer).await.unwrap(), 9);

        let (mut stream, mut accepted) = connect().await;
        accepted.write_all(b"a part").await.unwrap();
        let mut part = [0; 6];
        stream.read_exact(&mut part).await.unwrap();
        accepted.set_zero_linger().unwrap();
        drop(accepted);
        let reset = stream.read(&mut part).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);

        // The agent ends.
        let (mut stream, accepted) = connect().await;
        here.netstack.close().await;
        let reset = stream.read(&mut part).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        drop(accepted);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    });
}

#[test]
fn what_is_no_request_is_refused_and_a_door_without_agent_fails() {
    run(async {
        let (here, _there) = pair(u64::MAX);
        let path = door(&here, "requests").await;
        for request in [
            "host:80\n",
            "100.96.0.2\n",
            "\n",
            "100.96.0.2:80\nGET /",
            &"1".repeat(door::REQUEST_BYTES_MAX + 9),
        ] {
            let mut socket = UnixStream::connect(&path).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), 5, "{request}");
        }
        // Left behind by an agent that died: a new one takes its place.
        let left = folder("left").join("dial.sock");
        drop(UnixListener::bind(&left).unwrap());
        let failed = door::dial(&left, at(THERE, 80)).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConnectionRefused);
        drop(door::bind(&left).unwrap());
        // Who hangs up while the agent dials costs nothing.
        let dialing = door::dial(&path, at("100.96.9.9", 80));
        assert!(timeout(Duration::from_millis(300), dialing).await.is_err());
        assert!(until(|| here.netstack.connections() == 0).await);
        for path in [path, left] {
            std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        }
    });
}

#[test]
fn a_reader_who_waits_holds_up_its_own_stream_only() {
    run(async {
        let (here, mut there) = pair(u64::MAX);
        let (mut slow, held) = connect(&here, &mut there).await;
        let filling = timeout(Duration::from_millis(500), async {
            loop {
                slow.write_all(&[1; 65_536]).await.unwrap();
            }
        });
        assert!(filling.await.is_err());
        let server = tokio::spawn(async move {
            let stream = there.incoming.recv().await.unwrap().accept();
            exchange(stream, b"answer".to_vec()).await
        });
        let stream = here.netstack.dial(at(THERE, 81)).await.unwrap();
        assert_eq!(exchange(stream, pattern(3_000_000)).await, b"answer");
        assert!(server.await.unwrap() == pattern(3_000_000));
        drop(held);
    });
}

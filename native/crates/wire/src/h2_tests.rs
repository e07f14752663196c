//! Connections of HTTP/2 that share a thread.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::exchange::ConnectionFacts;
use crate::h2::connection;
use crate::quic::test_edge::config;
use crate::shared::Shared;
use crate::thread::WireThread;
use bytes::BytesMut;
use memchr::memmem;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: [u8; 17] = *b"\0\0\x08\x06\0\0\0\0\0pingping";
const ACK: [u8; 17] = *b"\0\0\x08\x06\x01\0\0\0\0pingping";

struct Client {
    stream: DuplexStream,
    /// All that was read.
    bytes: BytesMut,
}

impl Client {
    /// Connects, and sends so many pings at once.
    async fn dial(thread: &Rc<WireThread>, pings: usize) -> Client {
        let (mut stream, server) = duplex(1 << 20);
        let on = thread.clone();
        spawn_local(async move {
            let facts = ConnectionFacts::new(0, "192.0.2.1:9".parse().unwrap(), 80);
            connection(&on, &Arc::new(facts), server).await;
        });
        let sent = [PREFACE, &PING.repeat(pings)].concat();
        stream.write_all(&sent).await.unwrap();
        let bytes = BytesMut::with_capacity(1 << 20); // one read takes what is there
        Client { stream, bytes }
    }

    /// Reads until so many pings were answered; how many were.
    async fn answers(&mut self, count: usize) -> usize {
        loop {
            let found = memmem::find_iter(&self.bytes, &ACK).count();
            if found >= count {
                return found;
            }
            assert!(self.stream.read_buf(&mut self.bytes).await.unwrap() > 0);
        }
    }
}

#[test]
fn floods_give_way_to_another_connection_and_go_on() {
    const FLOODS: usize = 25;
    const PINGS: usize = 800;
    let mut config = config();
    config.limits.control_frames_max = 1_000_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async {
        let thread = WireThread::new(0, Arc::new(Shared::new(config)));
        spawn_local(thread.turns.clone().run());
        let mut floods = Vec::new();
        for _ in 0..FLOODS {
            floods.push(Client::dial(&thread, PINGS).await);
        }
        let mut other = Client::dial(&thread, 1).await;
        // As often as a request waits for its thread on its way, about.
        for count in 1..=6 {
            assert_eq!(other.answers(count).await, count);
            other.stream.write_all(&PING).await.unwrap();
        }
        // All of the floods lay there before the other client said a word.
        let mut taken = 0;
        for flood in &mut floods {
            taken += flood.answers(1).await;
        }
        assert!(taken <= FLOODS * PINGS / 4, "{taken}");
        for flood in &mut floods {
            assert_eq!(flood.answers(PINGS).await, PINGS);
        }
    });
}

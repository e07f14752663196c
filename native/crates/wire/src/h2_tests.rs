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
fn a_flood_gives_way_to_other_connections_and_goes_on() {
    const FLOOD: usize = 20_000;
    let mut config = config();
    config.limits.control_frames_max = 1_000_000;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), async {
        let thread = WireThread::new(0, Arc::new(Shared::new(config)));
        spawn_local(thread.turns.clone().run());
        let mut flooded = Client::dial(&thread, FLOOD).await;
        let mut other = Client::dial(&thread, 1).await;
        assert_eq!(other.answers(1).await, 1);
        // All of it lay there before the other client said a word.
        let taken = flooded.answers(1).await;
        assert!(taken <= 10 * 40, "{taken}");
        assert_eq!(flooded.answers(FLOOD).await, FLOOD);
    });
}

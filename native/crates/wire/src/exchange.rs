//! One request and its response, readable from its wire thread and from its worker.

use crate::budget::Budget;
use crate::mailbox::Mailbox;
use bytes::Bytes;
use edge_http_policy::Head;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// `ConnectionFacts::certificate` when the default served, or when the connection is in clear.
pub const NO_CERTIFICATE: u32 = 0xffff_ffff;

/// What is known about a client connection; the same for all its exchanges.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Index into `WireConfig.listeners`.
    pub listener: u32,
    /// The client's address.
    pub peer: SocketAddr,
    /// `peer`'s address as text (IPv4-mapped IPv6 as IPv4).
    pub peer_text: Bytes,
    /// The local port the client connected to.
    pub local_port: u16,
    /// Encrypted.
    pub tls: bool,
    /// Server name the client asked for; empty when none.
    pub sni: Bytes,
    /// Certificate that the server name selected, or [`NO_CERTIFICATE`].
    pub certificate: u32,
}

impl ConnectionFacts {
    /// Facts of a connection in clear.
    pub fn new(listener: u32, peer: SocketAddr, local_port: u16) -> ConnectionFacts {
        let peer_text = Bytes::from(peer.ip().to_canonical().to_string());
        let (sni, certificate) = (Bytes::new(), NO_CERTIFICATE);
        ConnectionFacts {
            listener,
            peer,
            peer_text,
            local_port,
            tls: false,
            sni,
            certificate,
        }
    }

    /// The same after a QUIC client moved to another address.
    pub fn moved(self, peer: SocketAddr) -> ConnectionFacts {
        let Self {
            listener,
            local_port,
            tls,
            sni,
            certificate,
            ..
        } = self;
        let fresh = ConnectionFacts::new(listener, peer, local_port);
        ConnectionFacts {
            tls,
            sni,
            certificate,
            ..fresh
        }
    }

    /// The same after a TLS or QUIC handshake.
    pub fn secured(mut self, sni: Bytes, certificate: u32) -> ConnectionFacts {
        (self.tls, self.sni, self.certificate) = (true, sni, certificate);
        self
    }
}

/// The upstream response's head, for inspection.
#[derive(Debug, Clone)]
pub struct ResponseFacts {
    /// Status.
    pub status: u16,
    /// Fields in wire order.
    pub headers: Vec<(Bytes, Bytes)>,
}

/// What of a response's body is inspected.
#[derive(Debug, Clone)]
pub struct HeldResponse {
    /// The body or its beginning.
    pub bytes: Bytes,
    /// False: there is more of it.
    pub complete: bool,
}

/// One request and its response. The worker reads it while the wire thread waits for its plan.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head.
    pub head: Head,
    /// Its connection.
    pub connection: Arc<ConnectionFacts>,
    /// The request body (or its beginning), once a READ_BODY plan was carried out.
    pub body: OnceLock<Bytes>,
    /// Status of `body` as in the BODY record.
    pub(crate) body_status: AtomicU32,
    /// What a proxy's worker says about it, where this program is the service that it asks.
    pub(crate) question: Bytes,
    /// The response's head, once the endpoint answered and the plan asked to inspect it.
    pub response_head: OnceLock<ResponseFacts>,
    /// The response's body, once it was held for inspection.
    pub response_body: OnceLock<HeldResponse>,
    /// The wire thread that serves it.
    pub(crate) thread: usize,
    pub(crate) mailbox: Mailbox,
    budget: Arc<Budget>,
    reserved: AtomicU64,
}

impl Exchange {
    /// A new exchange of wire thread `thread`.
    pub fn new(
        head: Head,
        connection: Arc<ConnectionFacts>,
        thread: usize,
        budget: Arc<Budget>,
    ) -> Exchange {
        Exchange {
            head,
            connection,
            body: OnceLock::new(),
            body_status: AtomicU32::new(0),
            question: Bytes::new(),
            response_head: OnceLock::new(),
            response_body: OnceLock::new(),
            thread,
            mailbox: Mailbox::default(),
            budget,
            reserved: AtomicU64::new(0),
        }
    }

    /// Status of `body` as in the BODY record: 0 complete, 1 longer, 2 ended early, 3 over budget,
    /// 4 timed out, 5 too slow, 6 invalid framing, 7 trailers too large.
    pub fn body_status(&self) -> u32 {
        self.body_status.load(Ordering::Relaxed)
    }

    /// The same with a proxy's question.
    pub(crate) fn asked_with(mut self, question: Bytes) -> Exchange {
        self.question = question;
        self
    }

    /// The body is here, or what came of it.
    pub(crate) fn set_body(&self, bytes: Bytes, status: u32) {
        self.body_status.store(status, Ordering::Relaxed);
        let _ = self.body.set(bytes);
    }

    /// Takes `bytes` of the budget for held bodies until the exchange is dropped.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        let granted = self.budget.take(bytes);
        if granted {
            self.reserved.fetch_add(bytes, Ordering::Relaxed);
        }
        granted
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.budget.give_back(self.reserved.load(Ordering::Relaxed));
    }
}

//! One wire thread: a single-threaded runtime that owns its sockets and connections.

use crate::ask::{self, Asker};
use crate::config::{ListenerKind, WireLimits};
use crate::error_code::ErrorCode;
use crate::exchange::ConnectionFacts;
use crate::handover::Offer;
use crate::outbox::{Outbox, Worklist};
use crate::read_ahead::ReadAhead;
use crate::record::Refused;
use crate::shared::Shared;
use crate::timers::Timers;
use crate::tls::identity;
use crate::turns::Turns;
use crate::upstream::Pool;
use crate::{h1, h2};
use bytes::Bytes;
use edge_http_policy::Version;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet};

/// First-line bytes kept in a refusal record.
const REFUSED_LINE_BYTES_MAX: usize = 256;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Records per second and thread about connections that came to no request: a flood of them must
/// not push the records of requests out of the workers' queues.
const CONNECTION_RECORDS_PER_SECOND: u32 = 20;

/// What the tasks of one wire thread share.
pub struct WireThread {
    /// 0…threads-1.
    pub index: usize,
    /// What all threads share.
    pub shared: Arc<Shared>,
    pub(crate) pool: Rc<Pool>,
    /// The connections to the WAF service.
    pub(crate) asker: Rc<Asker>,
    pub(crate) worklist: Worklist,
    pub(crate) timers: Rc<Timers>,
    pub(crate) turns: Rc<Turns>,
    /// As of the version beside them.
    limits: RefCell<(u64, Rc<WireLimits>)>,
    /// Connections recorded in the second that began then.
    recorded: Cell<(Instant, u32)>,
}

impl WireThread {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Rc<WireThread> {
        let pool = Rc::new(Pool::new(shared.clone()));
        let worklist = Worklist::new(shared.hub.clone());
        let timers = Rc::<Timers>::default();
        let asker = Rc::new(Asker::new(shared.clone(), timers.clone()));
        let (version, limits) = shared.limits();
        let limits = RefCell::new((version, Rc::new((*limits).clone())));
        Rc::new(WireThread {
            index,
            shared,
            pool,
            asker,
            worklist,
            timers,
            turns: Rc::default(),
            limits,
            recorded: Cell::new((Instant::now(), 0)),
        })
    }

    /// The limits now; a reload replaces them whole.
    pub fn limits(&self) -> Rc<WireLimits> {
        let mut cached = self.limits.borrow_mut();
        if cached.0 != self.shared.limits_version() {
            let (version, limits) = self.shared.limits();
            *cached = (version, Rc::new((*limits).clone()));
        }
        cached.1.clone()
    }

    /// Runs `future` as a task of this thread. A panic in it ends that task only, and is counted.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> JoinHandle<()> {
        let stats = self.shared.stats.clone();
        tokio::task::spawn_local(async move {
            let _counted = CountPanic(stats);
            future.await;
        })
    }

    /// Counts and records a request that was refused before any worker saw it. Returns the status
    /// of the answer. `line`: the request line as far as read (h2, h3: method and path).
    pub fn refuse(
        &self,
        connection: &ConnectionFacts,
        version: Version,
        code: ErrorCode,
        line: &[u8],
    ) -> u16 {
        self.shared.stats.refused(code);
        self.record(connection, version, code, line)
    }

    /// Refuses a connection as a whole: counts each, records as many as the log can take.
    pub fn turn_away(&self, connection: &ConnectionFacts, version: Version, code: ErrorCode) {
        self.shared.stats.connections_refused.add(1);
        self.lost(connection, version, code);
    }

    /// Counts a connection that a limit ended before it brought a request; records some.
    pub fn lost(&self, connection: &ConnectionFacts, version: Version, code: ErrorCode) {
        self.shared.stats.refused(code);
        let (second, count) = self.recorded.get();
        let now = Instant::now();
        let (second, count) = match now.duration_since(second) < Duration::from_secs(1) {
            true => (second, count + 1),
            false => (now, 1),
        };
        self.recorded.set((second, count));
        if count <= CONNECTION_RECORDS_PER_SECOND {
            self.record(connection, version, code, b"");
        }
    }

    fn record(
        &self,
        connection: &ConnectionFacts,
        version: Version,
        code: ErrorCode,
        line: &[u8],
    ) -> u16 {
        let status = self.shared.answer(code).map_or(500, |answer| answer.status);
        let kept = line.get(..REFUSED_LINE_BYTES_MAX).unwrap_or(line);
        let refused = Refused {
            code,
            version,
            status,
            listener: connection.listener,
            peer: connection.peer_text.clone(),
            peer_port: connection.peer.port(),
            line: Bytes::copy_from_slice(kept),
        };
        self.shared.hub.refused(&self.worklist, refused);
        status
    }
}

struct CountPanic(Arc<crate::stats::Stats>);

impl Drop for CountPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.panics.add(1);
        }
    }
}

/// The sockets of one thread, by listener.
#[derive(Default)]
pub(crate) struct Sockets {
    pub tcp: Vec<(u32, std::net::TcpListener)>,
    pub udp: Vec<(u32, std::net::UdpSocket)>,
    pub offers: Vec<Offer>,
}

/// The life of one wire thread; returns when `stopped` turns true, dropping all it holds.
pub(crate) fn run(
    index: usize,
    shared: Arc<Shared>,
    sockets: Sockets,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let Ok(runtime) = runtime else { return };
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let thread = WireThread::new(index, shared);
        if let Some(outbox) = thread.shared.hub.outboxes.get(index) {
            thread.spawn(pump(outbox.clone()));
        }
        let on = thread.clone();
        thread.spawn(async move { on.worklist.run().await });
        thread.spawn(thread.timers.clone().run());
        thread.spawn(thread.turns.clone().run());
        thread.spawn(thread.pool.clone().sweep());
        for (listener, socket) in sockets.tcp {
            thread.spawn(accept(thread.clone(), listener, socket));
        }
        for offer in sockets.offers {
            let ended = thread.shared.accepting_ended();
            let on = thread.clone();
            thread.spawn(async move {
                tokio::select! {
                    () = offer.serve(|| on.shared.stats.handed_over.add(1)) => {}
                    () = ended => {}
                }
            });
        }
        // One thread is enough for what other programs hand over.
        if index == 0 {
            thread.spawn(crate::quic::listen_to_neighbours(thread.clone()));
        }
        for (listener, socket) in sockets.udp {
            thread.spawn(crate::quic::listen(thread.clone(), listener, socket));
        }
        let _ = stopped.wait_for(|stopped| *stopped).await;
    });
}

/// Accepts connections until the wire is told to stop: then those that wait, and no more.
async fn accept(thread: Rc<WireThread>, listener: u32, socket: std::net::TcpListener) {
    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else {
        return;
    };
    let kind = thread
        .shared
        .config
        .listeners
        .get(listener as usize)
        .map(|found| found.kind);
    let mut ended = pin!(thread.shared.accepting_ended());
    loop {
        let next = tokio::select! {
            biased;
            next = socket.accept() => next,
            // Nothing waits, or this branch would not be reached.
            () = &mut ended => return,
        };
        let Ok((stream, peer)) = next else {
            // Out of descriptors, most likely: trying at once would spin.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let port = stream.local_addr().map_or(0, |address| address.port());
        let facts = ConnectionFacts::new(listener, peer, port);
        let admission = match thread.shared.admit(peer.ip()) {
            Ok(admission) => admission,
            Err(code) => {
                thread.turn_away(&facts, Version::Http11, code);
                continue;
            }
        };
        let on = thread.clone();
        thread.spawn(async move {
            match kind {
                Some(ListenerKind::Https) => tls_connection(&on, facts, stream).await,
                Some(ListenerKind::Waf) => Box::pin(ask::connection(&on, facts, stream)).await,
                _ => {
                    on.shared.stats.connections_h1.add(1);
                    h1::connection(&on, &Arc::new(facts), stream).await;
                }
            }
            drop(admission);
        });
    }
}

async fn tls_connection(thread: &Rc<WireThread>, facts: ConnectionFacts, stream: TcpStream) {
    let stats = &thread.shared.stats;
    let patience = Duration::from_millis(thread.limits().handshake_timeout_ms);
    let Some(acceptor) = thread.shared.acceptor() else {
        return;
    };
    let handshake = Box::pin(tokio_boring::accept(acceptor, ReadAhead::new(stream)));
    let stream = tokio::select! {
        biased;
        stream = handshake => stream.ok(),
        () = thread.timers.after(patience) => {
            thread.lost(&facts, Version::Http11, ErrorCode::HandshakeTimeout);
            None
        }
    };
    let Some(stream) = stream else {
        return stats.handshakes_failed.add(1);
    };
    stats.handshakes.add(1);
    let (sni, certificate) = identity(stream.ssl());
    let facts = Arc::new(facts.secured(sni, certificate));
    if stream.ssl().selected_alpn_protocol() == Some(b"h2") {
        stats.connections_h2.add(1);
        Box::pin(h2::connection(thread, &facts, stream)).await;
    } else {
        stats.connections_h1_tls.add(1);
        h1::connection(thread, &facts, stream).await;
    }
}

/// Carries plans from the workers to the exchanges of this thread, for as long as it lives.
pub(crate) async fn pump(outbox: Arc<Outbox>) {
    let mut deliveries = Vec::new();
    loop {
        outbox.wait(&mut deliveries).await;
        for delivery in deliveries.drain(..) {
            delivery.hand_over();
        }
    }
}

//! The stack at work: whoever moves IP packets brings them and takes those that are to go, and
//! others hold streams of it.

use crate::limits::{DIAL_TIMEOUT, INCOMING_MAX};
use crate::stack::Stack;
use crate::stream::Stream;
use bytes::BytesMut;
use ipnetwork::IpNetwork;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

/// For the last words to go out at the end.
const GOODBYE: Duration = Duration::from_millis(200);
/// Without anything to wait for.
const FAR: Duration = Duration::from_secs(3600);

/// How a stack is opened.
pub struct Options {
    /// The MTU of the mesh.
    pub packet_bytes_max: usize,
    /// Ranges of other machines that are served beside the node's addresses.
    pub served: Vec<IpNetwork>,
}

pub(crate) struct Shared {
    stack: Mutex<Stack>,
    /// Tells that there are packets to take.
    signal: Box<dyn Fn() + Send + Sync>,
    /// The timers end sooner than their task waits.
    sooner: Arc<Notify>,
    offers: mpsc::Sender<Offer>,
}

impl Shared {
    /// Works on the stack, and tells of what came of it once the lock is free.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Stack) -> T) -> T {
        let mut stack = self.stack.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut stack);
        let wakers = stack.take_wakers();
        let has_news = stack.has_news();
        let is_sooner = stack.ends_sooner();
        drop(stack);
        for waker in wakers {
            waker.wake();
        }
        if has_news {
            (self.signal)();
        }
        if is_sooner {
            self.sooner.notify_one();
        }
        done
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sooner.notify_one();
    }
}

/// A stack at work.
#[derive(Clone)]
pub struct Netstack {
    shared: Arc<Shared>,
}

/// A connection that somebody began; refused when it is dropped.
pub struct Offer {
    /// Where to.
    pub target: SocketAddr,
    /// To an address of this node, and not into a range that it serves.
    pub is_own: bool,
    stream: Stream,
}

impl Offer {
    /// Agrees to it. Its first read waits for the peer.
    pub fn accept(self) -> Stream {
        self.stream.accept();
        self.stream
    }
}

impl Netstack {
    /// Needs a tokio runtime around it, for its timers. `signal` tells whoever calls `collect` that
    /// there is something, once, until there was nothing.
    pub fn open(
        options: Options,
        signal: impl Fn() + Send + Sync + 'static,
    ) -> (Netstack, mpsc::Receiver<Offer>) {
        let (offers, incoming) = mpsc::channel(INCOMING_MAX);
        let stack = Stack::new(options.packet_bytes_max, options.served, Instant::now());
        let sooner = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            stack: Mutex::new(stack),
            signal: Box::new(signal),
            sooner: sooner.clone(),
            offers,
        });
        tokio::spawn(run_timers(Arc::downgrade(&shared), sooner));
        (Netstack { shared }, incoming)
    }

    /// Packets came.
    pub fn deliver<'a>(&self, packets: impl IntoIterator<Item = &'a [u8]>) {
        let now = Instant::now();
        self.shared.with(|stack| {
            for packet in packets {
                stack.receive(packet, now);
            }
            stack.finish(now);
            self.offer(stack, now);
        });
    }

    fn offer(&self, stack: &mut Stack, now: Instant) {
        while let Some((id, target)) = stack.next_offer() {
            let is_own = stack.is_own(target.ip());
            let stream = Stream::new(self.shared.clone(), id);
            let offer = Offer {
                target,
                is_own,
                stream,
            };
            if let Err(TrySendError::Full(offer) | TrySendError::Closed(offer)) =
                self.shared.offers.try_send(offer)
            {
                // It would wait for the lock that is held here.
                offer.stream.forget();
                stack.release(id, now);
            }
        }
    }

    /// Appends packets that are to go, all to one address; false when there are none.
    pub fn collect(&self, packets: &mut Vec<BytesMut>) -> bool {
        self.shared
            .with(|stack| stack.transmit(packets, Instant::now()))
    }

    pub fn add_address(&self, address: IpAddr) {
        self.shared.with(|stack| stack.add_address(address));
    }

    pub fn remove_address(&self, address: IpAddr) {
        self.shared.with(|stack| stack.remove_address(address));
    }

    pub fn is_own(&self, address: IpAddr) -> bool {
        self.shared.with(|stack| stack.is_own(address))
    }

    pub fn add_route(&self, network: IpNetwork) {
        self.shared.with(|stack| stack.add_route(network));
    }

    pub fn remove_route(&self, network: IpNetwork) {
        self.shared.with(|stack| stack.remove_route(network));
    }

    /// Connections that are there.
    pub fn connections(&self) -> usize {
        self.shared.with(|stack| stack.counts().0)
    }

    /// Connects. The kinds of errors are those of a socket of the system.
    pub async fn dial(&self, target: SocketAddr) -> io::Result<Stream> {
        let id = self
            .shared
            .with(|stack| stack.dial(target, Instant::now()))?;
        let stream = Stream::new(self.shared.clone(), id);
        match timeout(DIAL_TIMEOUT, poll_fn(|context| stream.poll_open(context))).await {
            Ok(opened) => opened.map(|()| stream),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends all connections; the peers are told if there is time.
    pub async fn close(&self) {
        self.shared.with(|stack| stack.abort_all(Instant::now()));
        tokio::time::sleep(GOODBYE).await;
    }
}

/// Until the stack is gone.
async fn run_timers(shared: Weak<Shared>, sooner: Arc<Notify>) {
    while let Some(strong) = shared.upgrade() {
        let now = Instant::now();
        let deadline = strong.with(|stack| {
            stack.finish(now);
            stack.wait()
        });
        drop(strong);
        let deadline = deadline.unwrap_or(now + FAR).into();
        tokio::select! {
            () = sooner.notified() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

//! The stack at work: a task between two bounded channels of IP packets, and the streams that
//! others hold of it.

use crate::limits::{DIAL_TIMEOUT, INCOMING_MAX, PACKETS_MAX};
use crate::stack::Stack;
use crate::stream::Stream;
use bytes::BytesMut;
use ipnetwork::IpNetwork;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

/// Packets that are looked at in one go.
const BATCH_PACKETS: usize = 256;
/// Room in the outgoing channel that is worth a wake-up.
const ROOM_PACKETS: usize = PACKETS_MAX / 4;
/// For the last words to go out at the end.
const GOODBYE: Duration = Duration::from_millis(200);

/// How a stack is opened.
pub struct Options {
    /// The MTU of the mesh.
    pub packet_bytes_max: usize,
    /// Ranges of other machines that are served beside the node's addresses.
    pub served: Vec<IpNetwork>,
}

/// The side of the stack where the packets are; `P` is a packet that came, in a buffer of who
/// brings it.
pub struct Link<P> {
    /// Packets for the stack.
    pub into: mpsc::Sender<P>,
    /// Packets that it sends.
    pub out: mpsc::Receiver<BytesMut>,
}

pub(crate) struct Shared {
    stack: Mutex<Stack>,
    wake: Notify,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task has packets to make.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

/// A stack at work. It ends with its link.
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
    /// Needs a tokio runtime around it.
    pub fn open<P>(options: Options) -> (Netstack, Link<P>, mpsc::Receiver<Offer>)
    where
        P: AsRef<[u8]> + Send + 'static,
    {
        let (into, packets) = mpsc::channel(PACKETS_MAX);
        let (sender, out) = mpsc::channel(PACKETS_MAX);
        let (offers, incoming) = mpsc::channel(INCOMING_MAX);
        let stack = Stack::new(options.packet_bytes_max, options.served, Instant::now());
        let shared = Arc::new(Shared {
            stack: Mutex::new(stack),
            wake: Notify::new(),
        });
        let task = Task {
            shared: shared.clone(),
            packets,
            sender,
            offers,
        };
        tokio::spawn(task.run());
        (Netstack { shared }, Link { into, out }, incoming)
    }

    pub fn add_address(&self, address: IpAddr) {
        self.shared.lock().add_address(address);
    }

    pub fn remove_address(&self, address: IpAddr) {
        self.shared.lock().remove_address(address);
    }

    pub fn is_own(&self, address: IpAddr) -> bool {
        self.shared.lock().is_own(address)
    }

    pub fn add_route(&self, network: IpNetwork) {
        self.shared.lock().add_route(network);
    }

    pub fn remove_route(&self, network: IpNetwork) {
        self.shared.lock().remove_route(network);
    }

    /// Connections that are there.
    pub fn connections(&self) -> usize {
        self.shared.lock().counts().0
    }

    /// Connects. The kinds of errors are those of a socket of the system.
    pub async fn dial(&self, target: SocketAddr) -> io::Result<Stream> {
        let id = self.shared.lock().dial(target, Instant::now())?;
        self.shared.wake();
        let stream = Stream::new(self.shared.clone(), id);
        match timeout(DIAL_TIMEOUT, poll_fn(|context| stream.poll_open(context))).await {
            Ok(opened) => opened.map(|()| stream),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Ends all connections; the peers are told if there is time.
    pub async fn close(&self) {
        self.shared.lock().abort_all(Instant::now());
        self.shared.wake();
        tokio::time::sleep(GOODBYE).await;
    }
}

struct Task<P> {
    shared: Arc<Shared>,
    packets: mpsc::Receiver<P>,
    sender: mpsc::Sender<BytesMut>,
    offers: mpsc::Sender<Offer>,
}

impl<P: AsRef<[u8]>> Task<P> {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_PACKETS);
        let mut made = Vec::with_capacity(BATCH_PACKETS);
        loop {
            let (has_more, deadline) = self.turn(&mut batch, &mut made);
            for packet in made.drain(..) {
                // There is room: nobody else sends, and no more were made.
                if let Err(mpsc::error::TrySendError::Closed(_)) = self.sender.try_send(packet) {
                    return;
                }
            }
            let far = Instant::now() + Duration::from_secs(3600);
            let deadline = deadline.unwrap_or(far).into();
            tokio::select! {
                biased;
                count = self.packets.recv_many(&mut batch, BATCH_PACKETS) => {
                    if count == 0 {
                        self.shared.lock().abort_all(Instant::now());
                        return;
                    }
                }
                () = self.shared.wake.notified() => {}
                room = self.sender.reserve_many(ROOM_PACKETS), if has_more => {
                    if room.is_err() {
                        return;
                    }
                }
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Takes what came, makes what is to go; whether there is more of that, and until when to wait.
    fn turn(&mut self, batch: &mut Vec<P>, made: &mut Vec<BytesMut>) -> (bool, Option<Instant>) {
        let now = Instant::now();
        let mut stack = self.shared.lock();
        for packet in batch.drain(..) {
            stack.receive(packet.as_ref(), now);
        }
        stack.finish(now);
        while let Some((id, target)) = stack.next_offer() {
            let is_own = stack.is_own(target.ip());
            let stream = Stream::new(self.shared.clone(), id);
            // The queue holds as many as may be half open; a stream that is dropped here would
            // wait for the lock.
            if let Err(refused) = self.offers.try_send(Offer {
                target,
                is_own,
                stream,
            }) {
                let (mpsc::error::TrySendError::Full(offer)
                | mpsc::error::TrySendError::Closed(offer)) = refused;
                offer.stream.forget();
                stack.release(id, now);
            }
        }
        let has_more = stack.transmit(made, self.sender.capacity().min(BATCH_PACKETS), now);
        let wakers = stack.take_wakers();
        let deadline = stack.deadline();
        drop(stack);
        for waker in wakers {
            waker.wake();
        }
        (has_more, deadline)
    }
}

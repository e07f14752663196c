//! The listener, its thread, and the door to both.

use crate::connection::{Context, serve};
use crate::line::{Order, Then};
use crate::shared::Shared;
use crate::{Event, Options, tls};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// After an accept that failed: mostly too many open files, which do not become fewer at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections have left to write when everything ends.
const END_GRACE: Duration = Duration::from_millis(500);
const END_LOOK: Duration = Duration::from_millis(5);

/// Why there is no front: in words for whoever wanted one.
#[derive(Debug)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Listens until it is closed or dropped.
pub struct Front {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Front {
    /// `options` is JSON. `wake` is called, on another thread, when there is something to take and
    /// the last `take` had found less than it asked for.
    pub fn new(options: &str, wake: Box<dyn Fn() + Send + Sync>) -> Result<Front, Error> {
        let options: Options =
            serde_json::from_str(options).map_err(|error| Error(format!("options: {error}")))?;
        let tls = tls::context(&options).map_err(Error)?;
        let wanted = options.address;
        let failed = |error: std::io::Error| Error(format!("{wanted}: {error}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = listen(&runtime, &options).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(options, wake));
        let context = Arc::new(Context {
            tls,
            shared: Arc::clone(&shared),
        });
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("mesh-front".to_owned())
            .spawn(move || {
                runtime.block_on(run(listener, context, ended));
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        let running = Mutex::new(Some((end, thread)));
        Ok(Front {
            shared,
            address,
            running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened, up to so many things. Whoever gets so many must ask again.
    pub fn take(&self, most: usize) -> Vec<Event> {
        self.shared.take(most)
    }

    /// A whole response.
    pub fn answer(&self, connection: u32, response: Bytes, then: Then) {
        if let Some(line) = self.shared.line(connection) {
            line.put(Order::Answer(response, then));
        }
    }

    /// A response that never ends by itself; `head` without framing and empty line.
    pub fn open(&self, connection: u32, head: Bytes) {
        if let Some(line) = self.shared.line(connection) {
            line.put(Order::Open(head));
        }
    }

    /// Tells each connection the bytes of its own, then those of all. Those that now have too much
    /// to read are told of, and should be told nothing before they are drained.
    pub fn tell(&self, to: impl Iterator<Item = (u32, Bytes)>, shared: &Bytes) -> Vec<u32> {
        let bytes_max = self.shared.options.stream_queue_bytes_max;
        let mut told = Vec::with_capacity(to.size_hint().0);
        let mut full = Vec::new();
        for (number, own) in to {
            let Some(line) = self.shared.line(number) else {
                continue;
            };
            if line.tell(own, shared.clone(), bytes_max) {
                full.push(number);
            }
            told.push(line);
        }
        self.shared.told(told);
        full
    }

    /// There is no more to tell.
    pub fn end(&self, connection: u32) {
        if let Some(line) = self.shared.line(connection) {
            line.put(Order::End);
        }
    }

    /// Ends every connection, and returns when the port is free. Waits for a moment.
    pub fn close(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((end, thread)) = running {
            drop(end);
            // Whatever it ended by, it is over.
            let _ = thread.join();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.close();
    }
}

fn listen(runtime: &Runtime, options: &Options) -> std::io::Result<TcpListener> {
    let _entered = runtime.enter();
    let socket = match options.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(options.address)?;
    socket.listen(options.backlog_max)
}

async fn run(listener: TcpListener, context: Arc<Context>, ended: oneshot::Receiver<()>) {
    tokio::select! {
        () = accept(&listener, &context) => {}
        () = context.shared.call() => {}
        _ = ended => {}
    }
    drop(listener);
    let lines = context.shared.every_line();
    lines.iter().for_each(|line| line.put(Order::End));
    context.shared.ending.notify_waiters();
    let all_gone = async {
        while context.shared.connections.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(END_LOOK).await;
        }
    };
    // Who does not read its end is cut off.
    let _ = tokio::time::timeout(END_GRACE, all_gone).await;
}

async fn accept(listener: &TcpListener, context: &Arc<Context>) {
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => enter(tcp, address, context),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn enter(tcp: TcpStream, address: SocketAddr, context: &Arc<Context>) {
    let shared = &context.shared;
    if shared.connections.load(Ordering::Relaxed) >= shared.options.connections_max {
        return; // by closing it
    }
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let left = Left(Arc::clone(shared));
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let _left = left;
        // Its reason is its end's affair: there is nobody to tell.
        let _ = serve(tcp, address, context).await;
    });
}

/// Counts a connection down, however it ends.
struct Left(Arc<Shared>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The wire as a whole: binds, starts and ends the threads.

use crate::config::{
    CertificateSet, EndpointConfig, ListenerKind, TicketKeySet, WireConfig, WireLimits,
};
use crate::hub::{Hub, WORKERS_MAX};
use crate::port::Port;
use crate::shared::Shared;
use crate::thread::{self, Sockets};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Why something asked of the wire was not done; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError(pub String);

impl std::fmt::Display for WireError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WireError {}

fn bad_json(what: &str) -> impl Fn(serde_json::Error) -> WireError {
    move |error| WireError(format!("{what}: {error}"))
}

/// The wire threads and what they share.
pub struct Wire {
    /// State shared with the threads.
    pub shared: Arc<Shared>,
    stopped: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

const BACKLOG: i32 = 4096;
/// Port 0 must be free for TCP and UDP: the kernel picks for TCP, UDP may be taken.
const PORT_ATTEMPTS: usize = 16;

impl Wire {
    /// A wire for the JSON of a `WireConfig`. Binds nothing yet.
    pub fn new(config: &str) -> Result<Wire, WireError> {
        let config: WireConfig = serde_json::from_str(config).map_err(bad_json("wire config"))?;
        if config.threads == 0 || config.workers == 0 || config.workers > WORKERS_MAX {
            let text = format!("wire config: threads ≥ 1 and workers 1–{WORKERS_MAX} are needed");
            return Err(WireError(text));
        }
        let (stopped, threads) = (watch::Sender::new(false), Mutex::default());
        Ok(Wire {
            shared: Arc::new(Shared::new(config)),
            stopped,
            threads,
        })
    }

    /// Binds all listeners for all threads, then starts the threads. The bound addresses.
    pub fn listen(&self) -> Result<Vec<String>, WireError> {
        let config = &self.shared.config;
        let mut sockets: Vec<Sockets> = (0..config.threads).map(|_| Sockets::default()).collect();
        let mut bound = Vec::new();
        for (index, listener) in (0u32..).zip(&config.listeners) {
            let with_udp = listener.kind == ListenerKind::Https;
            let address = bind_all(index, listener.address, with_udp, &mut sockets)
                .map_err(|error| WireError(bind_failure(listener.address, &error)))?;
            bound.push(address.to_string());
        }
        for (index, sockets) in sockets.into_iter().enumerate() {
            let (shared, stopped) = (self.shared.clone(), self.stopped.subscribe());
            let started = std::thread::Builder::new()
                .name(format!("wire-{index}"))
                .spawn(move || thread::run(index, shared, sockets, stopped))
                .map_err(|error| WireError(format!("wire thread {index}: {error}")))?;
            self.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(started);
        }
        Ok(bound)
    }

    /// Replaces all certificates; keeps the old ones when the new do not load.
    pub fn set_certificates(&self, json: &str) -> Result<(), WireError> {
        let set: CertificateSet = serde_json::from_str(json).map_err(bad_json("certificates"))?;
        self.shared.tls.set(&set).map_err(WireError)
    }

    /// Replaces the keys of session tickets and stateless resets; keeps the old ones when one of
    /// the new is malformed.
    pub fn set_ticket_keys(&self, json: &str) -> Result<(), WireError> {
        let set: TicketKeySet = serde_json::from_str(json).map_err(bad_json("ticket keys"))?;
        let decoded = set.tickets.iter().map(|key| from_base64(key));
        let tickets: Vec<Vec<u8>> = decoded.collect::<Result<_, _>>()?;
        let reset = match set.stateless_reset.as_str() {
            "" => None,
            text => {
                let key = from_base64(text)?.try_into();
                Some(key.map_err(|_| WireError("the reset key is not 32 bytes".to_owned()))?)
            }
        };
        self.shared
            .tls
            .set_ticket_keys(&tickets)
            .map_err(WireError)?;
        if let Some(key) = reset {
            self.shared.quic.set_reset_key(key);
        }
        Ok(())
    }

    /// Replaces the limits, for new connections and requests.
    pub fn set_limits(&self, json: &str) -> Result<(), WireError> {
        let limits: WireLimits = serde_json::from_str(json).map_err(bad_json("limits"))?;
        self.shared.set_limits(limits);
        Ok(())
    }

    /// Replaces the endpoint table.
    pub fn set_endpoints(&self, json: &str) -> Result<(), WireError> {
        let table: Vec<EndpointConfig> =
            serde_json::from_str(json).map_err(bad_json("endpoints"))?;
        self.shared.set_endpoints(table);
        Ok(())
    }

    /// Attaches a worker. `wake` may be called from any thread, also after the worker died.
    pub fn attach(&self, slot: usize, wake: Box<dyn Fn() + Send + Sync>) -> Option<Port> {
        self.hub().attach(slot, Arc::from(wake))
    }

    /// The queues.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    /// Ends the threads with everything they hold.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop();
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, WireError> {
    boring::base64::decode_block(text).map_err(|_| WireError("a key is not base64".to_owned()))
}

/// The address, and the reason by the name that operators search for.
fn bind_failure(address: SocketAddr, error: &std::io::Error) -> String {
    let name = match error.kind() {
        ErrorKind::AddrInUse => "EADDRINUSE: ",
        ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL: ",
        ErrorKind::PermissionDenied => "EACCES: ",
        _ => "",
    };
    format!("cannot listen on {address}: {name}{error}")
}

/// Fails when anyone listens there: with SO_REUSEPORT alone, two processes would share the port
/// without a word, and each would get some of the connections.
fn probe(address: SocketAddr, with_udp: bool) -> std::io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    if with_udp {
        socket(address, Type::DGRAM, Protocol::UDP)?.bind(&address.into())?;
    }
    Ok(())
}

/// Binds one listener for every thread; the address with its port.
fn bind_all(
    index: u32,
    wanted: SocketAddr,
    with_udp: bool,
    sockets: &mut [Sockets],
) -> std::io::Result<SocketAddr> {
    probe(wanted, with_udp)?;
    let attempts = if wanted.port() == 0 && with_udp {
        PORT_ATTEMPTS
    } else {
        1
    };
    let mut last_error = std::io::Error::other("no attempt");
    for _ in 0..attempts {
        let first_tcp = tcp(wanted)?;
        let address = first_tcp.local_addr()?;
        let first_udp = match with_udp.then(|| udp(address)).transpose() {
            Ok(socket) => socket,
            Err(error) => {
                last_error = error;
                continue;
            }
        };
        let mut first = Some((first_tcp, first_udp));
        for thread in sockets {
            let (tcp_socket, udp_socket) = match first.take() {
                Some(pair) => pair,
                None => (tcp(address)?, with_udp.then(|| udp(address)).transpose()?),
            };
            thread.tcp.push((index, tcp_socket));
            thread.udp.extend(udp_socket.map(|socket| (index, socket)));
        }
        return Ok(address);
    }
    Err(last_error)
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too, as on every Linux that was not told otherwise.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

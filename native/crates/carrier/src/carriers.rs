//! The thread of all carriers, and the door to it.

use crate::desk::{Aim, Decision, Desk, Room, Shared};
use crate::{Event, Options, Way, h3, tcp, tls};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};

/// What carriers have left to say when everything ends.
const END_GRACE: Duration = Duration::from_millis(200);
const END_LOOK: Duration = Duration::from_millis(5);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why there is none: in words for whoever wanted one.
#[derive(Debug)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

enum Order {
    Serve(Way, Socket),
    Connect(u32, Way, Aim),
    Decide(u32, Decision),
}

/// All carriers of a node, until it is closed or dropped.
pub struct Carriers {
    shared: Arc<Shared>,
    running: Mutex<Option<(UnboundedSender<Order>, JoinHandle<()>)>>,
}

impl Carriers {
    /// `options` is JSON. `wake` is called, on another thread, when there is something to take.
    pub fn new(options: &str, wake: Box<dyn Fn() + Send + Sync>) -> Result<Carriers, Error> {
        let options: Options =
            serde_json::from_str(options).map_err(|error| Error(format!("options: {error}")))?;
        Carriers::with(options, wake)
    }

    pub(crate) fn with(
        options: Options,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Carriers, Error> {
        // What is wrong with the identity is found now, and not with each connection.
        tls::context(&options).map_err(|error| Error(format!("TLS: {error}")))?;
        let shared = Arc::new(Shared::new(options, wake));
        let (orders, received) = unbounded_channel();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error(error.to_string()))?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("mesh-carriers".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, run(of_thread, received));
                runtime.shutdown_background();
            })
            .map_err(|error| Error(error.to_string()))?;
        Ok(Carriers {
            shared,
            running: Mutex::new(Some((orders, thread))),
        })
    }

    /// Serves others at a port of this machine (0: any); which one it is.
    pub fn serve(&self, way: Way, port: u16) -> Result<u16, Error> {
        let (socket, port) = bind(way, port).map_err(|error| Error(error.to_string()))?;
        self.order(Order::Serve(way, socket));
        Ok(port)
    }

    /// Begins a carrier to a relay there, which must have this identity, for packets to its device
    /// at `target`. The number of the carrier: it is told of.
    pub fn connect(&self, way: Way, to: SocketAddr, target: SocketAddr, identity: [u8; 32]) -> u32 {
        let number = self.shared.number();
        let aim = Aim {
            to,
            target,
            identity,
        };
        self.order(Order::Connect(number, way, aim));
        number
    }

    /// Whether one that asks is let in.
    pub fn admit(&self, carrier: u32, is_member: bool) {
        let decision = if is_member {
            Decision::Admit
        } else {
            Decision::Refuse
        };
        self.order(Order::Decide(carrier, decision));
    }

    /// Ends one.
    pub fn end(&self, carrier: u32) {
        self.order(Order::Decide(carrier, Decision::End));
    }

    /// What happened.
    pub fn take(&self) -> Vec<Event> {
        self.shared.take()
    }

    /// Ends all, and returns when their ports are free. Waits for a moment.
    pub fn close(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((orders, thread)) = running {
            drop(orders);
            // Whatever it ended by, it is over.
            let _ = thread.join();
        }
    }

    fn order(&self, order: Order) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((orders, _)) = &*running {
            // A thread that ended has no carriers to decide about.
            let _ = orders.send(order);
        }
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        self.close();
    }
}

/// A socket of both families where the machine has them, and its port.
fn bind(way: Way, port: u16) -> std::io::Result<(Socket, u16)> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let socket = match bind_to(way, any) {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            bind_to(way, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?
        }
        bound => bound?,
    };
    let local = socket.local_addr()?.as_socket();
    Ok((socket, local.map_or(port, |local| local.port())))
}

fn bind_to(way: Way, address: SocketAddr) -> std::io::Result<Socket> {
    let (kind, protocol) = match way {
        Way::H3 => (Type::DGRAM, Protocol::UDP),
        Way::Tcp => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    if way == Way::Tcp {
        // Those of a program that ended a moment ago are no reason to wait.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if way == Way::Tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

async fn run(shared: Arc<Shared>, mut orders: UnboundedReceiver<Order>) {
    let room = Rc::new(Room::new(shared));
    let (Ok(settings), Ok(tls)) = (
        h3::settings::Settings::new(room.options()).map(Rc::new),
        tls::context(room.options()),
    ) else {
        return; // the same context was built before
    };
    let ground = tcp::Ground {
        room: Rc::clone(&room),
        tls: tls.build(),
    };
    let mut serving = Vec::new();
    while let Some(order) = orders.recv().await {
        let (room, settings, ground) = (Rc::clone(&room), Rc::clone(&settings), ground.clone());
        match order {
            Order::Serve(Way::H3, socket) => {
                serving.push(spawn_local(h3::server::serve(
                    socket.into(),
                    room,
                    settings,
                )));
            }
            Order::Serve(Way::Tcp, socket) => {
                serving.push(spawn_local(tcp::server::serve(socket.into(), ground)));
            }
            Order::Connect(number, way, aim) => {
                let desk = Rc::new(Desk::default());
                room.enter(number, &desk);
                match way {
                    Way::H3 => {
                        spawn_local(h3::client::connect(number, aim, desk, (room, settings)))
                    }
                    Way::Tcp => spawn_local(tcp::client::connect(number, aim, desk, ground)),
                };
            }
            Order::Decide(number, decision) => room.put(number, decision),
        }
    }
    room.end_all();
    let all_gone = async {
        while !room.is_empty() {
            tokio::time::sleep(END_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(END_GRACE, all_gone).await;
    serving.iter().for_each(tokio::task::JoinHandle::abort);
}

//! The client's side: one socket and one task for each connection.

use super::link::{Ground, Link, Side};
use super::settings::Settings;
use crate::desk::{Aim, Desk, Room};
use crate::port::{Path, Port};
use quiche::ConnectionId;
use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Instant;
use tokio::time::{Duration, sleep_until};

/// Batches from the socket in one turn.
const BATCHES_PER_TURN: usize = 8;
/// Without anything to wait for.
const FAR: Duration = Duration::from_secs(3600);

/// Connects, and carries until it is over.
pub async fn connect(
    number: u32,
    aim: Aim,
    desk: Rc<Desk>,
    (room, settings): (Rc<Room>, Rc<Settings>),
) {
    match open(aim, (Rc::clone(&room), settings)) {
        Ok((link, ground)) => {
            let link = Rc::new(RefCell::new(link.known_as(number, desk)));
            link.borrow_mut().turn();
            drive(&link, &ground, true).await;
        }
        Err(reason) => room.leave(number, reason, 0),
    }
}

fn open(aim: Aim, (room, settings): (Rc<Room>, Rc<Settings>)) -> Result<(Link, Ground), String> {
    let any = match aim.to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // Not connected: this machine may get another address, and go on.
    let socket = UdpSocket::bind(any).map_err(|error| error.to_string())?;
    let port = Rc::new(Port::new(socket).map_err(|error| error.to_string())?);
    let path = Path {
        local: port.local(),
        peer: aim.to,
    };
    let quic = {
        let mut config = settings.client.borrow_mut();
        let own = ConnectionId::from_ref(&[]);
        quiche::connect(None, &own, path.local, path.peer, &mut config)
            .map_err(|error| error.to_string())?
    };
    let ground = Ground {
        room,
        settings,
        port,
    };
    let link = Link::new(quic, path, Side::Client(aim), ground.clone());
    Ok((link, ground))
}

/// Keeps a connection going until nothing is left of it. A client's reads its own socket.
pub async fn drive(link: &Rc<RefCell<Link>>, ground: &Ground, reads: bool) {
    let desk = Rc::clone(link.borrow().desk());
    let clock = sleep_until((Instant::now() + FAR).into());
    tokio::pin!(clock);
    loop {
        let (lane, is_blocked) = {
            let mut link = link.borrow_mut();
            if link.is_gone() {
                return;
            }
            let deadline = link.deadline().unwrap_or_else(|| Instant::now() + FAR);
            // One that rings too early costs less than one that is set with each packet.
            if deadline < clock.deadline().into_std() || clock.is_elapsed() {
                clock.as_mut().reset(deadline.into());
            }
            link.armed = clock.deadline().into_std();
            (link.lane().cloned(), link.is_blocked())
        };
        let from_device = async {
            match &lane {
                Some(lane) => lane.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ground.port.readable(), if reads => receive(link, ground),
            () = from_device => link.borrow_mut().take_from_device(),
            () = desk.bell.notified() => {}
            () = ground.port.writable(), if is_blocked => {}
            () = clock.as_mut() => {
                // What waits was heard, however late this program comes to it.
                if reads {
                    receive(link, ground);
                }
                link.borrow_mut().timeout(Instant::now());
            }
        }
        link.borrow_mut().turn();
    }
}

fn receive(link: &Rc<RefCell<Link>>, ground: &Ground) {
    let mut link = link.borrow_mut();
    let mut scratch = ground.room.buffers.scratch.borrow_mut();
    for _ in 0..BATCHES_PER_TURN {
        let more = ground.port.receive(&mut scratch, |packet, _| {
            // Whoever sent it: what counts is that it can be decrypted.
            link.hear(packet);
        });
        if !more {
            break;
        }
    }
    link.note_heard();
}

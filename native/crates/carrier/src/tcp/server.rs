//! The server's side.

use super::link::Link;
use super::pipe::{Pipe, handshake};
use super::{Ground, decided};
use crate::desk::{Decision, Desk, plain};
use crate::handshakes::{Begin, HalfOpen, Handshakes};
use crate::{Event, Way, tls};
use boring::ssl::{Ssl, SslStream};
use socket2::SockRef;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout_at};

/// Without descriptors it waits for some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a port until the thread ends.
pub async fn serve(listener: std::net::TcpListener, ground: Ground) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return; // it does not happen to one that listens
    };
    let handshakes = Handshakes::default();
    let places = Rc::new(());
    let options = ground.room.options();
    loop {
        let Ok((tcp, remote)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if Rc::strong_count(&places) > options.carriers_max {
            continue;
        }
        let remote = plain(remote);
        // Whoever is in TCP has its address.
        if let Begin::Open(half_open) = handshakes.begin(remote.ip(), true, options) {
            let (place, ground) = (Rc::clone(&places), ground.clone());
            spawn_local(async move {
                serve_one(tcp, remote, half_open, ground).await;
                drop(place);
            });
        }
    }
}

async fn serve_one(tcp: TcpStream, remote: SocketAddr, half_open: HalfOpen, ground: Ground) {
    let room = &ground.room;
    let deadline = Instant::now() + room.options().opening_timeout();
    let Ok(Ok(tls)) = timeout_at(deadline, greet(&tcp, &ground)).await else {
        return;
    };
    let shown = tls.ssl().peer_certificate();
    let Some(identity) = shown.as_deref().and_then(tls::identity_of) else {
        return; // whoever that is, it is no node
    };
    let (carrier, desk) = (room.shared.number(), Rc::new(Desk::default()));
    room.enter(carrier, &desk);
    room.shared.happened(Event::Asks {
        carrier,
        way: Way::Tcp,
        identity,
        remote,
    });
    let decision = timeout_at(deadline, decided(&desk)).await;
    drop(half_open);
    let (reason, dropped) = match decision {
        Ok(Decision::Admit) => match Link::open((tcp, tls), (carrier, remote), &ground) {
            Ok(link) => link.carry(&desk).await,
            Err(reason) => (reason, 0),
        },
        Ok(Decision::Refuse) => ("it is no member of the mesh".to_owned(), 0),
        Ok(Decision::End) => ("ended here".to_owned(), 0),
        Err(_) => ("not let in in time".to_owned(), 0),
    };
    room.leave(carrier, reason, dropped);
}

async fn greet(tcp: &TcpStream, ground: &Ground) -> Result<SslStream<Pipe>, String> {
    let words = |error: std::io::Error| error.to_string();
    tcp.set_nodelay(true).map_err(words)?;
    // It asks nothing itself; what it says is acknowledged by then.
    let silence = Duration::from_millis(ground.room.options().silence_ms);
    let socket = SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(silence)).map_err(words)?;
    let ssl = Ssl::new(&ground.tls).map_err(|error| error.to_string())?;
    handshake(tcp, ssl.setup_accept(Pipe::default())).await
}

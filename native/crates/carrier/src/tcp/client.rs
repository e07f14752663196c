//! The client's side.

use super::link::Link;
use super::pipe::{Pipe, handshake};
use super::{Ground, decided};
use crate::desk::{Aim, Decision, Desk};
use crate::{Options, tls};
use boring::ssl::{Ssl, SslStream};
use socket2::{SockRef, TcpKeepalive};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The kernel counts them in these.
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);

/// Connects, and carries until it is over.
pub async fn connect(number: u32, aim: Aim, desk: Rc<Desk>, ground: Ground) {
    let (reason, dropped) = match begin(aim, &desk, &ground).await {
        Ok(connection) => match Link::open(connection, (number, aim.to), &ground) {
            Ok(link) => link.carry(&desk).await,
            Err(reason) => (reason, 0),
        },
        Err(reason) => (reason, 0),
    };
    ground.room.leave(number, reason, dropped);
}

async fn begin(
    aim: Aim,
    desk: &Desk,
    ground: &Ground,
) -> Result<(TcpStream, SslStream<Pipe>), String> {
    let attempt = timeout(
        ground.room.options().connect_timeout(),
        attempt(aim, ground),
    );
    let ended = async { while decided(desk).await != Decision::End {} };
    tokio::select! {
        done = attempt => done.unwrap_or_else(|_| Err("no answer in time".to_owned())),
        () = ended => Err("ended here".to_owned()),
    }
}

async fn attempt(aim: Aim, ground: &Ground) -> Result<(TcpStream, SslStream<Pipe>), String> {
    let words = |error: std::io::Error| error.to_string();
    let tcp = TcpStream::connect(aim.to).await.map_err(words)?;
    tune(&tcp, ground.room.options()).map_err(words)?;
    let ssl = Ssl::new(&ground.tls).map_err(|error| error.to_string())?;
    let tls = handshake(&tcp, ssl.setup_connect(Pipe::default())).await?;
    let shown = tls.ssl().peer_certificate();
    if shown.as_deref().and_then(tls::identity_of) != Some(aim.identity) {
        return Err("it is somebody else".to_owned());
    }
    Ok((tcp, tls))
}

/// The kernel asks whether the relay is there, and ends the connection when nothing is heard.
fn tune(tcp: &TcpStream, options: &Options) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let ping = options.ping().max(KEEPALIVE_MIN);
    let asking = TcpKeepalive::new().with_time(ping).with_interval(ping);
    socket.set_tcp_keepalive(&asking)?;
    socket.set_tcp_user_timeout(Some(options.deaf()))
}

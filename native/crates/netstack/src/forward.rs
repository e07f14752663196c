//! Connections that others began, carried to sockets of the system: those to an address of the node
//! to the same port of its loopback, those into a range that it serves to the address itself.

use crate::{Offer, Stream};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Until a machine behind this node must have answered; shorter than the peer's patience with us.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of each direction of a connection that is carried.
const COPY_BYTES: usize = 64 * 1024;

/// Carries them until nobody offers any more.
pub async fn forward(mut incoming: mpsc::Receiver<Offer>) {
    while let Some(offer) = incoming.recv().await {
        tokio::spawn(carry_in(offer));
    }
}

/// Says yes only after the other end did: its refusal is ours.
async fn carry_in(offer: Offer) {
    if let Some(mut socket) = connect(&offer).await {
        let _ = socket.set_nodelay(true);
        let stream = offer.accept();
        if carry(stream, &mut socket).await.is_err() {
            // What was cut off must not look like an end.
            let _ = socket.set_zero_linger();
        }
    }
}

async fn connect(offer: &Offer) -> Option<TcpStream> {
    let Offer { target, is_own, .. } = offer;
    // Many programs listen on one family only.
    let loopbacks: [IpAddr; 2] = match target.ip() {
        IpAddr::V4(_) => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        IpAddr::V6(_) => [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
    };
    let targets = if *is_own {
        loopbacks
            .map(|address| SocketAddr::new(address, target.port()))
            .to_vec()
    } else {
        vec![*target]
    };
    let connecting = TcpStream::connect(targets.as_slice());
    timeout(CONNECT_TIMEOUT, connecting).await.ok()?.ok()
}

/// Moves bytes both ways until both ended, or one failed: then the peer is told.
pub(crate) async fn carry<S>(mut stream: Stream, socket: &mut S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let carried = copy_bidirectional_with_sizes(&mut stream, socket, COPY_BYTES, COPY_BYTES).await;
    if carried.is_err() {
        stream.abort();
    }
    carried.map(|_| ())
}

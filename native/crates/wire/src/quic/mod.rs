//! HTTP/3: quiche for the protocol, one UDP socket and one task per listener and wire thread.
//!
//! One `Endpoint` owns the socket and all its connections. A request becomes a task that runs
//! `serve` with a body and a sink, the two ends of a `stream`, which call into quiche directly:
//! everything lives on one thread, so the way back to the socket is a list of connections that have
//! something to send, not a channel. Back-pressure is quiche's own: a body is read when `serve`
//! asks for it, and a sink waits until its stream has capacity.

mod ask;
mod body;
mod cid;
mod connection;
mod endpoint;
mod handshakes;
mod host;
mod ids;
mod inbox;
mod invalid_token;
mod moves;
mod neighbours;
mod queue;
mod request;
mod reset;
mod response;
mod settings;
mod sink;
mod socket;
mod state;
mod stream;
mod table;
mod timers;
mod token;

#[cfg(test)]
mod move_tests;
#[cfg(test)]
mod routing_tests;
#[cfg(test)]
pub(crate) mod test_edge;
#[cfg(test)]
mod tests;

use crate::thread::WireThread;
pub use ask::{Question, ask};
use endpoint::Endpoint;
pub use host::Host;
pub(crate) use neighbours::run as listen_to_neighbours;
pub use neighbours::{Acquaintance, NeighboursConfig};
use std::rc::Rc;
use tokio::task::JoinSet;

/// Serves HTTP/3 on `socket` until the future is dropped. `listener` is the index into
/// `WireConfig.listeners`; every wire thread has its own socket on the same port (SO_REUSEPORT).
pub async fn listen(thread: Rc<WireThread>, listener: u32, socket: std::net::UdpSocket) {
    let stats = thread.shared.stats.clone();
    // A panic costs the connections of this socket, not the listener: the socket stays here and a
    // new endpoint begins with a copy of it. Dropping the set ends the endpoint with this future.
    let mut running = JoinSet::new();
    loop {
        let copy = socket.try_clone();
        let Ok(endpoint) = copy.and_then(|copy| Endpoint::new(thread.clone(), listener, copy))
        else {
            return stats.quic_add("listenFailed", 1);
        };
        running.spawn_local(endpoint.run());
        if running
            .join_next()
            .await
            .is_some_and(|ended| ended.is_err())
        {
            stats.panics.add(1);
        }
    }
}

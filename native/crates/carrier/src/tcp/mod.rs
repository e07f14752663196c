//! Carriers in TCP, for nodes that nothing else comes out of: each packet after its length
//! (RFC 4571 §2), in TLS. The protocol has no word for "come in": who is not let in is cut off.

pub mod client;
mod frames;
mod link;
mod pipe;
pub mod server;

#[cfg(test)]
mod tests;

use crate::desk::{Decision, Desk, Room};
use boring::ssl::SslContext;
use std::rc::Rc;

/// What everybody on the thread has.
#[derive(Clone)]
pub struct Ground {
    pub room: Rc<Room>,
    pub tls: SslContext,
}

/// Until something is decided.
async fn decided(desk: &Desk) -> Decision {
    loop {
        if let Some(decision) = desk.take() {
            return decision;
        }
        desk.bell.notified().await;
    }
}

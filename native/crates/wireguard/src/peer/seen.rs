//! What a peer looks like from outside.

use super::Peer;
use crate::paths::Doubt;
use crate::relay::Served;
use gotatun::x25519::PublicKey;
use std::net::SocketAddr;
use std::time::Duration;

pub struct Seen {
    pub key: PublicKey,
    pub endpoint: Option<SocketAddr>,
    pub last_handshake: Option<Duration>,
    pub received_bytes: usize,
    pub sent_bytes: usize,
    /// Packets still take a session of a key that was replaced.
    pub is_on_previous_key: bool,
    /// Why packets go through a relay; none when they do not.
    pub doubt: Option<Doubt>,
    pub is_silent: bool,
    /// Packets were sent to it for so long without a word back.
    pub unanswered: Option<Duration>,
    /// The relay that packets take, when they take one.
    pub relay: Option<PublicKey>,
    /// The address by which it saw us last, if it was asked.
    pub seen_as: Option<SocketAddr>,
    pub served: Served,
}

impl Peer {
    /// Whether it was spoken to or heard, or asked anything of us.
    pub fn is_in_use(&self) -> bool {
        let state = self.state.lock();
        let is_spoken_to = !state.tunnels.is_empty() || state.sent_bytes > 0;
        drop(state);
        is_spoken_to || self.is_relaying()
    }

    pub fn seen(&self) -> Option<Seen> {
        let (doubt, seen_as) = (self.doubt(), self.seen_as());
        let relay = doubt.and_then(|_| self.relay_key());
        let state = self.state.lock();
        let mut seen = Seen {
            key: *state.keys.first()?,
            endpoint: state.endpoint,
            last_handshake: None,
            received_bytes: state.received_bytes,
            sent_bytes: state.sent_bytes,
            doubt,
            relay,
            is_silent: self.is_silent(),
            unanswered: state.unanswered(),
            seen_as,
            served: self.served(),
            is_on_previous_key: state.tunnels.len() > 1
                && state
                    .tunnels
                    .first()
                    .is_none_or(|tunnel| tunnel.proven.is_none()),
        };
        for tunnel in &state.tunnels {
            let (ago, sent, received, ..) = tunnel.tunn.stats();
            seen.sent_bytes += sent;
            seen.received_bytes += received;
            seen.last_handshake = match (seen.last_handshake, ago) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
        Some(seen)
    }
}

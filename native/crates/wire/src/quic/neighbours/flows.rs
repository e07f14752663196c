//! Clients whose datagrams went through another program, so that the answers take the same way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Clients kept; beyond it further ones are refused.
pub(super) const FLOWS_MAX: usize = 16_384;
/// How long after its last datagram a client is kept: longer than a QUIC connection may be silent
/// by default, and about as long as the node keeps a flow of UDP.
pub(super) const FLOW_EXPIRY: Duration = Duration::from_secs(60);

/// A client, and the address that it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// By flow: the program on the other end, and when the client was last heard.
#[derive(Default)]
pub(super) struct Flows(HashMap<Flow, (u16, Instant)>);

impl Flows {
    /// Notes a datagram of the client. False: there is no room.
    pub fn note(&mut self, flow: Flow, generation: u16, now: Instant) -> bool {
        if self.0.len() >= FLOWS_MAX && !self.0.contains_key(&flow) {
            self.expire(now);
            if self.0.len() >= FLOWS_MAX {
                return false;
            }
        }
        self.0.insert(flow, (generation, now));
        true
    }

    /// The program that has this client's connection, or received its datagrams.
    pub fn get(&self, flow: &Flow, now: Instant) -> Option<u16> {
        let (generation, at) = self.0.get(flow)?;
        (now.saturating_duration_since(*at) < FLOW_EXPIRY).then_some(*generation)
    }

    /// Forgets those that were silent for too long.
    pub fn expire(&mut self, now: Instant) {
        let is_late = |at: &Instant| now.saturating_duration_since(*at) >= FLOW_EXPIRY;
        self.0.retain(|_, (_, at)| !is_late(at));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        Flow {
            client: SocketAddr::new("192.0.2.1".parse().unwrap(), port),
            local: "10.0.0.5:8443".parse().unwrap(),
        }
    }

    #[test]
    fn clients_are_bounded_and_expire() {
        let (mut flows, now) = (Flows::default(), Instant::now());
        for port in 0..FLOWS_MAX {
            assert!(flows.note(flow(u16::try_from(port).unwrap()), 7, now));
        }
        assert!(!flows.note(flow(60_000), 7, now), "full");
        assert!(flows.note(flow(0), 8, now), "known already");
        assert_eq!(flows.get(&flow(0), now), Some(8));
        assert_eq!(flows.get(&flow(60_000), now), None);
        let later = now + FLOW_EXPIRY;
        assert_eq!(flows.get(&flow(0), later), None);
        assert!(flows.note(flow(60_000), 7, later), "room again");
        assert_eq!(flows.get(&flow(60_000), later), Some(7));
    }
}

//! The budget for handshakes that have begun and not ended, over all threads: counted before
//! anything is allocated for a connection.

use crate::admission::Origin;
use crate::config::WireLimits;
use crate::error_code::ErrorCode;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What is under way.
#[derive(Default)]
struct Counts {
    all: usize,
    /// By client, and whether its address is proven: whoever forges a client's address must not
    /// use up the places of that client.
    by_origin: HashMap<(Origin, bool), usize>,
}

/// Unfinished handshakes.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<Counts>);

/// What is to be done with a client's first packet.
pub(super) enum Begin {
    /// A connection may begin; the place is given back with the value.
    Open(HalfOpen),
    /// It must prove its address first.
    Retry,
    /// There is no place.
    Refused(ErrorCode),
}

/// One unfinished handshake.
pub(super) struct HalfOpen {
    handshakes: Arc<Handshakes>,
    key: (Origin, bool),
}

impl Handshakes {
    /// Takes a place for `peer`; `proven`: it brought a token.
    pub fn begin(self: &Arc<Self>, peer: IpAddr, proven: bool, limits: &WireLimits) -> Begin {
        let key = (Origin::of(peer), proven);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_origin = counts.by_origin.get(&key).copied().unwrap_or(0);
        let crowded = of_origin >= limits.quic_handshakes_per_address_max;
        if !proven && (crowded || counts.all >= limits.quic_retry_from) {
            return Begin::Retry;
        }
        if crowded {
            return Begin::Refused(ErrorCode::AddressConnectionsExceeded);
        }
        if counts.all >= limits.quic_handshakes_max {
            return Begin::Refused(ErrorCode::TooManyConnections);
        }
        counts.all += 1;
        counts.by_origin.insert(key, of_origin + 1);
        Begin::Open(HalfOpen {
            handshakes: self.clone(),
            key,
        })
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut counts = self
            .handshakes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(count) = counts.by_origin.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_origin.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::quic::test_edge::limits;

    #[test]
    fn retry_comes_first_then_refusal_and_places_come_back() {
        let limits = WireLimits {
            quic_retry_from: 3,
            quic_handshakes_max: 4,
            quic_handshakes_per_address_max: 2,
            ..limits()
        };
        let handshakes = Arc::new(Handshakes::default());
        let (one, two): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let begin = |peer, proven| handshakes.begin(peer, proven, &limits);
        let mut open = Vec::new();
        for _ in 0..2 {
            let Begin::Open(place) = begin(one, false) else {
                unreachable!()
            };
            open.push(place);
        }
        // Crowded, but perhaps by others in its name.
        assert!(matches!(begin(one, false), Begin::Retry));
        let Begin::Open(place) = begin(one, true) else {
            unreachable!()
        };
        open.push(place);
        assert!(matches!(begin(two, false), Begin::Retry));
        let Begin::Open(place) = begin(two, true) else {
            unreachable!()
        };
        open.push(place);
        let refused = begin(two, true);
        assert!(matches!(
            refused,
            Begin::Refused(ErrorCode::TooManyConnections)
        ));
        open.clear();
        assert!(matches!(begin(two, false), Begin::Open(_)));
        assert!(handshakes.0.lock().unwrap().by_origin.is_empty());
    }
}

//! Connections that have begun and are not let in yet: how many there may be, counted before
//! anything is allocated for one.

use crate::Options;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

#[derive(Default)]
struct Counts {
    all: usize,
    /// By address, and whether that is proven: whoever forges an address must not use up the places
    /// of who has it.
    by_address: HashMap<(IpAddr, bool), usize>,
}

/// Those of one server.
#[derive(Clone, Default)]
pub struct Handshakes(Rc<RefCell<Counts>>);

/// What is to be done with a client's first packet.
pub enum Begin {
    /// A connection may begin; the place is given back with the value.
    Open(HalfOpen),
    /// It must prove its address first.
    Retry,
    /// There is no place.
    Refused,
}

/// One of them.
pub struct HalfOpen {
    handshakes: Handshakes,
    key: (IpAddr, bool),
}

impl Handshakes {
    /// Takes a place; `is_proven`: it brought a token.
    pub fn begin(&self, peer: IpAddr, is_proven: bool, options: &Options) -> Begin {
        let key = (peer, is_proven);
        let mut counts = self.0.borrow_mut();
        let of_address = counts.by_address.get(&key).copied().unwrap_or(0);
        let is_crowded = of_address >= options.handshakes_per_address_max;
        if !is_proven && (is_crowded || counts.all >= options.retry_from) {
            return Begin::Retry;
        }
        if is_crowded || counts.all >= options.handshakes_max {
            return Begin::Refused;
        }
        counts.all += 1;
        counts.by_address.insert(key, of_address + 1);
        Begin::Open(HalfOpen {
            handshakes: self.clone(),
            key,
        })
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut counts = self.handshakes.0.borrow_mut();
        counts.all = counts.all.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.by_address.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::options;

    #[test]
    fn retry_comes_first_then_refusal_and_places_come_back() {
        let options = Options {
            retry_from: 3,
            handshakes_max: 4,
            handshakes_per_address_max: 2,
            ..options()
        };
        let handshakes = Handshakes::default();
        let [one, two]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let mut open = Vec::new();
        let mut begin = |peer, proven| match handshakes.begin(peer, proven, &options) {
            Begin::Open(place) => {
                open.push(place);
                "open"
            }
            Begin::Retry => "retry",
            Begin::Refused => "refused",
        };
        assert_eq!([begin(one, false), begin(one, false)], ["open", "open"]);
        // Crowded, but perhaps by others in its name.
        assert_eq!([begin(one, false), begin(one, true)], ["retry", "open"]);
        assert_eq!([begin(two, false), begin(two, true)], ["retry", "open"]);
        assert_eq!(begin(two, true), "refused");
        open.clear();
        assert!(handshakes.0.borrow().by_address.is_empty());
        assert!(matches!(
            handshakes.begin(two, false, &options),
            Begin::Open(_)
        ));
    }
}

use super::*;

const PASSING: Key = [0xff; 32];

fn key(number: u8) -> Key {
    [number; 32]
}

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn change(number: u8, allowed: &[&str]) -> PeerChange {
    PeerChange {
        public_key: PublicKey::from(key(number)),
        previous_key: None,
        allowed_ips: Some(networks(allowed)),
        standby_ips: None,
        endpoint: None,
        keepalive_s: None,
        mtu: None,
        relays: None,
        candidates: None,
        hears_one_key: None,
        is_watched: None,
        is_inside: None,
    }
}

fn delta(peers: Vec<PeerChange>, removed: &[u8]) -> Delta {
    let removed = removed.iter().map(|&number| PublicKey::from(key(number)));
    Delta {
        peers,
        remove_peers: removed.collect(),
        ..Delta::default()
    }
}

#[test]
fn what_the_kernel_does_not_have_changes_no_step() {
    let wanted = delta(vec![change(1, &["10.0.0.1/32"])], &[]);
    let steps = Peers::default().steps(&wanted, PASSING);
    let more = Delta {
        peers: vec![PeerChange {
            standby_ips: Some(networks(&["10.1.0.0/16"])),
            is_watched: Some(true),
            ..change(1, &["10.0.0.1/32"])
        }],
        forwards: Some(true),
        own_ranges: Some(networks(&["10.2.0.0/16"])),
        ..Delta::default()
    };
    assert_eq!(Peers::default().steps(&more, PASSING), steps);
}

/// A kernel that does as it is told.
#[derive(Default)]
struct Kernel(HashMap<Key, HashSet<IpNetwork>>);

impl Kernel {
    fn take(&mut self, steps: &[PeerStep]) {
        for step in steps {
            if step.is_removed {
                self.0.remove(&step.key);
                continue;
            }
            for network in &step.allow {
                for owned in self.0.values_mut() {
                    owned.remove(network);
                }
            }
            self.0.entry(step.key).or_default().extend(&step.allow);
        }
    }

    fn owner(&self, text: &str) -> Option<u8> {
        let network = text.parse().unwrap();
        let owner = self.0.iter().find(|(_, owned)| owned.contains(&network));
        owner.map(|(key, _)| key[0])
    }
}

/// Both after the same deltas; what the steps never did.
struct Pair(Peers, Kernel);

impl Pair {
    fn new() -> Self {
        Self(Peers::default(), Kernel::default())
    }

    fn apply(&mut self, delta: &Delta) -> Vec<PeerStep> {
        let steps = self.0.steps(delta, PASSING);
        self.1.take(&steps);
        assert!(!self.1.0.contains_key(&PASSING));
        steps
    }
}

#[test]
fn a_peer_is_made_and_goes_with_what_it_had() {
    let mut pair = Pair::new();
    pair.apply(&delta(vec![change(1, &["10.0.0.1/32", "fd00::/64"])], &[]));
    assert_eq!(pair.1.owner("fd00::/64"), Some(1));
    let steps = pair.apply(&delta(vec![], &[1]));
    assert!(steps.iter().all(|step| step.is_removed));
    assert!(pair.1.0.is_empty());
    assert_eq!(pair.apply(&delta(vec![], &[1])), []);
}

#[test]
fn what_stays_is_never_told_again() {
    let mut pair = Pair::new();
    pair.apply(&delta(
        vec![change(1, &["10.0.0.1/32", "10.1.0.0/16"])],
        &[],
    ));
    let steps = pair.apply(&delta(
        vec![change(1, &["10.0.0.1/32", "10.2.0.0/16"])],
        &[],
    ));
    let told: Vec<_> = steps.iter().flat_map(|step| &step.allow).collect();
    assert!(!told.contains(&&"10.0.0.1/32".parse().unwrap()));
    assert_eq!(pair.1.owner("10.0.0.1/32"), Some(1));
    assert_eq!(pair.1.owner("10.1.0.0/16"), None);
    assert_eq!(pair.1.owner("10.2.0.0/16"), Some(1));
    assert_eq!(pair.1.0.len(), 1);
}

#[test]
fn a_prefix_that_moves_goes_straight_to_its_new_peer() {
    let mut pair = Pair::new();
    pair.apply(&delta(
        vec![change(1, &["10.0.0.1/32", "10.9.0.0/16"]), change(2, &[])],
        &[],
    ));
    let moved = vec![change(1, &["10.0.0.1/32"]), change(2, &["10.9.0.0/16"])];
    let steps = pair.apply(&delta(moved, &[]));
    assert_eq!(pair.1.owner("10.9.0.0/16"), Some(2));
    assert!(steps.iter().all(|step| step.key != PASSING));
    // Also to one that comes in the delta that takes the other away.
    pair.apply(&delta(vec![change(3, &["10.9.0.0/16"])], &[2]));
    assert_eq!(pair.1.owner("10.9.0.0/16"), Some(3));
    assert!(!pair.1.0.contains_key(&key(2)));
}

#[test]
fn addresses_stay_with_the_key_before_until_the_next_is_heard() {
    let mut pair = Pair::new();
    pair.apply(&delta(
        vec![change(1, &["10.0.0.1/32", "10.1.0.0/16"])],
        &[],
    ));
    let next = PeerChange {
        previous_key: Some(PublicKey::from(key(1))),
        ..change(2, &["10.0.0.1/32", "10.2.0.0/16"])
    };
    pair.apply(&delta(vec![next], &[]));
    assert!(pair.1.0.contains_key(&key(2)));
    for (network, owner) in [
        ("10.0.0.1/32", Some(1)),
        ("10.1.0.0/16", None),
        ("10.2.0.0/16", Some(1)),
    ] {
        assert_eq!(pair.1.owner(network), owner, "{network}");
    }
    // A change meanwhile is one of the key before.
    pair.apply(&delta(
        vec![change(2, &["10.0.0.1/32", "10.3.0.0/16"])],
        &[],
    ));
    assert_eq!(pair.1.owner("10.3.0.0/16"), Some(1));
    let mut steps = Vec::new();
    pair.0.take_over(key(2), None, &mut steps);
    pair.1.take(&steps);
    assert_eq!(pair.0.changing().count(), 0);
    assert_eq!(pair.1.owner("10.0.0.1/32"), Some(2));
    assert_eq!(pair.1.owner("10.3.0.0/16"), Some(2));
    pair.apply(&delta(vec![], &[1]));
    assert_eq!(pair.1.owner("10.0.0.1/32"), Some(2));
}

#[test]
fn a_next_key_has_no_session_before_it_has_the_addresses() {
    let mut pair = Pair::new();
    let bolted = |steps: &[PeerStep], number: u8| {
        let told = steps.iter().filter(|step| step.key == key(number));
        told.filter_map(|step| step.shared_key).next_back() == Some(BOLT)
    };
    let steps = pair.apply(&delta(vec![change(1, &["10.0.0.1/32"])], &[]));
    assert!(!bolted(&steps, 1));
    let next = PeerChange {
        previous_key: Some(PublicKey::from(key(1))),
        ..change(2, &["10.0.0.1/32"])
    };
    assert!(bolted(&pair.apply(&delta(vec![next], &[])), 2));
    // Whatever else changes meanwhile.
    assert!(bolted(
        &pair.apply(&delta(vec![change(2, &["10.0.0.1/32"])], &[])),
        2
    ));
    let mut steps = Vec::new();
    let heard = PeerState {
        received_bytes: 148,
        ..found(2, &[])
    };
    pair.0.take_over(key(2), Some(&heard), &mut steps);
    let [gone, made, last] = &steps[..] else {
        panic!("{steps:?}");
    };
    // Made anew where it was heard, it begins at once.
    assert!(gone.is_removed);
    assert_eq!((made.endpoint, made.keepalive_s), (heard.endpoint, Some(1)));
    assert_eq!(made.allow, networks(&["10.0.0.1/32"]));
    assert_eq!(last.keepalive_s, Some(0));
    assert!(!bolted(&steps, 2));
}

#[test]
fn a_key_before_that_goes_leaves_its_addresses_to_the_next() {
    let mut pair = Pair::new();
    pair.apply(&delta(vec![change(1, &["10.0.0.1/32"])], &[]));
    let next = PeerChange {
        previous_key: Some(PublicKey::from(key(1))),
        ..change(2, &["10.0.0.1/32"])
    };
    pair.apply(&delta(vec![next], &[]));
    pair.apply(&delta(vec![], &[1]));
    assert_eq!(pair.1.owner("10.0.0.1/32"), Some(2));
    assert_eq!(pair.0.changing().count(), 0);
}

fn found(number: u8, allowed: &[&str]) -> PeerState {
    PeerState {
        key: key(number),
        endpoint: Some("192.0.2.9:9".parse().unwrap()),
        allowed: networks(allowed),
        ..PeerState::default()
    }
}

#[test]
fn an_adopted_device_keeps_what_the_first_whole_delta_names() {
    let peers = vec![
        found(1, &["10.0.0.1/32"]),
        found(2, &["10.0.0.2/32"]),
        found(3, &["10.0.0.3/32"]),
    ];
    let state = DeviceState {
        private_key: None,
        peers,
    };
    let mut peers = Peers::adopted(&state, |peer| peer.key == key(1));
    // A change of keys alone says nothing of peers.
    assert_eq!(peers.steps(&Delta::default(), PASSING), []);
    let endpoint = "192.0.2.1:1".parse().ok();
    let placed = |number, allowed: &[&str]| PeerChange {
        endpoint,
        ..change(number, allowed)
    };
    let whole = Delta {
        add_addresses: networks(&["10.0.0.9/32"]),
        ..delta(
            vec![placed(1, &["10.0.0.1/32"]), placed(2, &["10.0.0.2/32"])],
            &[],
        )
    };
    let steps = peers.steps(&whole, PASSING);
    let told = |number| steps.iter().find(|step| step.key == key(number)).unwrap();
    assert_eq!((told(1).endpoint, &told(1).allow[..]), (None, &[][..]));
    assert_eq!((told(2).endpoint, &told(2).allow[..]), (endpoint, &[][..]));
    assert!(told(3).is_removed);
    // Later ones are told what they are told.
    let steps = peers.steps(&delta(vec![placed(1, &["10.0.0.1/32"])], &[]), PASSING);
    assert_eq!(steps[0].endpoint, endpoint);
}

#[test]
fn what_went_wrong_halfway_is_read_again() {
    let mut peers = Peers::default();
    let wanted = delta(
        vec![change(1, &["10.0.0.1/32"]), change(2, &["10.0.0.2/32"])],
        &[],
    );
    peers.steps(&wanted, PASSING);
    peers.reread(&DeviceState {
        private_key: None,
        peers: vec![found(1, &["10.0.0.1/32"])],
    });
    let steps = peers.steps(&wanted, PASSING);
    let told: Vec<_> = steps.iter().filter(|step| !step.allow.is_empty()).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].key, key(2));
}

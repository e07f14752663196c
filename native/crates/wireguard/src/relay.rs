//! What a peer does beside WireGuard: it is reached through a relay or is one, asks and answers.

use crate::envelope::{self, Ends, HEADER, Id, Kind, Secret, id_of};
use crate::keys::OwnKey;
use crate::paths::{Doubt, Quota, RELAYS_MAX, RelayLimits, Ways};
use crate::peer::Peer;
use bytes::BytesMut;
use gotatun::x25519::PublicKey;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

/// Probes of one peer that are answered.
const ANSWERS_AT_ONCE: f64 = 64.0;
const ANSWERS_PER_SECOND: f64 = 32.0;

/// Two keys of ours and two of its own, while both change.
const SECRETS_KEPT: usize = 4;

/// The part of a peer that is about ways to it. Its locks are held for no call to another peer.
#[derive(Default)]
pub struct Relaying {
    /// Read for each packet; the rest only where one of them is true.
    has_relay: AtomicBool,
    is_relay: AtomicBool,
    told: Mutex<Told>,
    /// Most peers of a large mesh have none of it: nothing was ever sent to them.
    learned: OnceLock<Box<Learned>>,
}

/// What deltas say.
#[derive(Default)]
struct Told {
    /// The first one that is there is taken; two relays may be each other's.
    relays: [Weak<Peer>; RELAYS_MAX],
    /// Where it might be, beside its endpoint.
    candidates: Box<[SocketAddr]>,
}

/// What comes of packets.
#[derive(Default)]
struct Learned {
    ways: Mutex<Ways>,
    /// The youngest first: agreeing on one takes as long as fifty packets.
    secrets: Mutex<Vec<(Arc<OwnKey>, PublicKey, Secret)>>,
    forwarded: Mutex<Option<Quota>>,
    answered: Mutex<Option<Quota>>,
    forwarded_bytes: AtomicU64,
    refused_packets: AtomicU64,
}

/// What this node did for a peer as its relay.
#[derive(Clone, Copy, Default)]
pub struct Served {
    pub forwarded_bytes: u64,
    pub refused_packets: u64,
}

impl Relaying {
    fn learned(&self) -> &Learned {
        self.learned.get_or_init(Box::default)
    }

    /// None before the first of it.
    fn known(&self) -> Option<&Learned> {
        self.learned.get().map(Box::as_ref)
    }
}

/// How a packet leaves: directly, through a relay, or both.
pub struct Way {
    pub direct: Option<SocketAddr>,
    relay: Option<Through>,
}

/// A relay, as a sender needs it.
struct Through {
    to: SocketAddr,
    ends: Ends,
    secret: Secret,
}

impl Way {
    pub fn directly(direct: Option<SocketAddr>) -> Self {
        let relay = None;
        Self { direct, relay }
    }

    /// Back through the relay `from` that a message came from, to the node `to` behind it.
    pub fn back(own: &Arc<OwnKey>, relay: &Peer, from: SocketAddr, to: Id) -> Self {
        let secret = relay.spoken().map(|key| relay.secret(own, &key));
        let from_us = id_of(&own.public);
        Self {
            direct: None,
            relay: secret.map(|secret| Through {
                to: from,
                ends: Ends { from: from_us, to },
                secret,
            }),
        }
    }

    /// Also directly to where a message came from.
    pub fn and_directly(self, direct: SocketAddr) -> Self {
        let direct = Some(direct);
        Self { direct, ..self }
    }

    pub fn leads_nowhere(&self) -> bool {
        self.direct.is_none() && self.relay.is_none()
    }

    pub fn send(&self, message: BytesMut, send: &mut impl FnMut(SocketAddr, BytesMut)) {
        let Some(Through { to, ends, secret }) = &self.relay else {
            if let Some(to) = self.direct {
                send(to, message);
            }
            return;
        };
        send(*to, envelope::seal(Kind::Forward, *ends, secret, &message));
        if let Some(to) = self.direct {
            send(to, message);
        }
    }
}

impl Peer {
    /// None of them: it is reached directly or not at all.
    pub fn reach_through(&self, relays: &[Arc<Peer>]) {
        let relaying = &self.relaying;
        for relay in relays {
            relay.relaying.is_relay.store(true, Ordering::Relaxed);
        }
        let mut weak = relays.iter().map(Arc::downgrade);
        relaying.told.lock().relays = std::array::from_fn(|_| weak.next().unwrap_or_default());
        relaying
            .has_relay
            .store(!relays.is_empty(), Ordering::Relaxed);
    }

    /// Those that there are, with their places.
    fn relays(&self) -> Vec<(Arc<Peer>, SocketAddr)> {
        let relays: Vec<Arc<Peer>> = {
            let told = self.relaying.told.lock();
            told.relays.iter().filter_map(Weak::upgrade).collect()
        };
        let placed = relays.into_iter().map(|relay| {
            let at = relay.endpoint();
            at.map(|at| (relay, at))
        });
        placed.flatten().collect()
    }

    /// The one that packets take: the first that is there.
    fn relay(&self, now: Instant) -> Option<(Arc<Peer>, SocketAddr)> {
        let mut relays = self.relays();
        let is_there = |(relay, _): &(Arc<Peer>, _)| !relay.is_silent_at(now);
        let place = relays.iter().position(is_there).unwrap_or(0);
        (place < relays.len()).then(|| relays.swap_remove(place))
    }

    pub fn look_at(&self, candidates: &[SocketAddr]) {
        self.relaying.told.lock().candidates = candidates.into();
    }

    pub fn has_relay(&self) -> bool {
        self.relaying.has_relay.load(Ordering::Relaxed)
    }

    /// The way that packets take now.
    pub fn way(&self, own: &Arc<OwnKey>) -> Way {
        let direct = self.endpoint();
        if !self.has_relay() {
            return Way::directly(direct);
        }
        let now = Instant::now();
        let doubt = {
            let mut ways = self.relaying.learned().ways.lock();
            let doubt = ways.doubt(now);
            ways.sent(now);
            doubt
        };
        if doubt.is_none() {
            return Way::directly(direct);
        }
        let (Some((relay, at)), Some(to)) = (self.relay(now), self.spoken()) else {
            return Way::directly(direct);
        };
        relay.relaying.learned().ways.lock().sent(now);
        let way = Way::back(own, &relay, at, id_of(&to));
        Way { direct, ..way }
    }

    /// An authentic packet came, directly from an address or through a relay.
    pub fn heard(&self, from: Option<SocketAddr>) {
        let relaying = &self.relaying;
        let is_watched = self.has_relay() || relaying.is_relay.load(Ordering::Relaxed);
        if from.is_some() && is_watched {
            relaying.learned().ways.lock().heard(Instant::now());
        }
    }

    /// Somebody who can know it says that it is there.
    pub fn introduce(&self, at: SocketAddr) {
        if self.has_relay() && (self.endpoint() != Some(at) || self.doubt().is_some()) {
            self.relaying.learned().ways.lock().introduce(at);
        }
    }

    /// Why packets do not go directly; none when they do.
    pub fn doubt(&self) -> Option<Doubt> {
        if !self.has_relay() {
            return None;
        }
        // What worked when it was used last is no reason to look for another way.
        match self.endpoint() {
            None => Some(Doubt::NoEndpoint),
            Some(_) => match self.relaying.known() {
                None => Some(Doubt::Unproven),
                Some(learned) => learned.ways.lock().doubt(Instant::now()),
            },
        }
    }

    /// Probes that are due.
    pub fn probes(
        &self,
        own: &Arc<OwnKey>,
        mut next: impl FnMut() -> u64,
    ) -> Vec<(SocketAddr, BytesMut)> {
        let Some(learned) = self.relaying.known().filter(|_| self.has_relay()) else {
            return Vec::new();
        };
        let (now, endpoint) = (Instant::now(), self.endpoint());
        let (probes, is_relayed) = {
            let told = self.relaying.told.lock();
            let mut ways = learned.ways.lock();
            let probes = ways.probes(now, (endpoint, &told.candidates), &mut next);
            let is_direct = endpoint.is_some() && ways.doubt(now).is_none();
            (probes, ways.is_used(now) && !is_direct)
        };
        let mut sealed = self.sealed(own, probes);
        let relays = if is_relayed {
            self.relays()
        } else {
            Vec::new()
        };
        for (relay, at) in relays {
            let number = next();
            if relay.relaying.learned().ways.lock().asks(now, at, number) {
                sealed.extend(relay.sealed(own, vec![(number, at)]));
            }
        }
        sealed
    }

    fn sealed(
        &self,
        own: &Arc<OwnKey>,
        probes: Vec<(u64, SocketAddr)>,
    ) -> Vec<(SocketAddr, BytesMut)> {
        let Some(key) = self.spoken().filter(|_| !probes.is_empty()) else {
            return Vec::new();
        };
        let secret = self.secret(own, &key);
        let ends = Ends {
            from: id_of(&own.public),
            to: id_of(&key),
        };
        let seal = |(number, to)| (to, envelope::probe(ends, &secret, number));
        probes.into_iter().map(seal).collect()
    }

    /// An answer to a probe; it is known to be the peer's.
    pub fn answered(&self, number: u64, from: SocketAddr, seen_as: Option<SocketAddr>) {
        let (is_asked, is_moved) = {
            let mut ways = self.relaying.learned().ways.lock();
            let is_asked = ways.answered(Instant::now(), number, from);
            let is_moved = is_asked && ways.seen_as != seen_as;
            if is_asked {
                ways.seen_as = seen_as;
            }
            (is_asked, is_moved)
        };
        if is_asked {
            self.has_answered();
        }
        if is_moved {
            self.was_moved();
        }
        if is_asked && self.has_relay() {
            self.move_to(from);
        }
    }

    /// The address by which this peer saw us last.
    pub fn seen_as(&self) -> Option<SocketAddr> {
        self.relaying.known()?.ways.lock().seen_as
    }

    /// Whether one more probe of it is answered.
    pub fn may_be_answered(&self) -> bool {
        let mut quota = self.relaying.learned().answered.lock();
        quota
            .get_or_insert_with(|| Quota::new(ANSWERS_AT_ONCE, ANSWERS_PER_SECOND))
            .take(Instant::now(), 1.0)
    }

    /// Whether a message of this length is forwarded for it.
    pub fn may_forward(&self, length: usize, limits: RelayLimits) -> bool {
        let mut quota = self.relaying.learned().forwarded.lock();
        quota
            .get_or_insert_with(|| limits.quota())
            .take(Instant::now(), (length + HEADER) as f64)
    }

    pub fn count_forwarded(&self, length: usize) {
        let bytes = &self.relaying.learned().forwarded_bytes;
        bytes.fetch_add(length as u64, Ordering::Relaxed);
    }

    /// A packet of it was not forwarded: there were too many.
    pub fn count_refused(&self) {
        let packets = &self.relaying.learned().refused_packets;
        packets.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is in use as a relay, was asked as one, or answered a probe.
    pub fn is_relaying(&self) -> bool {
        let Served {
            forwarded_bytes,
            refused_packets,
        } = self.served();
        let is_served = forwarded_bytes > 0 || refused_packets > 0;
        is_served || self.seen_as().is_some() || self.is_silent()
    }

    pub fn served(&self) -> Served {
        let load = |learned: &Learned| Served {
            forwarded_bytes: learned.forwarded_bytes.load(Ordering::Relaxed),
            refused_packets: learned.refused_packets.load(Ordering::Relaxed),
        };
        self.relaying.known().map(load).unwrap_or_default()
    }

    /// Whether it is in use as a relay, or has relays, and does not answer.
    pub fn is_silent(&self) -> bool {
        self.is_silent_at(Instant::now())
    }

    fn is_silent_at(&self, now: Instant) -> bool {
        let is_silent = |learned: &Learned| learned.ways.lock().is_silent(now);
        self.relaying.known().is_some_and(is_silent)
    }

    /// The key of the relay that packets take while they do not go directly.
    pub fn relay_key(&self) -> Option<PublicKey> {
        self.relay(Instant::now())?.0.newest()
    }

    /// What a key of ours and one of its own agree on.
    pub fn secret(&self, own: &Arc<OwnKey>, key: &PublicKey) -> Secret {
        let mut secrets = self.relaying.learned().secrets.lock();
        let known = secrets
            .iter()
            .find(|(ours, theirs, _)| Arc::ptr_eq(ours, own) && theirs == key);
        if let Some((.., secret)) = known {
            return *secret;
        }
        let secret = own.private.diffie_hellman(key).to_bytes();
        secrets.insert(0, (Arc::clone(own), *key, secret));
        secrets.truncate(SECRETS_KEPT);
        secret
    }
}

//! What a peer does beside WireGuard: it is reached through a relay or is one, asks and answers.

use crate::envelope::{self, Ends, HEADER, Id, Kind, Secret, id_of};
use crate::keys::OwnKey;
use crate::paths::{Doubt, Quota, Ways};
use crate::peer::Peer;
use bytes::BytesMut;
use gotatun::x25519::PublicKey;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a relay forwards for one peer: bytes at once, and bytes in a second.
const FORWARDED_AT_ONCE: f64 = (4 << 20) as f64;
const FORWARDED_PER_SECOND: f64 = (16 << 20) as f64;
/// Probes of one peer that are answered.
const ANSWERS_AT_ONCE: f64 = 64.0;
const ANSWERS_PER_SECOND: f64 = 32.0;

/// Two keys of ours and two of its own, while both change.
const SECRETS_KEPT: usize = 4;

/// The part of a peer that is about ways to it. Its locks are held for no call to another peer.
#[derive(Default)]
pub struct Relaying {
    /// Read for each packet; the rest only where it is true.
    has_relay: AtomicBool,
    relay: Mutex<Option<Arc<Peer>>>,
    ways: Mutex<Ways>,
    /// The youngest first: agreeing on one takes as long as fifty packets.
    secrets: Mutex<Vec<(Arc<OwnKey>, PublicKey, Secret)>>,
    forwarded: Mutex<Option<Quota>>,
    answered: Mutex<Option<Quota>>,
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
        let secret = relay.newest().map(|key| relay.secret(own, &key));
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
    /// None: it is reached directly or not at all.
    pub fn reach_through(&self, relay: Option<Arc<Peer>>) {
        let relaying = &self.relaying;
        relaying.has_relay.store(relay.is_some(), Ordering::Relaxed);
        *relaying.relay.lock() = relay;
    }

    pub fn look_at(&self, candidates: &[SocketAddr]) {
        self.relaying.ways.lock().candidates = candidates.to_vec();
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
            let mut ways = self.relaying.ways.lock();
            let doubt = ways.doubt(now);
            ways.sent(now);
            doubt
        };
        let relay = self.relaying.relay.lock().clone();
        let (Some(relay), Some(to)) = (relay.filter(|_| doubt.is_some()), self.newest()) else {
            return Way::directly(direct);
        };
        let way = relay
            .endpoint()
            .map(|at| Way::back(own, &relay, at, id_of(&to)));
        Way {
            direct,
            relay: way.and_then(|way| way.relay),
        }
    }

    /// An authentic packet came, directly from an address or through a relay.
    pub fn heard(&self, from: Option<SocketAddr>) {
        if from.is_some() && self.has_relay() {
            self.relaying.ways.lock().heard(Instant::now());
        }
    }

    /// Why packets do not go directly; none when they do.
    pub fn doubt(&self) -> Option<Doubt> {
        if !self.has_relay() {
            return None;
        }
        match self.endpoint() {
            None => Some(Doubt::NoEndpoint),
            Some(_) => self.relaying.ways.lock().doubt(Instant::now()),
        }
    }

    /// Probes that are due.
    pub fn probes(
        &self,
        own: &Arc<OwnKey>,
        next: impl FnMut() -> u64,
    ) -> Vec<(SocketAddr, BytesMut)> {
        if !self.has_relay() {
            return Vec::new();
        }
        let endpoint = self.endpoint();
        let probes = self
            .relaying
            .ways
            .lock()
            .probes(Instant::now(), endpoint, next);
        let Some(key) = self.newest().filter(|_| !probes.is_empty()) else {
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
        let is_asked = {
            let mut ways = self.relaying.ways.lock();
            let is_asked = ways.answered(Instant::now(), number, from);
            if is_asked {
                ways.seen_as = seen_as;
            }
            is_asked
        };
        if is_asked {
            self.move_to(from);
        }
    }

    /// The address by which this peer saw us last.
    pub fn seen_as(&self) -> Option<SocketAddr> {
        self.relaying.ways.lock().seen_as
    }

    /// Whether one more probe of it is answered.
    pub fn may_be_answered(&self) -> bool {
        let mut quota = self.relaying.answered.lock();
        quota
            .get_or_insert_with(|| Quota::new(ANSWERS_AT_ONCE, ANSWERS_PER_SECOND))
            .take(Instant::now(), 1.0)
    }

    /// Whether a message of this length is forwarded for it.
    pub fn may_forward(&self, length: usize) -> bool {
        let mut quota = self.relaying.forwarded.lock();
        quota
            .get_or_insert_with(|| Quota::new(FORWARDED_AT_ONCE, FORWARDED_PER_SECOND))
            .take(Instant::now(), (length + HEADER) as f64)
    }

    /// What a key of ours and one of its own agree on.
    pub fn secret(&self, own: &Arc<OwnKey>, key: &PublicKey) -> Secret {
        let mut secrets = self.relaying.secrets.lock();
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

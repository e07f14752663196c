//! The keys of this device: the one that it speaks with, and the one before it, which is answered
//! for as long as somebody may still use it.

use gotatun::noise::TunnResult;
use gotatun::noise::errors::WireGuardError;
use gotatun::noise::handshake::parse_handshake_anon;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::packet::{Packet, WgHandshakeInit, WgKind};
use gotatun::x25519::{PublicKey, StaticSecret};
use std::net::SocketAddr;
use std::sync::Arc;

/// Handshakes of one address in a second, before it must prove with a cookie that it is there.
const HANDSHAKES_MAX: u64 = 100;

/// One pair of keys.
pub struct OwnKey {
    pub private: StaticSecret,
    pub public: PublicKey,
    pub limiter: Arc<RateLimiter>,
}

impl OwnKey {
    pub fn new(private: StaticSecret) -> Arc<Self> {
        let public = PublicKey::from(&private);
        let limiter = Arc::new(RateLimiter::new(&public, HANDSHAKES_MAX));
        Arc::new(Self {
            private,
            public,
            limiter,
        })
    }
}

#[derive(Clone)]
pub struct OwnKeys {
    pub current: Arc<OwnKey>,
    pub previous: Option<Arc<OwnKey>>,
}

/// What to do about a message of a handshake.
pub enum Judged {
    /// It is for this key of ours.
    For(Arc<OwnKey>, WgKind),
    /// Send this instead: a cookie.
    Answer(WgKind),
    Nothing,
}

impl OwnKeys {
    pub fn new(current: StaticSecret, previous: Option<StaticSecret>) -> Self {
        Self {
            current: OwnKey::new(current),
            previous: previous.map(OwnKey::new),
        }
    }

    /// Other keys, of which those that stay keep their count of handshakes.
    pub fn changed(&self, current: &StaticSecret, previous: Option<&StaticSecret>) -> Self {
        let known = |private: &StaticSecret| {
            let public = PublicKey::from(private);
            let same = self.all().find(|own| own.public == public);
            same.map_or_else(|| OwnKey::new(private.clone()), Arc::clone)
        };
        Self {
            current: known(current),
            previous: previous.map(known),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<OwnKey>> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    pub fn has(&self, key: &Arc<OwnKey>) -> bool {
        self.all().any(|own| Arc::ptr_eq(own, key))
    }

    /// Checks that a message is for one of our keys and that its sender is not too eager.
    pub fn judge(&self, from: SocketAddr, message: &[u8]) -> Judged {
        for own in self.all() {
            let packet = Packet::copy_from(message);
            match own.limiter.verify_packet(from, packet) {
                Ok(kind) => return Judged::For(Arc::clone(own), kind),
                Err(TunnResult::WriteToNetwork(cookie)) => return Judged::Answer(cookie),
                Err(TunnResult::Err(WireGuardError::InvalidMac)) => {}
                Err(_) => return Judged::Nothing,
            }
        }
        Judged::Nothing
    }

    /// Lets every address begin anew; wanted each second.
    pub fn reset_limits(&self) {
        for own in self.all() {
            own.limiter.try_reset_count();
        }
    }
}

/// Who begins a handshake.
pub fn initiator(own: &OwnKey, message: &WgHandshakeInit) -> Option<PublicKey> {
    let half = parse_handshake_anon(&own.private, &own.public, message).ok()?;
    Some(PublicKey::from(half.peer_static_public))
}

//! The peers of a device of the kernel, while it carries their packets.

use super::messages::{DeviceState, Key, OwnStep, PeerState, PeerStep};
use super::peers::Peers;
use super::silence::Silences;
use super::socket::WireguardSocket;
use crate::applying::Tunnel;
use crate::delta::Delta;
use crate::device::PeerStats;
use crate::error::{Code, Error};
use gotatun::x25519::{PublicKey, StaticSecret};
use nix::errno::Errno;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// No peer's: whoever gave addresses to it takes it away in the same breath.
const PASSING: &Key = b"quic-proxy-waf mesh passing peer";
/// A session without a handshake for so long is none (REJECT_AFTER_TIME of WireGuard).
const SESSION_MS: u64 = 180_000;
/// While a peer changes its key, it waits from its first handshake with the next one until we
/// notice that. So we look often, while it may happen, but for no more than a share of a processor.
const LOOK_OFTEN: Duration = Duration::from_millis(5);
const LOOK_OFTEN_FOR: Duration = Duration::from_secs(60);
const LOOK_SELDOM: Duration = Duration::from_secs(1);
const LOOK_SHARE: u32 = 4;
/// A peer that could have changed, and whose session with the key before was not renewed when its
/// time had come (REKEY_AFTER_TIME is 120 s), is tried by its next key.
const SWITCHED_AFTER: Duration = Duration::from_secs(20);
const RENEWED_MS: u64 = 140_000;

pub struct KernelTunnel(Arc<Mutex<Shared>>);

struct Shared {
    socket: WireguardSocket,
    index: u32,
    peers: Peers,
    own: Key,
    silences: Silences,
    /// Since when somebody looks whether peers took their next keys; none: nobody.
    looking_since: Option<Instant>,
}

impl KernelTunnel {
    pub fn new(socket: WireguardSocket, index: u32, peers: Peers, own: &StaticSecret) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            socket,
            index,
            peers,
            own: own.to_bytes(),
            silences: Silences::default(),
            looking_since: None,
        })))
    }

    pub fn stats(&self) -> Result<Vec<PeerStats>, Error> {
        let mut guard = self.0.lock();
        let shared = &mut *guard;
        let state = shared.state().map_err(device_fault)?;
        shared.silences.look(&state.peers, Instant::now());
        Ok(stats(state, &shared.peers, &shared.silences))
    }
}

impl Tunnel for KernelTunnel {
    fn change(&self, delta: &Delta) -> Result<(), Error> {
        let mut shared = self.0.lock();
        shared.change(delta).map_err(device_fault)?;
        if shared.peers.changing().next().is_some() {
            let is_looked_for = shared.looking_since.replace(Instant::now()).is_some();
            if !is_looked_for {
                let shared = Arc::downgrade(&self.0);
                let looking = thread::Builder::new().name("mesh-keys".into());
                looking
                    .spawn(move || look(&shared))
                    .map_err(|error| Error::system("a thread", &error))?;
            }
        }
        Ok(())
    }

    fn endpoints(&self, keys: Option<&[PublicKey]>) -> Vec<IpAddr> {
        self.0.lock().peers.endpoints(keys)
    }
}

impl Shared {
    fn state(&mut self) -> Result<DeviceState, Errno> {
        self.socket.device(self.index)
    }

    fn change(&mut self, delta: &Delta) -> Result<(), Errno> {
        let next = delta.keys.as_ref().map(|keys| keys.current.to_bytes());
        let next = next.filter(|key| *key != self.own);
        let own = OwnStep {
            private_key: next,
            ..OwnStep::default()
        };
        let steps = self.peers.steps(delta, *PASSING);
        if next.is_none() && steps.is_empty() {
            return Ok(());
        }
        self.tell(&own, &steps)?;
        if let Some(key) = next {
            self.own = key;
            self.greet()?;
        }
        Ok(())
    }

    fn tell(&mut self, own: &OwnStep, steps: &[PeerStep]) -> Result<(), Errno> {
        let told = self.socket.tell(self.index, own, steps);
        if told.is_err() {
            let passing = PeerStep {
                key: *PASSING,
                is_removed: true,
                ..PeerStep::default()
            };
            self.socket
                .tell(self.index, &OwnStep::default(), &[passing])?;
            let state = self.state()?;
            self.peers.reread(&state);
        }
        told
    }

    /// With a new key of ours no session can be sent into. The kernel would begin new ones when
    /// there is something to send; begun now, those who speak to us learn of the key at once. A
    /// keepalive that was off and is on is sent right away.
    fn greet(&mut self) -> Result<(), Errno> {
        let state = self.state()?;
        // Who changes its own at this moment hears us by its next key alone.
        let next: HashSet<_> = self.peers.changing().map(|(next, _)| *next).collect();
        let heard = state.peers.iter();
        let heard = heard.filter(|peer| is_heard(peer) || next.contains(&peer.key));
        let steps: Vec<_> = heard
            .flat_map(|peer| greeting(peer.key, peer.keepalive_s))
            .collect();
        self.tell(&OwnStep::default(), &steps)
    }

    /// Whether there is still something to look for.
    fn look(&mut self) -> Result<bool, Errno> {
        let state = self.state()?;
        let since = self.looking_since.map_or(Duration::ZERO, |at| at.elapsed());
        let peers: HashMap<_, _> = state.peers.iter().map(|peer| (peer.key, peer)).collect();
        let taken = self.peers.changing().filter(|(next, before)| {
            // Whatever it sent was a handshake with this key.
            let is_heard = peers.get(*next).is_some_and(|peer| peer.received_bytes > 0);
            let age = peers.get(*before).and_then(|peer| age_ms(peer));
            is_heard || since > SWITCHED_AFTER && age.is_none_or(|age| age > RENEWED_MS)
        });
        let taken: Vec<_> = taken.map(|(next, _)| *next).collect();
        let mut steps = Vec::new();
        for next in taken {
            let found = peers.get(&next).copied();
            self.peers.take_over(next, found, &mut steps);
        }
        if !steps.is_empty() {
            self.tell(&OwnStep::default(), &steps)?;
        }
        Ok(self.peers.changing().next().is_some())
    }
}

/// Until every peer took its next key, or the device is closed.
fn look(shared: &Weak<Mutex<Shared>>) {
    while let Some(shared) = shared.upgrade() {
        let began = Instant::now();
        let mut device = shared.lock();
        let since = device.looking_since.unwrap_or(began);
        match device.look() {
            Ok(false) | Err(Errno::ENODEV) => {
                device.looking_since = None;
                return;
            }
            // What else goes wrong is told by the agent's own looks at the device.
            Ok(true) | Err(_) => {}
        }
        drop(device);
        drop(shared);
        let least = if since.elapsed() < LOOK_OFTEN_FOR {
            LOOK_OFTEN
        } else {
            LOOK_SELDOM
        };
        thread::sleep(least.max(began.elapsed() * LOOK_SHARE));
    }
}

fn greeting(key: Key, keepalive_s: u16) -> impl Iterator<Item = PeerStep> {
    [0, keepalive_s.max(1), keepalive_s]
        .into_iter()
        .map(move |seconds| PeerStep {
            key,
            keepalive_s: Some(seconds),
            ..PeerStep::default()
        })
}

fn stats(state: DeviceState, peers: &Peers, silences: &Silences) -> Vec<PeerStats> {
    let now = Instant::now();
    let changing: HashMap<_, _> = peers
        .changing()
        .map(|(next, before)| (*next, *before))
        .collect();
    let mut by_key: HashMap<_, _> = state
        .peers
        .into_iter()
        .map(|peer| (peer.key, peer))
        .collect();
    let mut told = Vec::with_capacity(by_key.len());
    for (next, before) in &changing {
        let pair = (by_key.remove(next), by_key.remove(before));
        if let (Some(next), Some(before)) = pair {
            told.push(PeerStats {
                is_on_previous_key: true,
                endpoint: before.endpoint,
                last_handshake_ms: age_ms(&before),
                received_bytes: next.received_bytes + before.received_bytes,
                sent_bytes: next.sent_bytes + before.sent_bytes,
                unanswered_ms: silences.of(&before.key, now),
                ..stats_of(&next)
            });
        }
    }
    let in_use = |peer: &&PeerState| peer.sent_bytes > 0 || peer.received_bytes > 0;
    told.extend(by_key.values().filter(in_use).map(|peer| PeerStats {
        unanswered_ms: silences.of(&peer.key, now),
        ..stats_of(peer)
    }));
    told
}

fn stats_of(peer: &PeerState) -> PeerStats {
    PeerStats {
        public_key: PublicKey::from(peer.key),
        endpoint: peer.endpoint,
        last_handshake_ms: age_ms(peer),
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
        is_on_previous_key: false,
        path: "direct",
        why_not_direct: None,
        relay: None,
        seen_as: None,
        is_silent: false,
        unanswered_ms: None,
        forwarded_bytes: 0,
        refused_packets: 0,
    }
}

/// How long ago the last handshake was; none before the first.
fn age_ms(peer: &PeerState) -> Option<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    // The wall clock may have been set back since.
    peer.last_handshake_ms
        .map(|at_ms| now_ms.saturating_sub(at_ms))
}

/// Whether it has a session that can be sent into.
pub fn is_heard(peer: &PeerState) -> bool {
    age_ms(peer).is_some_and(|age| age < SESSION_MS)
}

fn device_fault(errno: Errno) -> Error {
    fault("the interface", errno)
}

/// What the kernel's refusal means.
pub fn fault(what: &str, errno: Errno) -> Error {
    match errno {
        Errno::EPERM | Errno::EACCES => Error::new(Code::NotPermitted, what),
        Errno::ENODEV => Error::new(Code::InterfaceGone, what),
        Errno::EADDRINUSE => Error::new(Code::PortTaken, what),
        errno => Error::system(what, &errno.into()),
    }
}

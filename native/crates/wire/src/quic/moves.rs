//! Clients that come from another address than before: a NAT gave them another port, or they moved.

use super::queue::Quic;
use quiche::PathEvent;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// So often a new address of a client is asked for its proof, beside what quiche does. The first
/// few go at once, while what came allows us to send that much; then an answer has time: quiche
/// gives up a path, even a proven one, when several are lost more than a round trip apart.
const CHALLENGES_MAX: u32 = 16;
const CHALLENGES_AT_ONCE: u32 = 4;
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(100);
/// Paths that are remembered as those of a NAT.
const REBOUND_MAX: usize = 64;
/// Paths that were left, and may have packets on their way that will not arrive, and how often each
/// is probed for them.
const LEFT_MAX: usize = 4;
const PROBES_MAX: u32 = 8;
/// The first of quiche's states of a path, `Failed`, which has a name only inside of it.
const GIVEN_UP: u8 = 0;

/// Two ends, as quiche tells paths apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// The addresses of one client.
#[derive(Default)]
pub(super) struct Moves {
    /// A packet came from another address than the client's.
    strayed: bool,
    challenged: Option<(SocketAddr, u32, Instant)>,
    /// Where the client is, once it was somewhere else.
    home: Option<Path>,
    /// Paths that begin with an id of another path: the client does not know that it moved.
    rebound: VecDeque<Path>,
    left: VecDeque<Left>,
}

/// A path that a client left without knowing it.
struct Left {
    path: Path,
    probes: u32,
}

impl Moves {
    /// A packet comes by that path; `peer` is where the client was. False: it is better dropped.
    /// quiche gives a path up whose proof takes too long, closes the connection when something
    /// comes by it nevertheless, and takes it up again when it is asked for another proof.
    pub fn heard(&mut self, quic: &mut Quic, path: Path, peer: SocketAddr) -> bool {
        let is_home = *self.home.get_or_insert(path) == path;
        self.strayed |= path.peer != peer || !is_home;
        if is_home || !is_given_up(quic, path) {
            return true;
        }
        let _ = quic.probe_path(path.local, path.peer);
        false
    }

    /// Where the client is, once that is proven, if it may be somewhere else.
    pub fn follow(&mut self, quic: &mut Quic) -> Option<SocketAddr> {
        let mut changed = false;
        while let Some(event) = quic.path_event_next() {
            match event {
                PathEvent::Validated(..) | PathEvent::PeerMigrated(..) => changed = true,
                PathEvent::ReusedSourceConnectionId(_, _, (local, peer)) => {
                    keep(&mut self.rebound, REBOUND_MAX, Path { local, peer });
                }
                _ => {}
            }
        }
        self.probe_left(quic);
        if !std::mem::take(&mut self.strayed) && !changed {
            return None;
        }
        let path = quic.path_stats().find(|path| path.active)?;
        let (local, peer) = (path.local_addr, path.peer_addr);
        if quic.is_path_validated(local, peer) == Ok(true) {
            self.arrive(quic, Path { local, peer });
            return Some(peer);
        }
        if self.may_challenge(peer) {
            let _ = quic.probe_path(local, peer);
        }
        None
    }

    /// Where a packet goes that quiche sends on that path: those for a path that the client left
    /// without knowing it reach the client where it is now.
    pub fn way(&self, local: SocketAddr, peer: SocketAddr) -> Path {
        let path = Path { local, peer };
        match self.home {
            Some(home) if self.left.iter().any(|left| left.path == path) => home,
            _ => path,
        }
    }

    /// The client is there. What was on its way to where it was before is lost, and quiche would
    /// learn that late or never: it takes a packet for lost when a later one *of the same path* is
    /// acknowledged, and sends no later one there. So it sends a PATH_CHALLENGE there, the only
    /// thing it can be asked for, which takes the new path and is acknowledged from it.
    fn arrive(&mut self, quic: &mut Quic, path: Path) {
        let Some(before) = self.home.replace(path).filter(|before| *before != path) else {
            return;
        };
        self.left.retain(|left| left.path != path);
        let is_rebound = self.rebound.contains(&path);
        // Without a proof of its own the other path must not get one from here.
        let was_proven = quic.is_path_validated(before.local, before.peer) == Ok(true);
        if is_rebound && was_proven && quic.probe_path(before.local, before.peer).is_ok() {
            let left = Left {
                path: before,
                probes: 1,
            };
            keep(&mut self.left, LEFT_MAX, left);
        }
    }

    /// Probes again what quiche gave up because the first probe was lost.
    fn probe_left(&mut self, quic: &mut Quic) {
        for Left { path, probes } in &mut self.left {
            if *probes < PROBES_MAX && is_given_up(quic, *path) {
                *probes += 1;
                let _ = quic.probe_path(path.local, path.peer);
            }
        }
    }

    /// Whether the client's new address is asked for its proof again: quiche asks once, and again
    /// only when that was lost. Chromium acknowledges a PATH_CHALLENGE and leaves it unanswered
    /// when it comes in one packet with the PATH_RESPONSE that completes the browser's own probe.
    /// Without a proof no more than three times what comes may be sent: the connection starves.
    fn may_challenge(&mut self, peer: SocketAddr) -> bool {
        let now = Instant::now();
        let (times, at) = match self.challenged {
            Some((known, times, at)) if known == peer => (times, at),
            _ => (0, now),
        };
        if times >= CHALLENGES_AT_ONCE && now < at + CHALLENGE_INTERVAL {
            return false;
        }
        self.challenged = Some((peer, times + 1, now));
        times < CHALLENGES_MAX
    }
}

fn is_given_up(quic: &Quic, path: Path) -> bool {
    let mut failed = quic
        .path_stats()
        .filter(|known| known.validation_state as u8 == GIVEN_UP);
    failed.any(|known| (known.local_addr, known.peer_addr) == (path.local, path.peer))
}

fn keep<T>(paths: &mut VecDeque<T>, most: usize, path: T) {
    paths.push_back(path);
    if paths.len() > most {
        paths.pop_front();
    }
}

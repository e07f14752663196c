//! Clients that come from another address than before: a NAT gave them another port, or they moved.
//!
//! quiche has a path for each pair of addresses, with a window, clocks and packets in flight of its
//! own. It proves a new one (RFC 9000 §8.2), but loses sight of what was left behind: a packet is
//! lost when a later one *of the same path* is acknowledged, and on a path that the client left no
//! later one is sent. It also gives paths up, even those that the client is on, when a challenge
//! and whatever else times out at once. So this module remembers where the client was proven to be,
//! and quiche's paths are only names: what it sends on any of them goes there.

use super::queue::Quic;
use quiche::{Error, RecvInfo};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// So often a new address of a client is asked for its proof, beside what quiche does. The first
/// few go at once, while what came allows us to send that much; then an answer has time: quiche
/// gives up a path, even a proven one, when several are lost more than a round trip apart.
const CHALLENGES_MAX: u32 = 16;
const CHALLENGES_AT_ONCE: u32 = 4;
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(100);
/// A client that was heard on another path than its own is still there for so long: it probes it.
const VISIT: Duration = Duration::from_millis(500);
/// A packet of this length brings three times as much to a path that is not proven: a PING.
const GRANT_BYTES: usize = 64;
/// Two of quiche's states of a path, which have names only inside of it: `Failed`, and the first of
/// those in which an answer to a challenge has come.
const GIVEN_UP: u8 = 0;
const ANSWERED: u8 = 3;

/// Two ends, as quiche tells paths apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path {
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// A path of a client that has, or had, several.
struct Place {
    path: Path,
    /// An answer to a challenge came from there.
    is_proven: bool,
    is_given_up: bool,
    is_active: bool,
    heard: Instant,
    /// How often something sent there was not acknowledged in time.
    timeouts: usize,
    /// A PING is to be sent on it, so that what is in flight there is acknowledged or lost.
    is_due: bool,
}

/// The addresses of one client.
#[derive(Default)]
pub(super) struct Moves {
    /// Where the client is, as far as that is proven.
    home: Option<Path>,
    /// Every path that quiche has, once the client came from a second one.
    places: Vec<Place>,
    /// The client reached another address of ours (that of a neighbour, who passes its packets on)
    /// than the one that quiche knows: answers leave from there. Its own address is what it was, so
    /// there is nothing to prove.
    reached: Option<Path>,
    /// Packets came from another path than the client's; the last one that did.
    strayed: Option<Path>,
    challenged: Option<(SocketAddr, u32, Instant)>,
}

impl Moves {
    /// Gives quiche a packet that came by that path.
    pub fn receive(&mut self, quic: &mut Quic, packet: &mut [u8], real: Path) {
        let path = self.known(real);
        let reached = (path != real).then_some(real);
        let was = self.reached.filter(|was| was.peer == real.peer);
        if reached == was {
            return self.hear(quic, packet, path);
        }
        // Only what could be decrypted says where the client is.
        let before = quic.stats().recv;
        self.hear(quic, packet, path);
        if quic.stats().recv > before {
            self.reached = reached;
        }
    }

    /// That path as quiche has it.
    fn known(&self, real: Path) -> Path {
        let places = self.places.iter().map(|place| place.path);
        let mut all = self.home.into_iter().chain(places);
        all.find(|path| path.peer == real.peer).unwrap_or(real)
    }

    /// What comes by a path that quiche gave up would end the connection: it is given as if it came
    /// by the one that quiche uses.
    fn hear(&mut self, quic: &mut Quic, packet: &mut [u8], path: Path) {
        if *self.home.get_or_insert(path) != path {
            self.strayed = Some(path);
        }
        let place = self.places.iter_mut().find(|place| place.path == path);
        let Some(place) = place else {
            return take(quic, packet, path);
        };
        place.heard = Instant::now();
        if !place.is_given_up {
            return take(quic, packet, path);
        }
        let is_proven = place.is_proven;
        let Some(active) = self.places.iter().find(|place| place.is_active) else {
            return take(quic, packet, path);
        };
        let active = active.path;
        if !is_proven && self.may_challenge(path.peer) {
            grant(quic, path, packet.len());
            let _ = quic.probe_path(path.local, path.peer);
        }
        let before = quic.stats().recv;
        take(quic, packet, active);
        if is_proven && quic.stats().recv > before {
            self.arrive(quic, path);
        }
    }

    /// Where the client is, if that may have changed: after packets were taken or a clock rang.
    pub fn follow(&mut self, quic: &mut Quic) -> Option<SocketAddr> {
        while quic.path_event_next().is_some() {}
        let strayed = self.strayed.take();
        if self.places.is_empty() && strayed.is_none() {
            return None;
        }
        self.look(quic);
        let known = |place: &&Place| place.is_active && Some(place.path) == strayed;
        if let Some(&Place {
            path, is_proven, ..
        }) = self.places.iter().find(known)
        {
            if is_proven {
                self.arrive(quic, path);
            } else if self.may_challenge(path.peer) {
                let _ = quic.probe_path(path.local, path.peer);
            }
        }
        self.home.map(|home| home.peer)
    }

    /// The next packet, and where it goes.
    pub fn send(&mut self, quic: &mut Quic, space: &mut [u8]) -> Result<(usize, Path), Error> {
        let (length, path) = self.next(quic, space)?;
        let reached = self.reached.filter(|reached| reached.peer == path.peer);
        Ok((length, reached.unwrap_or(path)))
    }

    fn next(&mut self, quic: &mut Quic, space: &mut [u8]) -> Result<(usize, Path), Error> {
        if self.places.is_empty() {
            let (length, info) = quic.send(space)?;
            return Ok((length, path(info.from, info.to)));
        }
        if let Some(home) = self.home {
            while let Some(place) = self.places.iter_mut().find(|place| place.is_due) {
                place.is_due = false;
                let (local, peer) = (Some(place.path.local), Some(place.path.peer));
                if let Ok((length, _)) = quic.send_on_path(space, local, peer) {
                    return Ok((length, home));
                }
            }
        }
        let (length, info) = match quic.send(space) {
            // It chose a path that wants a proof and may not send: the others wait for nothing.
            Err(Error::Done) => {
                let active = self.places.iter().find(|place| place.is_active);
                let active = active.ok_or(Error::Done)?.path;
                quic.send_on_path(space, Some(active.local), Some(active.peer))?
            }
            sent => sent?,
        };
        Ok((length, self.way(path(info.from, info.to))))
    }

    /// Where a packet goes that quiche sends on that path: to the client, if that is not there
    /// any more, and to nobody who did not prove to be it.
    fn way(&self, path: Path) -> Path {
        let place = self.places.iter().find(|place| place.path == path);
        let is_left = place.is_some_and(|place| place.is_proven && place.heard.elapsed() > VISIT);
        match self.home {
            Some(home) if is_left => home,
            _ => path,
        }
    }

    /// Notes what became of quiche's paths.
    fn look(&mut self, quic: &mut Quic) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.places);
        for stats in quic.path_stats() {
            let path = path(stats.local_addr, stats.peer_addr);
            let known = before.iter().position(|place| place.path == path);
            let mut place = match known {
                Some(index) => before.swap_remove(index),
                None => Place {
                    path,
                    is_proven: false,
                    is_given_up: false,
                    is_active: false,
                    heard: now,
                    timeouts: stats.total_pto_count,
                    is_due: false,
                },
            };
            let state = stats.validation_state as u8;
            place.is_proven |= state >= ANSWERED;
            place.is_given_up = state == GIVEN_UP;
            place.is_active = stats.active && !place.is_given_up;
            place.is_due |= stats.total_pto_count > place.timeouts && !place.is_active;
            place.timeouts = stats.total_pto_count;
            self.places.push(place);
        }
        for place in &self.places {
            if place.is_due && !place.is_proven {
                // Its PING goes to where the client is: the path itself needs no proof for it.
                grant(quic, place.path, GRANT_BYTES);
            }
        }
    }

    /// The client is there; nothing will arrive where it was.
    fn arrive(&mut self, quic: &mut Quic, path: Path) {
        let before = self.home.replace(path).filter(|before| *before != path);
        let before = |place: &&mut Place| Some(place.path) == before && !place.is_active;
        if let Some(place) = self.places.iter_mut().find(before) {
            let left = place.path;
            place.is_due = quic
                .send_ack_eliciting_on_path(left.local, left.peer)
                .is_ok();
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

fn path(local: SocketAddr, peer: SocketAddr) -> Path {
    Path { local, peer }
}

/// An error closes the connection or drops the packet; quiche keeps what is to be done.
fn take(quic: &mut Quic, packet: &mut [u8], Path { local, peer }: Path) {
    let (from, to) = (peer, local);
    let _ = quic.recv(packet, RecvInfo { from, to });
}

/// Has quiche believe that so many bytes came by a path that is not proven: they count before they
/// are read (RFC 9000 §8.1 counts the bytes of datagrams), and these cannot be decrypted.
fn grant(quic: &mut Quic, path: Path, bytes: usize) {
    let id = quic.source_ids().next().map(|id| id.to_vec());
    let mut packet = vec![0x40];
    packet.extend_from_slice(&id.unwrap_or_default());
    packet.resize(bytes, 0);
    take(quic, &mut packet, path);
}

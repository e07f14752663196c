//! The packet paths of a device: one thread from the interface to the network, one back, and one
//! for the timers of all peers.
//!
//! What they share with those who change the device is the table (table.rs), which they read
//! without waiting, and each peer's own lock, which a change holds for some assignments.

mod early;
mod forwarding;
mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use crate::ends::End;
use crate::keys::OwnKeys;
use crate::paths::RelayLimits;
use crate::peer::Peer;
use crate::socket::{Datagram, UdpEnd};
use crate::table::{Current, Reader, Table};
use early::Early;
use gotatun::noise::index_table::IndexTable;
use inbound::Inbound;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use outbound::Outbound;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The timers of each peer run once in all turns together: four times a second, as the core wants.
const TURNS: usize = 5;
const TURN_MS: u16 = 50;

pub struct Plane {
    pub mtu: u16,
    /// How much is forwarded between peers; none: nothing.
    relay: Option<RelayLimits>,
    pub indices: IndexTable,
    pub current: Current,
    tun: End,
    udp: UdpEnd,
    by_index: Mutex<HashMap<u32, Destination>>,
    /// Peers that the timers do not know yet.
    newcomers: Mutex<Vec<Arc<Peer>>>,
    early: Mutex<Early>,
    next_serial: AtomicU32,
    next_number: AtomicU64,
    /// Readable when the paths are to end.
    stop: EventFd,
}

/// What a thread of a plane does until it is to end.
type Path = fn(&Plane);
/// A peer and the serial of its tunnel.
type Destination = (Arc<Peer>, u32);

impl Plane {
    pub fn new(
        (tun, udp): (End, UdpEnd),
        mtu: u16,
        relay: Option<RelayLimits>,
        keys: OwnKeys,
    ) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            mtu,
            relay,
            indices: IndexTable::from_os_rng(),
            current: Current::new(Table::new(keys)),
            tun,
            udp,
            by_index: Mutex::default(),
            newcomers: Mutex::default(),
            early: Mutex::default(),
            next_serial: AtomicU32::new(0),
            // Not the numbers of the run before: its answers may still be on their way.
            next_number: AtomicU64::new(since.map_or(0, |since| since.as_micros() as u64)),
            stop: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// Packets pass from now on.
    pub fn start(self: &Arc<Self>) -> io::Result<Vec<JoinHandle<()>>> {
        let paths: [(&str, Path); 3] = [
            ("wireguard-out", |plane| Outbound::new(plane).run()),
            ("wireguard-in", |plane| Inbound::new(plane).run()),
            ("wireguard-time", run_timers),
        ];
        let start = |(name, path): (&str, Path)| {
            let plane = Arc::clone(self);
            let builder = std::thread::Builder::new().name(name.to_owned());
            builder.spawn(move || path(&plane))
        };
        paths.into_iter().map(start).collect()
    }

    /// Lets the paths end.
    pub fn stop(&self) {
        let _ = self.stop.write(1);
    }

    /// A number for a tunnel that no other one has.
    pub fn serial(&self) -> u32 {
        self.next_serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for a probe that no other one has.
    pub fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Messages for this index go to that tunnel.
    pub fn lead(&self, index: u32, peer: &Arc<Peer>, serial: u32) {
        self.by_index
            .lock()
            .insert(index, (Arc::clone(peer), serial));
    }

    /// Whether an index is in use; forgets it when not.
    pub fn keep(&self, index: u32) -> bool {
        let is_used = self.indices.in_use(index);
        if !is_used {
            self.by_index.lock().remove(&index);
        }
        is_used
    }

    pub fn unregister(&self, indices: &[u32]) {
        let mut by_index = self.by_index.lock();
        for index in indices {
            by_index.remove(index);
        }
    }

    /// After a change of the table: with new peers who began before that, this side begins.
    pub fn welcome(&self) {
        let table = self.current.get();
        let find = |key: &_| table.peer(key).cloned();
        for peer in self.early.lock().take(Instant::now(), find) {
            peer.call(self);
        }
    }

    /// The timers of a peer run from now on.
    pub fn time(&self, peer: Arc<Peer>) {
        self.newcomers.lock().push(peer);
    }

    fn destination(&self, message: &[u8], place: std::ops::Range<usize>) -> Option<Destination> {
        let index = index_of(message, place)?;
        self.by_index.lock().get(&index).cloned()
    }

    /// Waits until there is something to read; false when the path is to end.
    fn wait(&self, fd: BorrowedFd) -> bool {
        let mut fds = [
            PollFd::new(fd, PollFlags::POLLIN),
            PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [_, stop] = fds;
        !stop.any().unwrap_or(false)
    }

    /// False when the path is to end.
    fn pause(&self, ms: u16) -> bool {
        let mut fds = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        !matches!(poll(&mut fds, PollTimeout::from(ms)), Ok(1..))
    }
}

fn index_of(message: &[u8], place: std::ops::Range<usize>) -> Option<u32> {
    let bytes = message.get(place)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// The timers of all peers.
fn run_timers(plane: &Plane) {
    let mut reader = Reader::new(&plane.current);
    let mut peers: Vec<Arc<Peer>> = Vec::new();
    let mut datagrams = Vec::new();
    for turn in (0..TURNS).cycle() {
        let table = reader.table(&plane.current);
        table.keys.reset_limits();
        let mut send = |to, bytes| datagrams.push(Datagram { to, bytes });
        let places = (peers.len() * turn / TURNS)..(peers.len() * (turn + 1) / TURNS);
        for place in places.rev() {
            let Some(peer) = peers.get(place) else {
                continue;
            };
            if !peer.tick(plane, &table.keys, &mut send) {
                peers.swap_remove(place);
            }
        }
        let newcomers = std::mem::take(&mut *plane.newcomers.lock());
        for peer in newcomers {
            if peer.tick(plane, &table.keys, &mut send) {
                peers.push(peer);
            }
        }
        plane.udp.send(&datagrams);
        datagrams.clear();
        if !plane.pause(TURN_MS) {
            return;
        }
    }
}

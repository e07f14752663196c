//! A peer that hears one of our keys at a time, as the kernel's WireGuard does: from the moment it
//! takes the next one it drops what the one before says. So after our key changed its packets wait
//! until it has spoken with the next one, for as long as that can take; then the one before will
//! do: it may not know of the change.

use super::State;
use bytes::BytesMut;
use std::time::{Duration, Instant};

const HELD_FOR: Duration = Duration::from_secs(2);
/// As many as the kernel keeps while it waits for a session.
const HELD_MAX: usize = 128;

pub struct Held {
    until: Instant,
    packets: Vec<BytesMut>,
}

impl State {
    /// There will be a tunnel of a new key of ours beside those of the one before.
    pub(super) fn hold_back(&mut self) {
        if self.hears_one_key && self.tunnels.iter().any(|one| one.proven.is_some()) {
            self.held = Some(Box::new(Held {
                until: Instant::now() + HELD_FOR,
                packets: self.held.take().map_or_else(Vec::new, |held| held.packets),
            }));
        }
    }

    /// Whether packets wait.
    pub(super) fn holds(&self) -> bool {
        let is_early = |held: &Held| Instant::now() < held.until;
        self.held.as_deref().is_some_and(is_early) && !self.is_newest_proven()
    }

    pub(super) fn hold(&mut self, packet: BytesMut) {
        if let Some(held) = &mut self.held
            && held.packets.len() < HELD_MAX
        {
            held.packets.push(packet);
        }
    }

    /// Those that waited and need not any more, the first one first.
    pub(super) fn let_go(&mut self) -> Vec<BytesMut> {
        if self.held.is_none() || self.holds() {
            return Vec::new();
        }
        self.held.take().map_or_else(Vec::new, |held| held.packets)
    }
}

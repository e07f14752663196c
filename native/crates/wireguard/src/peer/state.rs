//! The tunnels of one peer: which of them takes a packet, what their timers want, when they end.

use super::{Message, State, Tunnel};
use crate::keys::OwnKeys;
use crate::plane::Plane;
use gotatun::noise::errors::WireGuardError;
use gotatun::packet::{Packet, WgKind};
use std::time::Duration;

/// Sessions end at this age (WireGuard's REJECT_AFTER_TIME), and with them the reason to keep the
/// tunnel of a key that was replaced.
const OLD_TUNNEL_KEPT: Duration = Duration::from_secs(180);

impl State {
    /// Gives what to send; a packet that no session takes waits in the newest tunnel.
    pub(super) fn encapsulate(&mut self, packet: &mut Option<Packet>) -> Vec<Message> {
        let mut messages = Vec::with_capacity(1);
        for wants_proof in [true, false] {
            for (place, tunnel) in self.tunnels.iter_mut().enumerate() {
                if tunnel.proven.is_some() != wants_proof {
                    continue;
                }
                let Some(plain) = packet.take() else { break };
                match tunnel.tunn.encapsulate_with_session(plain) {
                    Ok(sealed) => messages.push((tunnel.serial, sealed.into())),
                    Err(plain) => *packet = Some(plain),
                }
                // A replaced key still does it: ask for the new one beside it.
                if packet.is_none() && place > 0 {
                    messages.extend(self.ask());
                    return messages;
                }
            }
        }
        if let (Some(plain), Some(newest)) = (packet.take(), self.tunnels.first_mut()) {
            let asked = newest.tunn.handle_outgoing_packet(plain, None);
            messages.extend(asked.map(|message| (newest.serial, message)));
        }
        messages
    }

    /// A handshake of the newest keys, unless one is on its way.
    pub(super) fn ask(&mut self) -> Option<Message> {
        let newest = self.tunnels.first_mut()?;
        let initiation = newest.tunn.format_handshake_initiation(false)?;
        Some((newest.serial, initiation.into()))
    }

    pub(super) fn tick(&mut self, plane: &Plane) -> Vec<Message> {
        let is_newest_proven = self.is_newest_proven();
        let is_kept_alive = self.keepalive_s.is_some();
        let has_more = self.tunnels.len() > 1;
        let mut messages = Vec::new();
        for (place, tunnel) in self.tunnels.iter_mut().enumerate() {
            match tunnel.tunn.update_timers() {
                // Nobody asks anew for keys that were replaced.
                Ok(Some(WgKind::HandshakeInit(_))) if place > 0 && is_newest_proven => {}
                Ok(message) => messages.extend(message.map(|message| (tunnel.serial, message))),
                // The core gives up after 90 s. A peer behind NAT would then never be heard of
                // again, which is what its keepalive is there to prevent.
                Err(WireGuardError::ConnectionExpired) if is_kept_alive && place == 0 => {
                    tunnel.tunn.reset();
                }
                Err(_) => {}
            }
            tunnel.indices.retain(|&index| plane.keep(index));
        }
        for packet in self.let_go() {
            messages.extend(self.encapsulate(&mut Some(Packet::from_bytes(packet))));
        }
        if has_more && !is_newest_proven && messages.is_empty() {
            messages.extend(self.ask());
        }
        messages
    }

    pub(super) fn is_newest_proven(&self) -> bool {
        self.tunnels
            .first()
            .is_some_and(|tunnel| tunnel.proven.is_some())
    }

    /// Drops tunnels of keys that nobody can use any more.
    pub(super) fn drop_old(&mut self, plane: &Plane, keys: &OwnKeys) {
        if self.tunnels.len() < 2 {
            return;
        }
        let proven = self.tunnels.first().and_then(|tunnel| tunnel.proven);
        let is_over = proven.is_some_and(|since| since.elapsed() > OLD_TUNNEL_KEPT);
        let newest = self.tunnels.first().map(|tunnel| tunnel.serial);
        self.drop_tunnels(plane, |tunnel| {
            let is_old = Some(tunnel.serial) != newest;
            is_old && (is_over || !keys.has(&tunnel.own))
        });
    }

    pub(super) fn drop_tunnels(&mut self, plane: &Plane, is_meant: impl Fn(&Tunnel) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.tunnels)
            .into_iter()
            .partition(is_meant);
        self.tunnels = kept;
        let gone: Vec<Tunnel> = gone;
        for tunnel in gone {
            let (_, sent, received, ..) = tunnel.tunn.stats();
            self.sent_bytes += sent;
            self.received_bytes += received;
            plane.unregister(&tunnel.indices);
        }
    }
}

//! Where a device's IP packets come from and go to: an interface of the system or the stack in this
//! program.

use crate::segments::Buffers;
use crate::tun::{Read, TunEnd};
use bytes::BytesMut;
use edge_netstack::Netstack;
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Both directions of a device's packets.
pub enum End {
    Tun(TunEnd),
    /// With what is readable when there are packets.
    Stack(Netstack, Arc<EventFd>),
}

impl End {
    /// Adds what one read gives to `packets`, all of it to one address.
    pub fn read(
        &self,
        space: &mut [u8],
        buffers: &mut Buffers,
        packets: &mut Vec<BytesMut>,
    ) -> Read {
        match self {
            Self::Tun(tun) => tun.read(space, buffers, packets),
            Self::Stack(netstack, told) => {
                if netstack.collect(packets) {
                    return Read::Packets;
                }
                // The stack tells again of what comes after that it had nothing: once more, so
                // that what came before this is not forgotten with it.
                let _ = told.read();
                if netstack.collect(packets) {
                    Read::Packets
                } else {
                    Read::Nothing
                }
            }
        }
    }

    /// Writes packets; those that nobody wants are lost, as on any link.
    pub fn write(&self, packets: &[BytesMut]) {
        match self {
            Self::Tun(tun) => tun.write(packets),
            Self::Stack(netstack, _) => netstack.deliver(packets.iter().map(|packet| &packet[..])),
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tun(tun) => tun.as_fd(),
            Self::Stack(_, told) => told.as_fd(),
        }
    }
}

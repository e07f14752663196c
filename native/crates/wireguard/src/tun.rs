//! The IP end of a device: packets of a TUN interface, with segmentation offload where there is.

use crate::joining::{Group, group};
use crate::segments::{Buffers, HEADER, Header, split};
use bytes::BytesMut;
use nix::errno::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tun_rs::SyncDevice;

/// The biggest packet and the header before it.
pub const READ_BYTES: usize = HEADER + 65_535;

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    Packets,
    /// Nothing is there.
    Nothing,
    /// Nothing will come any more: somebody took the interface away.
    Gone,
}

/// Both directions of one interface.
pub struct TunEnd {
    fd: OwnedFd,
    /// Whether packets have a header that lets them be big.
    has_offload: bool,
}

impl TunEnd {
    /// Makes the interface, left down: addresses and MTU come first, by netlink. It goes when this
    /// end does.
    pub fn create(name: &str) -> io::Result<Self> {
        let open = |offload: bool| -> io::Result<SyncDevice> {
            tun_rs::DeviceBuilder::new()
                .name(name)
                .offload(offload)
                .inherit_enable_state()
                .build_sync()
        };
        let (device, has_offload) = match open(true) {
            Ok(device) => (device, true),
            Err(error) if is_about_offload(&error) => (open(false)?, false),
            Err(error) => return Err(error),
        };
        device.set_nonblocking(true)?;
        let fd = device.as_fd().try_clone_to_owned()?;
        Ok(Self { fd, has_offload })
    }

    #[cfg(test)]
    pub fn of(fd: OwnedFd, has_offload: bool) -> Self {
        Self { fd, has_offload }
    }

    /// Adds what one read gives to `packets`, each of them small enough for the interface.
    pub fn read(
        &self,
        space: &mut [u8],
        buffers: &mut Buffers,
        packets: &mut Vec<BytesMut>,
    ) -> Read {
        let length = match nix::unistd::read(&self.fd, space) {
            Ok(length) => length,
            Err(Errno::EBADFD | Errno::ENODEV | Errno::EBADF) => return Read::Gone,
            Err(_) => return Read::Nothing,
        };
        let Some(got) = space.get_mut(..length) else {
            return Read::Nothing;
        };
        if !self.has_offload {
            let mut buffer = buffers.take();
            buffer.extend_from_slice(got);
            packets.push(buffer);
        } else if let Some((header, packet)) = got.split_first_chunk_mut::<HEADER>() {
            // What cannot be read is lost.
            let _ = split(Header::decode(header), packet, buffers, packets);
        }
        Read::Packets
    }

    /// Writes packets, those that follow each other as one. The kernel refuses what it cannot read,
    /// and all while the interface is down: such packets are lost, as on any link.
    pub fn write(&self, packets: &[BytesMut]) {
        if !self.has_offload {
            for packet in packets {
                let _ = nix::unistd::write(&self.fd, packet);
            }
            return;
        }
        for group in group(packets) {
            let _ = self.write_group(&group, packets);
        }
    }

    fn write_group(&self, group: &Group, packets: &[BytesMut]) -> nix::Result<usize> {
        let members = || group.members.iter().filter_map(|&place| packets.get(place));
        let Some(first) = members().next() else {
            return Ok(0);
        };
        let head = if group.members.len() > 1 {
            group.head(first)
        } else {
            None
        };
        let Some(head) = head else {
            let parts = [IoSlice::new(&[0; HEADER]), IoSlice::new(first)];
            return nix::sys::uio::writev(&self.fd, &parts);
        };
        let payloads = members().map(|packet| IoSlice::new(group.payload_of(packet)));
        let parts: Vec<_> = std::iter::once(IoSlice::new(&head))
            .chain(payloads)
            .collect();
        nix::sys::uio::writev(&self.fd, &parts)
    }
}

impl AsFd for TunEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A kernel without IFF_VNET_HDR or TUNSETOFFLOAD.
fn is_about_offload(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTTY)
    )
}

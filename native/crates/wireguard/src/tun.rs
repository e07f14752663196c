//! The IP end of a device: packets of a TUN interface.
//!
//! gotatun has an end of its own over another crate; this one can take segmentation offload later
//! (tun-rs has it), and a packet that is no IP does not end the device.

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use std::io;
use std::iter;
use std::sync::Arc;
use tun_rs::AsyncDevice;

/// What writing to an interface that is down gives (drivers/net/tun.c).
const EIO: i32 = 5;

/// Both directions of one interface.
#[derive(Clone)]
pub struct TunEnd {
    device: Arc<AsyncDevice>,
    mtu: u16,
}

impl TunEnd {
    /// Makes the interface; it goes when the last clone does.
    pub fn create(name: &str, mtu: u16) -> io::Result<Self> {
        // Left down: addresses and MTU come first, by netlink.
        let device = tun_rs::DeviceBuilder::new()
            .name(name)
            .inherit_enable_state()
            .build_async()?;
        let device = Arc::new(device);
        Ok(Self { device, mtu })
    }
}

impl IpSend for TunEnd {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        match self.device.send(&packet.into_bytes()).await {
            // The kernel refuses what it cannot read, and all while the interface is down: such a
            // packet is lost, as on any link; the device goes on.
            Err(error) if is_about_the_packet(&error) => Ok(()),
            sent => sent.map(|_| ()),
        }
    }
}

fn is_about_the_packet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::OutOfMemory
    ) || error.raw_os_error() == Some(EIO)
}

impl IpRecv for TunEnd {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        loop {
            let mut packet = pool.get();
            let length = self.device.recv(&mut packet).await?;
            packet.truncate(length);
            if let Ok(packet) = packet.try_into_ip() {
                return Ok(iter::once(packet));
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(self.mtu)
    }
}

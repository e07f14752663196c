//! Where a device's IP packets come from and go to: an interface of the system or the stack in this
//! program. Nothing else here knows gotatun's traits.

use crate::tun::TunEnd;
use bytes::BytesMut;
use edge_netstack::Netstack;
use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use std::io;
use std::sync::Arc;
use tokio::sync::Notify;

/// Takes packets that came through the tunnel.
pub enum Out {
    Tun(TunEnd),
    Stack(Netstack),
}

impl IpSend for Out {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        match self {
            Self::Tun(end) => end.send(packet).await,
            Self::Stack(netstack) => {
                netstack.deliver([&packet.into_bytes()[..]]);
                Ok(())
            }
        }
    }
}

/// Gives packets that are to go through the tunnel.
pub struct In {
    source: Source,
    mtu: u16,
    batch: Vec<Packet<Ip>>,
}

pub enum Source {
    Tun(TunEnd),
    /// With what is notified when there are packets.
    Stack(Netstack, Arc<Notify>),
}

impl In {
    pub fn new(source: Source, mtu: u16) -> Self {
        let batch = Vec::new();
        Self { source, mtu, batch }
    }
}

impl IpRecv for In {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        match &mut self.source {
            Source::Tun(end) => self.batch.extend(end.recv(pool).await?),
            Source::Stack(netstack, told) => {
                let mut packets: Vec<BytesMut> = Vec::new();
                while !netstack.collect(&mut packets) {
                    told.notified().await;
                }
                let packets = packets.into_iter();
                let packets = packets.map(|bytes| Packet::from_bytes(bytes).try_into_ip());
                self.batch.extend(packets.flatten());
            }
        }
        Ok(self.batch.drain(..))
    }

    fn mtu(&self) -> MtuWatcher {
        MtuWatcher::new(self.mtu)
    }
}

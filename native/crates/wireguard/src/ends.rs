//! Where a device's IP packets come from and go to: an interface of the system or the stack in this
//! program. Nothing else here knows gotatun's traits.

use crate::tun::TunEnd;
use bytes::BytesMut;
use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use std::io;
use tokio::sync::mpsc;

/// Packets that are taken from the stack in one go.
const BATCH_PACKETS: usize = 64;

/// A packet for the stack, in a buffer of gotatun's pool.
pub type Received = Packet<[u8]>;

/// Takes packets that came through the tunnel.
pub enum Out {
    Tun(TunEnd),
    Stack(mpsc::Sender<Received>),
}

impl IpSend for Out {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        match self {
            Self::Tun(end) => end.send(packet).await,
            // The stack always takes them soon: it drops what nobody asked for.
            Self::Stack(into) => {
                let sent = into.send(packet.into_bytes()).await;
                sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}

/// Gives packets that are to go through the tunnel.
pub struct In {
    pub source: Source,
    pub mtu: u16,
    batch: Vec<Packet<Ip>>,
}

pub enum Source {
    Tun(TunEnd),
    Stack(mpsc::Receiver<BytesMut>),
}

impl In {
    pub fn new(source: Source, mtu: u16) -> Self {
        let batch = Vec::with_capacity(BATCH_PACKETS);
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
            Source::Stack(out) => {
                let first = out.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
                let more = std::iter::from_fn(|| out.try_recv().ok());
                let packets = std::iter::once(first).chain(more).take(BATCH_PACKETS);
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

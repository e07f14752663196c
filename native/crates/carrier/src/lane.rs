//! The device's side of a carrier: a port of its own on loopback, by which the device knows it.

use crate::port::{Path, Port, Scratch};
use crate::train::{Load, Train};
use bytes::BytesMut;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// Addresses that the device knows to be such ones (native/crates/wireguard/src/paths.rs).
const FIRST_OCTETS: [u8; 2] = [127, 77];
const ATTEMPTS: usize = 8;

/// Buffers that all carriers of a thread share: each uses them only between two waits.
pub struct Buffers {
    pub scratch: RefCell<Scratch>,
    pub to_device: RefCell<Train>,
    pub outward: RefCell<Train>,
    /// What is to be encrypted.
    pub plain: RefCell<BytesMut>,
}

/// A carrier's port towards the device.
pub struct Lane {
    port: Port,
    path: Path,
}

impl Lane {
    /// Must be called within the runtime.
    pub fn open(device: SocketAddr) -> Result<Lane> {
        let socket = bind()?;
        // Nobody else on this machine has something to say.
        socket.connect(device)?;
        let port = Port::new(socket)?;
        let path = Path {
            local: port.local(),
            peer: device,
        };
        Ok(Lane { port, path })
    }

    /// Where the device finds the carrier.
    pub fn endpoint(&self) -> SocketAddr {
        self.path.local
    }

    /// Until the device has something.
    pub async fn readable(&self) {
        self.port.readable().await;
    }

    /// Takes one batch from the device. Returns whether there may be more.
    pub fn receive(&self, buffers: &Buffers, mut each: impl FnMut(&[u8])) -> bool {
        let mut scratch = buffers.scratch.borrow_mut();
        self.port.receive(&mut scratch, |packet, _| each(packet))
    }

    /// Has a packet ride to the device; it leaves with [`Lane::flush`] at the latest.
    pub fn put(&self, packet: &[u8], buffers: &Buffers) {
        let mut train = buffers.to_device.borrow_mut();
        if let Some(room) = train.room().get_mut(..packet.len()) {
            room.copy_from_slice(packet);
            train.add(packet.len(), |load| self.send(load));
        }
    }

    pub fn flush(&self, buffers: &Buffers) {
        let mut train = buffers.to_device.borrow_mut();
        train.leave(|load| self.send(load));
    }

    /// A socket that is full loses packets, as any link does.
    fn send(&self, load: Load<'_>) {
        let _ = self.port.send_now(load, self.path);
    }
}

fn bind() -> Result<UdpSocket> {
    let mut failed = Error::from(ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let mut random = [0; 2];
        boring::rand::rand_bytes(&mut random).map_err(Error::other)?;
        let [third, fourth] = random.map(|byte| byte.clamp(1, 254));
        let [first, second] = FIRST_OCTETS;
        let address = Ipv4Addr::new(first, second, third, fourth);
        match UdpSocket::bind((address, 0)) {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

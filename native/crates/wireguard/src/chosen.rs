//! The device of the mode that was chosen.

use crate::delta::{Delta, Mode, Options};
use crate::device;
use crate::error::Error;
use crate::kernel::KernelDevice;

/// One WireGuard device, whoever carries its packets.
pub enum Device {
    /// This program.
    Own(device::Device),
    Kernel(KernelDevice),
}

impl Device {
    /// Makes the interface and opens the port; without peers and addresses.
    pub fn open(options: Options) -> Result<Self, Error> {
        match options.mode {
            Mode::Kernel => KernelDevice::open(options).map(Self::Kernel),
            Mode::Tun | Mode::Netstack => device::Device::open(options).map(Self::Own),
        }
    }

    /// Brings a delta about; gives the addresses and routes that the kernel refused, as JSON. They
    /// can be tried again, everything else is in force.
    pub fn apply(&self, delta: Delta) -> Result<String, Error> {
        match self {
            Self::Own(device) => device.apply(delta),
            Self::Kernel(device) => device.apply(delta),
        }
    }

    /// The peers that were spoken to or heard, as JSON: of ten thousand most are neither, and there
    /// is nothing to tell of them. Fails when somebody took the interface away.
    pub fn stats(&self) -> Result<String, Error> {
        match self {
            Self::Own(device) => device.stats(),
            Self::Kernel(device) => device.stats(),
        }
    }

    /// Takes the interface away, and with it its addresses and routes.
    pub fn close(&mut self) {
        match self {
            Self::Own(device) => device.close(),
            Self::Kernel(device) => device.close(),
        }
    }
}

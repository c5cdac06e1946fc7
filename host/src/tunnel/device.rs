//! The tunnel device, as a worker sees it.

use std::io::{self, IoSlice};

use selvedge_engine::{Merging, VnetHeader};

/// A TUN device, read and written without blocking.
pub trait PacketDevice {
    /// Returns what the device takes and gives besides single packets.
    fn offloads(&self) -> DeviceOffloads {
        DeviceOffloads::NONE
    }

    /// Waits until a packet, or an error, can be read.
    ///
    /// # Errors
    ///
    /// If the device is gone.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;

    /// Reads a packet that the kernel routed into the device, framed as [`DeviceOffloads::framing`] says.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if there is none; anything else means that the device is gone.
    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize>;

    /// Hands a packet to the kernel, in parts, framed as [`DeviceOffloads::framing`] says.
    ///
    /// # Errors
    ///
    /// If the kernel does not take it.
    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<()>;
}

/// What a device takes and gives besides single packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeviceOffloads {
    /// What stands before each packet.
    pub framing: Framing,
    /// Whether it takes super-packets of TCP.
    pub tcp: Merging,
    /// Whether it takes super-packets of UDP.
    pub udp: Merging,
}

/// What stands before each packet that is read or written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// Nothing.
    Bare,
    /// A [`VnetHeader`].
    Vnet,
}

impl DeviceOffloads {
    /// Single packets and nothing else.
    pub const NONE: Self = Self {
        framing: Framing::Bare,
        tcp: Merging::Off,
        udp: Merging::Off,
    };
}

/// Hands the kernel a complete packet.
pub(super) fn deliver(device: &impl PacketDevice, packet: &[u8]) -> io::Result<()> {
    match device.offloads().framing {
        Framing::Bare => device.try_send(&[IoSlice::new(packet)]),
        Framing::Vnet => {
            let header = VnetHeader::Complete.to_bytes();
            device.try_send(&[IoSlice::new(&header), IoSlice::new(packet)])
        }
    }
}

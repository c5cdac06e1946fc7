//! A TUN device.

use std::ffi::{c_short, c_uint};
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, IntoRawFd as _, RawFd};
use std::sync::Arc;

use selvedge_engine::{LinkName, Merging};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tun::Device;

use super::device::{DeviceOffloads, Framing, PacketDevice};
use super::offload::{Offload, Offloads};
use super::raw::{self, OwnsDescriptor};
use super::worker_count::WorkerCount;

/// What to wait for: a device that is deleted shows as an error, not as readable, and reading then tells which.
const READABLE_OR_DEAD: Interest = Interest::READABLE.add(Interest::ERROR);

/// `TUN_F_*` of `linux/if_tun.h`; a super-packet always comes with a partial checksum.
const CHECKSUM: c_uint = 0x01;
const TSO: c_uint = 0x02 | 0x04 | 0x08;
const USO: c_uint = 0x20 | 0x40;

/// `IFF_*` of `linux/if_tun.h`.
const TUN: c_short = 0x0001;
const MULTI_QUEUE: c_short = 0x0100;
const NO_PACKET_INFORMATION: c_short = 0x1000;
const VNET_HEADER: c_short = 0x4000;

/// A TUN device that lives as long as this value and its queues: bare IP packets.
#[derive(Debug)]
pub struct TunDevice {
    queues: Vec<TunQueue>,
}

/// A queue of a TUN device; the kernel keeps the packets of a flow in one.
#[derive(Clone)]
pub struct TunQueue {
    device: Arc<Device>,
    offloads: DeviceOffloads,
}

impl TunDevice {
    /// Makes the device with exactly this name, or takes over a persistent one that nobody holds.
    ///
    /// It has as many of the offloads as the kernel knows. MTU, addresses and state are left to netlink.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn create(name: &LinkName, offloads: Offloads, workers: WorkerCount) -> io::Result<Self> {
        let queues = (0..workers.get()).map(|_| TunQueue::open(name, offloads, workers));
        let queues: Vec<_> = queues.collect::<io::Result<_>>()?;
        let offloads = queues.first().map(|queue| queue.offloads);
        tracing::debug!(
            ?offloads,
            "made the tunnel device {name} with {} queues",
            queues.len()
        );
        Ok(Self { queues })
    }

    /// Returns its queues.
    pub fn queues(&self) -> impl Iterator<Item = TunQueue> {
        self.queues.iter().cloned()
    }
}

impl TunQueue {
    fn open(name: &LinkName, wanted: Offloads, workers: WorkerCount) -> io::Result<Self> {
        let framing = match (wanted.tso, wanted.uso) {
            (Offload::Off, Offload::Off) => Framing::Bare,
            (Offload::Wanted, _) | (_, Offload::Wanted) => Framing::Vnet,
        };
        let flags = match framing {
            Framing::Bare => TUN | NO_PACKET_INFORMATION,
            Framing::Vnet => TUN | NO_PACKET_INFORMATION | VNET_HEADER,
        };
        let several = if workers.get() > 1 { MULTI_QUEUE } else { 0 };
        let fd = raw::open_tun_queue(&name.0, flags | several)?;
        let mut config = tun::Configuration::default();
        config.raw_fd(fd.into_raw_fd()).platform_config(|platform| {
            platform.ensure_root_privileges(false);
        });
        let device = tun::create(&config).map_err(into_io)?;
        let offloads = match framing {
            Framing::Bare => DeviceOffloads::NONE,
            Framing::Vnet => negotiate(&device, wanted),
        };
        Ok(Self {
            device: Arc::new(device),
            offloads,
        })
    }

    /// Makes the queue ready for a worker on the current runtime.
    ///
    /// # Errors
    ///
    /// If the runtime cannot wait for it.
    pub fn register(&self) -> io::Result<RegisteredTun> {
        Ok(RegisteredTun {
            fd: raw::register(Handle(Arc::clone(&self.device)), READABLE_OR_DEAD)?,
            offloads: self.offloads,
        })
    }
}

impl fmt::Debug for TunQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunQueue")
            .field("fd", &self.device.as_raw_fd())
            .field("offloads", &self.offloads)
            .finish()
    }
}

/// Asks the kernel for the offloads, then for fewer.
fn negotiate(device: &Device, wanted: Offloads) -> DeviceOffloads {
    let bits = |offload, bits| match offload {
        Offload::Wanted => bits,
        Offload::Off => 0,
    };
    let merging = |offload| match offload {
        Offload::Wanted => Merging::On,
        Offload::Off => Merging::Off,
    };
    // Super-packets of TCP may be written whatever the kernel hands out, those of UDP only since it knows the bits.
    let tso = merging(wanted.tso);
    let choices = [
        (
            bits(wanted.tso, TSO) | bits(wanted.uso, USO),
            tso,
            merging(wanted.uso),
        ),
        (bits(wanted.tso, TSO), tso, Merging::Off),
        (0, tso, Merging::Off),
    ];
    for (bits, tcp, udp) in choices {
        match raw::set_tun_offloads(device, CHECKSUM | bits) {
            Ok(()) => {
                return DeviceOffloads {
                    framing: Framing::Vnet,
                    tcp,
                    udp,
                };
            }
            Err(error) => {
                tracing::info!("the kernel refuses the tunnel device's offloads {bits:#x}: {error}");
            }
        }
    }
    DeviceOffloads {
        framing: Framing::Vnet,
        tcp: tso,
        udp: Merging::Off,
    }
}

/// A queue of a TUN device that a runtime waits for.
#[derive(Debug)]
pub struct RegisteredTun {
    fd: AsyncFd<Handle>,
    offloads: DeviceOffloads,
}

struct Handle(Arc<Device>);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

// It shares ownership of the device, whose descriptor is opened once and closed when the last owner goes.
impl OwnsDescriptor for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_raw_fd().fmt(f)
    }
}

impl PacketDevice for RegisteredTun {
    fn offloads(&self) -> DeviceOffloads {
        self.offloads
    }

    async fn readable(&self) -> io::Result<()> {
        let mut guard = self.fd.ready(READABLE_OR_DEAD).await?;
        guard.retain_ready();
        Ok(())
    }

    fn try_recv(&self, packet: &mut [u8]) -> io::Result<usize> {
        let readable = self.fd.try_io(Interest::READABLE, |handle| handle.0.recv(packet));
        match readable {
            // Costs a system call only if there is an error: otherwise tokio knows that there is none.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.fd.try_io(Interest::ERROR, |handle| handle.0.recv(packet))
            }
            result => result,
        }
    }

    fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        raw::write_packet(self.fd.get_ref(), parts)
    }
}

fn into_io(error: tun::Error) -> io::Error {
    if let tun::Error::Io(error) = error {
        return error;
    }
    io::Error::other(error)
}

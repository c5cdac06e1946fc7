//! A TUN device.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::fd::RawFd;
use std::sync::Arc;

use selvedge_engine::LinkName;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tun::Device;

use super::worker::PacketDevice;

/// What to wait for: a device that is deleted shows as an error, not as readable, and reading then tells which.
const READABLE_OR_DEAD: Interest = Interest::READABLE.add(Interest::ERROR);

/// A TUN device that lives as long as this value and its clones: bare IP packets, one queue, no offloads.
#[derive(Clone)]
pub struct TunDevice {
    device: Arc<Device>,
}

impl TunDevice {
    /// Makes the device with exactly this name, or takes over a persistent one that nobody holds.
    ///
    /// MTU, addresses and state are left to netlink.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn create(name: &LinkName) -> io::Result<Self> {
        let mut config = tun::Configuration::default();
        config.tun_name(&name.0).platform_config(|platform| {
            platform.ensure_root_privileges(false);
        });
        let device = tun::create(&config).map_err(into_io)?;
        device.set_nonblock()?;
        Ok(Self {
            device: Arc::new(device),
        })
    }

    /// Makes the device ready for a worker on the current runtime.
    ///
    /// # Errors
    ///
    /// If the runtime cannot wait for it.
    pub fn register(&self) -> io::Result<RegisteredTun> {
        let handle = Handle(Arc::clone(&self.device));
        // SAFETY: the handle shares ownership of the device, whose file descriptor is opened once, is never
        // changed or given away, and is closed only when the last owner goes; `AsyncFd` drops its registration
        // before the handle.
        let fd = unsafe { AsyncFd::register_with_interest(handle, READABLE_OR_DEAD)? };
        Ok(RegisteredTun { fd })
    }
}

impl std::fmt::Debug for TunDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunDevice")
            .field("fd", &self.device.as_raw_fd())
            .finish()
    }
}

/// A TUN device that a runtime waits for.
#[derive(Debug)]
pub struct RegisteredTun {
    fd: AsyncFd<Handle>,
}

struct Handle(Arc<Device>);

impl std::os::fd::AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_raw_fd().fmt(f)
    }
}

impl PacketDevice for RegisteredTun {
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

    fn try_send(&self, packet: &[u8]) -> io::Result<usize> {
        self.fd.get_ref().0.send(packet)
    }
}

fn into_io(error: tun::Error) -> io::Error {
    if let tun::Error::Io(error) = error {
        return error;
    }
    io::Error::other(error)
}

//! What the tunnel's thread carries packets between: the TUN device and the UDP socket.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};

use selvedge_engine::{KernelError, LinkName};

use super::error::Attempt;
use super::links;
use crate::net;
use crate::tunnel::thread::WorkerThreads;
use crate::tunnel::tun_device::TunDevice;
use crate::tunnel::worker::WorkerEnd;
use crate::tunnel::{DataPath, SharedTable, TunnelProbe};

/// Both ends, and the workers between them.
#[derive(Debug)]
pub(super) struct TunnelEnds {
    sockets: Option<(SocketAddrV4, Vec<UdpSocket>)>,
    device: Option<Device>,
    workers: Option<WorkerThreads>,
    table: SharedTable,
    data_path: DataPath,
    probe: TunnelProbe,
}

/// An end that is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The TUN device of this name.
    Device(LinkName),
    /// The socket at this address.
    Socket(SocketAddrV4),
}

#[derive(Debug)]
struct Device {
    name: LinkName,
    index: u32,
    tun: TunDevice,
}

impl TunnelEnds {
    /// Makes the ends that do not exist yet.
    pub(super) const fn new(table: SharedTable, data_path: DataPath, probe: TunnelProbe) -> Self {
        Self {
            sockets: None,
            device: None,
            workers: None,
            table,
            data_path,
            probe,
        }
    }

    /// Binds the socket.
    pub(super) fn ensure_socket(&mut self, local: SocketAddrV4) -> Result<(), KernelError> {
        if self.sockets.as_ref().is_some_and(|(bound, _)| *bound == local) {
            return Ok(());
        }
        self.close_socket();
        let sockets = net::bind_each(local, self.data_path.workers);
        let sockets = sockets.map_err(|error| Attempt::Bind(local).failed(&error))?;
        self.sockets = Some((local, sockets));
        self.start_workers()
    }

    /// Creates the device, and returns its index.
    pub(super) fn ensure_device(&mut self, name: &LinkName) -> Result<u32, KernelError> {
        if let Some(device) = self.device.as_ref().filter(|device| device.name == *name) {
            return Ok(device.index);
        }
        self.close_device();
        let tun = TunDevice::create(name, self.data_path.offloads, self.data_path.workers);
        let tun = tun.map_err(|error| Attempt::CreateTun(name.clone()).failed(&error))?;
        let index = links::index_of(name)?;
        self.device = Some(Device {
            name: name.clone(),
            index,
            tun,
        });
        Ok(index)
    }

    /// Starts the workers as soon as both of their ends exist.
    pub(super) fn start_workers(&mut self) -> Result<(), KernelError> {
        let (Some((_, sockets)), Some(device), None) = (&self.sockets, &self.device, &self.workers) else {
            return Ok(());
        };
        let sockets = sockets.iter().map(UdpSocket::try_clone);
        let workers = sockets.collect::<io::Result<Vec<_>>>().and_then(|sockets| {
            let ends = device.tun.queues().zip(sockets);
            WorkerThreads::spawn(ends, &self.table, self.data_path.offloads, &self.probe)
        });
        self.workers = Some(workers.map_err(|error| Attempt::StartTunnel.failed(&error))?);
        Ok(())
    }

    /// Closes the socket if it is the one at this address.
    pub(super) fn close_socket_at(&mut self, local: SocketAddrV4) {
        if self.sockets.as_ref().is_some_and(|(bound, _)| *bound == local) {
            self.close_socket();
        }
    }

    /// Closes the device, and with that deletes it, if it has this name; returns the index that it had.
    pub(super) fn close_device_named(&mut self, name: &LinkName) -> Option<u32> {
        let device = self.device.as_ref().filter(|device| device.name == *name)?;
        let index = device.index;
        self.close_device();
        Some(index)
    }

    /// Waits until the workers end, and returns the end that is gone. Nothing is lost if the future is dropped.
    pub(super) async fn ended(&mut self) -> Option<End> {
        let Some(workers) = &mut self.workers else {
            return std::future::pending().await;
        };
        match workers.ended().await {
            WorkerEnd::Stopped => {
                self.workers = None;
                None
            }
            WorkerEnd::Device(error) => {
                tracing::debug!(%error, "the tunnel device is gone");
                self.workers = None;
                self.device.take().map(|device| End::Device(device.name))
            }
            WorkerEnd::Socket(error) => {
                tracing::debug!(%error, "the tunnel's socket is of no use any more");
                self.workers = None;
                self.sockets.take().map(|(local, _)| End::Socket(local))
            }
        }
    }

    fn close_socket(&mut self) {
        self.workers = None;
        self.sockets = None;
    }

    fn close_device(&mut self) {
        self.workers = None;
        self.device = None;
    }
}

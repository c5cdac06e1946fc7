//! A Linux node: the engine's objects made real, and the tunnel's thread between two of them.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::path::PathBuf;

use futures::StreamExt as _;
use nix::net::if_::if_nametoindex;
use selvedge_engine::{
    Address, KernelError, KernelErrorKind, KernelEvent, KernelObject, KernelOp, Link, LinkKind, LinkName,
    Route,
};

use super::error::Attempt;
use super::made::{Made, Present};
use super::netlink::{Netlink, Notifications};
use super::{Kernel, subnet_file, sysctl};
use crate::net;
use crate::tunnel::thread::WorkerThreads;
use crate::tunnel::tun_device::TunDevice;
use crate::tunnel::worker::WorkerEnd;
use crate::tunnel::{DataPath, SharedTable, TunnelProbe};

/// The kernel of this machine, in the network namespace of the calling thread.
#[derive(Debug)]
pub struct LinuxKernel {
    netlink: Netlink,
    notifications: Notifications,
    made: Made,
    /// Whether notifications cast doubt on what we made.
    doubt: Doubt,
    /// What was found out and not told yet.
    news: VecDeque<KernelEvent>,
    sockets: Option<(SocketAddrV4, Vec<UdpSocket>)>,
    device: Option<TunDevice>,
    workers: Option<WorkerThreads>,
    subnet_file: PathBuf,
    table: SharedTable,
    probe: TunnelProbe,
    data_path: DataPath,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Doubt {
    None,
    Raised,
}

impl LinuxKernel {
    /// Connects to the kernel; must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// If netlink is not to be had.
    pub fn open(
        subnet_file: PathBuf,
        table: SharedTable,
        data_path: DataPath,
        probe: TunnelProbe,
    ) -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open()?,
            notifications: Netlink::subscribe()?,
            made: Made::default(),
            doubt: Doubt::None,
            news: VecDeque::new(),
            sockets: None,
            device: None,
            workers: None,
            subnet_file,
            table,
            probe,
            data_path,
        })
    }

    async fn ensure(&mut self, object: KernelObject) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => self.ensure_socket(local),
            KernelObject::Link(link) => self.ensure_link(link).await,
            KernelObject::Sysctl(setting) => sysctl::ensure(&setting),
            KernelObject::Address(address) => self.ensure_address(address).await,
            KernelObject::Route(route) => self.ensure_route(route).await,
            KernelObject::SubnetFile(file) => subnet_file::replace(&self.subnet_file, &file.render())
                .map_err(|error| Attempt::SubnetFile(self.subnet_file.clone()).failed(&error)),
        }
    }

    async fn remove(&mut self, object: KernelObject) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => {
                if self.sockets.as_ref().is_some_and(|(bound, _)| *bound == local) {
                    self.close_socket();
                }
                Ok(())
            }
            KernelObject::Link(link) => {
                if self.made.index_of(&link.name).is_some() {
                    self.close_device();
                }
                Ok(())
            }
            // It goes with its device.
            KernelObject::Sysctl(_) => Ok(()),
            KernelObject::Address(address) => self.remove_address(address).await,
            KernelObject::Route(route) => self.remove_route(route).await,
            KernelObject::SubnetFile(_) => subnet_file::remove(&self.subnet_file)
                .map_err(|error| Attempt::SubnetFile(self.subnet_file.clone()).failed(&error)),
        }
    }

    fn ensure_socket(&mut self, local: SocketAddrV4) -> Result<(), KernelError> {
        if self.sockets.as_ref().is_some_and(|(bound, _)| *bound == local) {
            return Ok(());
        }
        self.close_socket();
        let sockets = net::bind_each(local, self.data_path.workers);
        let sockets = sockets.map_err(|error| Attempt::Bind(local).failed(&error))?;
        self.sockets = Some((local, sockets));
        self.start_workers()
    }

    async fn ensure_link(&mut self, link: Link) -> Result<(), KernelError> {
        let LinkKind::Tun = link.kind;
        let index = match self.made.index_of(&link.name) {
            Some(index) => index,
            None => self.create_device(&link.name)?,
        };
        self.made.link = Some((link.clone(), index));
        self.netlink
            .set_link(index, &link)
            .await
            .map_err(|error| Attempt::SetLink(link.name).failed(&error))?;
        self.start_workers()
    }

    fn create_device(&mut self, name: &LinkName) -> Result<u32, KernelError> {
        self.close_device();
        let attempt = Attempt::CreateTun(name.clone());
        let device = TunDevice::create(name, self.data_path.offloads, self.data_path.workers);
        let device = device.map_err(|error| attempt.failed(&error))?;
        let index = if_nametoindex(name.0.as_str()).map_err(|errno| attempt.failed(&errno.into()))?;
        self.device = Some(device);
        Ok(index)
    }

    async fn ensure_address(&mut self, address: Address) -> Result<(), KernelError> {
        let index = self.index_of(&address.link)?;
        self.netlink
            .add_address(index, &address)
            .await
            .map_err(|error| Attempt::Address(address.clone()).failed(&error))?;
        self.made.addresses.insert(address);
        Ok(())
    }

    async fn remove_address(&mut self, address: Address) -> Result<(), KernelError> {
        self.made.addresses.remove(&address);
        let Some(index) = self.made.index_of(&address.link) else {
            return Ok(());
        };
        self.netlink
            .delete_address(index, &address)
            .await
            .map_err(|error| Attempt::Address(address).failed(&error))
    }

    async fn ensure_route(&mut self, route: Route) -> Result<(), KernelError> {
        let index = self.index_of(&route.link)?;
        self.netlink.add_route(index, &route).await?;
        self.made.routes.insert(route);
        Ok(())
    }

    async fn remove_route(&mut self, route: Route) -> Result<(), KernelError> {
        self.made.routes.remove(&route);
        let Some(index) = self.made.index_of(&route.link) else {
            return Ok(());
        };
        self.netlink
            .delete_route(index, &route)
            .await
            .map_err(|error| Attempt::Route(route).failed(&error))
    }

    fn index_of(&self, name: &LinkName) -> Result<u32, KernelError> {
        self.made.index_of(name).ok_or_else(|| KernelError {
            kind: KernelErrorKind::NotFound,
            message: format!("there is no device {name}"),
        })
    }

    /// Starts the workers as soon as both of their ends exist.
    fn start_workers(&mut self) -> Result<(), KernelError> {
        let (Some((_, sockets)), Some(device), None) = (&self.sockets, &self.device, &self.workers) else {
            return Ok(());
        };
        let sockets = sockets.iter().map(UdpSocket::try_clone);
        let workers = sockets.collect::<io::Result<Vec<_>>>().and_then(|sockets| {
            let ends = device.queues().zip(sockets);
            WorkerThreads::spawn(ends, &self.table, self.data_path.offloads, &self.probe)
        });
        self.workers = Some(workers.map_err(|error| Attempt::StartTunnel.failed(&error))?);
        Ok(())
    }

    fn close_socket(&mut self) {
        self.workers = None;
        self.sockets = None;
    }

    fn close_device(&mut self) {
        self.workers = None;
        self.device = None;
        self.made.forget_link();
    }

    /// Takes the worker's end as what it means for the objects.
    fn worker_ended(&mut self, end: WorkerEnd) -> Option<KernelEvent> {
        match end {
            WorkerEnd::Stopped => {
                self.workers = None;
                None
            }
            WorkerEnd::Device(error) => {
                tracing::debug!(%error, "the tunnel device is gone");
                let name = self.made.link.as_ref().map(|(link, _)| link.name.clone());
                self.close_device();
                name.map(KernelEvent::LinkVanished)
            }
            WorkerEnd::Socket(error) => {
                tracing::debug!(%error, "the tunnel's socket is of no use any more");
                let local = self.sockets.as_ref().map(|(local, _)| *local);
                self.close_socket();
                local.map(|local| KernelEvent::Vanished(KernelObject::Socket(local)))
            }
        }
    }

    /// Asks the kernel what has become of what we made.
    ///
    /// The doubt stays until there is an answer, so that nothing is lost if the future is dropped.
    async fn settle_doubt(&mut self) {
        match self.look().await {
            Ok(present) => {
                let missing = self.made.missing(&present);
                for event in &missing {
                    self.note(event);
                }
                self.news.extend(missing);
            }
            Err(error) => tracing::warn!("cannot ask the kernel what became of the tunnel: {error}"),
        }
        self.doubt = Doubt::None;
    }

    async fn look(&self) -> io::Result<Present> {
        Ok(Present {
            links: self.netlink.links().await?,
            addresses: self.netlink.addresses().await?,
            routes: self.netlink.routes().await?,
        })
    }

    /// Forgets what an event says is gone.
    fn note(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::LinkVanished(_) => self.close_device(),
            KernelEvent::LinkDown(_) => self.made.routes.clear(),
            KernelEvent::Vanished(KernelObject::Address(address)) => {
                self.made.addresses.remove(address);
            }
            KernelEvent::Vanished(KernelObject::Route(route)) => {
                self.made.routes.remove(route);
            }
            KernelEvent::Vanished(
                KernelObject::Socket(_)
                | KernelObject::Link(_)
                | KernelObject::Sysctl(_)
                | KernelObject::SubnetFile(_),
            )
            | KernelEvent::OpDone { .. } => {}
        }
    }
}

impl Kernel for LinuxKernel {
    async fn apply(&mut self, op: KernelOp) -> Result<(), KernelError> {
        tracing::debug!(?op, "kernel operation");
        match op {
            KernelOp::Ensure(object) => self.ensure(object).await,
            KernelOp::Remove(object) => self.remove(object).await,
        }
    }

    async fn next_event(&mut self) -> KernelEvent {
        loop {
            if self.doubt == Doubt::Raised {
                self.settle_doubt().await;
            }
            if let Some(event) = self.news.pop_front() {
                return event;
            }
            tokio::select! {
                biased;
                end = ended(&mut self.workers) => {
                    let event = self.worker_ended(end);
                    self.news.extend(event);
                }
                Some((message, _)) = self.notifications.next() => if self.made.suspects(&message) {
                    self.doubt = Doubt::Raised;
                },
                else => std::future::pending().await,
            }
        }
    }
}

async fn ended(workers: &mut Option<WorkerThreads>) -> WorkerEnd {
    match workers {
        Some(workers) => workers.ended().await,
        None => std::future::pending().await,
    }
}

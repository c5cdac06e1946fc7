//! A Linux node: the engine's objects made real, and the tunnel's thread between two of them.

use std::io;
use std::path::PathBuf;

use futures::StreamExt as _;
use selvedge_engine::{
    KernelError, KernelEvent, KernelFacts, KernelObject, KernelOp, Link, LinkKind, OpId, Survey,
};
use tokio::time::Instant;

use super::doubt::Doubt;
use super::error::Attempt;
use super::firewall::task::FirewallTask;
use super::netlink::{Mode, Netlink, Notification, Notifications, Removal};
use super::tunnel_ends::{End, TunnelEnds};
use super::watch::{Content, Place, Watch};
use super::{Kernel, Outcome, addresses, links, neighbours, routes, subnet_file, survey, sysctl, vxlan};
use crate::tunnel::{DataPath, SharedTable, TunnelProbe};

/// The kernel of this machine, in the network namespace of the calling thread.
#[derive(Debug)]
pub struct LinuxKernel {
    netlink: Netlink,
    /// None while there are none to be had.
    notifications: Option<Notifications>,
    watch: Watch,
    doubt: Doubt,
    ends: TunnelEnds,
    firewall: FirewallTask,
    subnet_file: PathBuf,
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
        let netlink = Netlink::open()?;
        Ok(Self {
            notifications: Some(Netlink::subscribe()?),
            watch: Watch::new(netlink.port()),
            netlink,
            doubt: Doubt::default(),
            ends: TunnelEnds::new(table, data_path, probe),
            firewall: FirewallTask::start(),
            subnet_file,
        })
    }

    async fn put(&mut self, object: KernelObject, mode: Mode) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => self.ends.ensure_socket(local),
            KernelObject::Link(link) => self.put_link(link, mode).await,
            KernelObject::Sysctl(setting) => sysctl::put(&setting),
            KernelObject::Address(address) => {
                let index = links::index_of(&address.link)?;
                let place = Place::Address(index, address.net.addr(), address.net.prefix_len());
                self.watch.making(place, Content::Address);
                let outcome = addresses::put(&self.netlink, index, &address, mode).await;
                self.put_ended(place, outcome)
            }
            KernelObject::FdbEntry(entry) => {
                let index = links::index_of(&entry.link)?;
                let (place, content) = Place::of_fdb_entry(index, &entry);
                self.watch.making(place, content);
                let outcome = neighbours::put_fdb_entry(&self.netlink, index, entry, mode).await;
                self.put_ended(place, outcome)
            }
            KernelObject::Neighbour(neighbour) => {
                let index = links::index_of(&neighbour.link)?;
                let (place, content) = Place::of_neighbour(index, &neighbour);
                self.watch.making(place, content);
                let outcome = neighbours::put(&self.netlink, index, neighbour, mode).await;
                self.put_ended(place, outcome)
            }
            KernelObject::Route(route) => {
                let index = links::index_of(route.hop.link())?;
                routes::put(&self.netlink, index, route, mode).await
            }
            // They are the firewall's.
            KernelObject::Ruleset(_) | KernelObject::Member(_) => Ok(()),
            KernelObject::SubnetFile(file) => subnet_file::replace(&self.subnet_file, &file.render())
                .map_err(|error| Attempt::SubnetFile(self.subnet_file.clone()).failed(&error)),
        }
    }

    /// Deletes an object; what hangs on a device is not there if the device is not.
    async fn remove(&mut self, object: KernelObject) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => {
                self.ends.close_socket_at(local);
                Ok(())
            }
            KernelObject::Link(link) => self.remove_link(link).await,
            // The setting goes with its device, the rules are the firewall's.
            KernelObject::Sysctl(_) | KernelObject::Ruleset(_) | KernelObject::Member(_) => Ok(()),
            KernelObject::Address(address) => {
                let Ok(index) = links::index_of(&address.link) else {
                    return Ok(());
                };
                let place = Place::Address(index, address.net.addr(), address.net.prefix_len());
                self.watch.removing(place, &Content::Address);
                let outcome = addresses::remove(&self.netlink, index, &address).await;
                self.remove_ended(&place, outcome)
            }
            KernelObject::FdbEntry(entry) => {
                let Ok(index) = links::index_of(&entry.link) else {
                    return Ok(());
                };
                let (place, content) = Place::of_fdb_entry(index, &entry);
                if !self.watch.removing(place, &content) {
                    return Ok(());
                }
                let outcome = neighbours::remove_fdb_entry(&self.netlink, index, entry).await;
                self.remove_ended(&place, outcome)
            }
            KernelObject::Neighbour(neighbour) => {
                let Ok(index) = links::index_of(&neighbour.link) else {
                    return Ok(());
                };
                let (place, content) = Place::of_neighbour(index, &neighbour);
                if !self.watch.removing(place, &content) {
                    return Ok(());
                }
                let outcome = neighbours::remove(&self.netlink, index, neighbour).await;
                self.remove_ended(&place, outcome)
            }
            KernelObject::Route(route) => {
                let Ok(index) = links::index_of(route.hop.link()) else {
                    return Ok(());
                };
                routes::remove(&self.netlink, index, route).await.map(drop)
            }
            KernelObject::SubnetFile(_) => subnet_file::remove(&self.subnet_file)
                .map_err(|error| Attempt::SubnetFile(self.subnet_file.clone()).failed(&error)),
        }
    }

    async fn put_link(&mut self, link: Link, mode: Mode) -> Result<(), KernelError> {
        match &link.kind {
            LinkKind::Tun => {
                let index = self.ends.ensure_device(&link.name)?;
                self.watch.link_made(index, link.clone(), None);
                links::set(&self.netlink, index, &link).await?;
                self.ends.start_workers()
            }
            LinkKind::Vxlan(wanted) => {
                let (index, before) = vxlan::put(&self.netlink, &link, wanted, mode).await?;
                self.watch.link_made(index, link, before.as_ref());
                Ok(())
            }
        }
    }

    async fn remove_link(&mut self, link: Link) -> Result<(), KernelError> {
        let deleted = match link.kind {
            LinkKind::Tun => self.ends.close_device_named(&link.name),
            LinkKind::Vxlan(_) => vxlan::remove(&self.netlink, &link.name).await?,
        };
        if let Some(index) = deleted {
            self.watch.link_deleted(index);
        }
        Ok(())
    }

    fn put_ended(&mut self, place: Place, outcome: Result<(), KernelError>) -> Result<(), KernelError> {
        if outcome.is_err() {
            self.watch.not_made(&place);
        }
        outcome
    }

    fn remove_ended(
        &mut self,
        place: &Place,
        outcome: Result<Removal, KernelError>,
    ) -> Result<(), KernelError> {
        match outcome {
            Ok(Removal::Removed) => Ok(()),
            Ok(Removal::Absent) => {
                self.watch.not_removed(place);
                Ok(())
            }
            Err(error) => {
                self.watch.not_removed(place);
                Err(error)
            }
        }
    }

    fn notified(&mut self, notification: Option<&Notification>) {
        if notification.is_none() {
            self.notifications = None;
        }
        if notification.is_none_or(|notification| self.watch.suspects(notification)) {
            tracing::trace!(?notification, "the node may have changed");
            self.doubt.raise(Instant::now());
        }
    }

    fn doubted(&mut self) -> KernelEvent {
        let now = Instant::now();
        self.doubt.tell(now);
        if self.notifications.is_none() {
            match Netlink::subscribe() {
                Ok(notifications) => self.notifications = Some(notifications),
                Err(error) => {
                    tracing::warn!("cannot watch the node for changes: {error}");
                    self.doubt.raise_unseen(now);
                }
            }
        }
        KernelEvent::Doubted
    }
}

impl Kernel for LinuxKernel {
    async fn apply(&mut self, id: OpId, op: KernelOp) -> Outcome {
        tracing::debug!(?op, "kernel operation");
        if let KernelObject::Ruleset(_) | KernelObject::Member(_) = op.object() {
            self.firewall.begin(id, op);
            return Outcome::Begun;
        }
        Outcome::Ended(match op {
            KernelOp::Ensure(object) => self.put(object, Mode::Ensure).await,
            KernelOp::Replace(object) => self.put(object, Mode::Replace).await,
            KernelOp::Remove(object) => self.remove(object).await,
        })
    }

    async fn survey(&mut self, survey: &Survey) -> Result<Box<KernelFacts>, KernelError> {
        let facts = survey::look(&self.netlink, survey).await;
        let mut facts = facts.map_err(|error| Attempt::Survey.failed(&error))?;
        facts.firewall = self.firewall.found().await;
        self.watch.surveyed(survey, &facts);
        Ok(Box::new(facts))
    }

    async fn next_event(&mut self) -> KernelEvent {
        loop {
            tokio::select! {
                biased;
                end = self.ends.ended() => if let Some(end) = end {
                    return gone(end);
                },
                () = self.doubt.due() => return self.doubted(),
                event = self.firewall.next_event() => return event,
                notification = next(&mut self.notifications) => self.notified(notification.as_ref()),
            }
        }
    }
}

/// Takes an end of the tunnel as what it means for the objects.
fn gone(end: End) -> KernelEvent {
    match end {
        End::Device(name) => KernelEvent::LinkVanished(name),
        End::Socket(local) => KernelEvent::Vanished(KernelObject::Socket(local)),
    }
}

async fn next(notifications: &mut Option<Notifications>) -> Option<Notification> {
    match notifications {
        Some(notifications) => notifications.next().await.map(|(notification, _)| notification),
        None => std::future::pending().await,
    }
}

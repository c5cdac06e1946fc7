//! What a node's Linux does for the overlay: devices, addresses, routes, forwarding, and the bridge of its pods.

mod forwarding;
mod route_table;
mod tun;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use selvedge_engine::{
    Address, KernelError, KernelErrorKind, KernelObject, KernelOp, Link, LinkName, Route, SubnetFile, Sysctl,
};

pub use forwarding::{LinuxDrop, Verdict};
use route_table::{RouteTable, Target};
use tun::Tun;

/// The kernel and the file system of one node, as far as the overlay touches them.
#[derive(Clone, Debug)]
pub struct Linux {
    address: Ipv4Addr,
    sockets: BTreeSet<SocketAddrV4>,
    tuns: BTreeMap<LinkName, Tun>,
    routes: RouteTable,
    subnet_file: Option<String>,
    bridge: Option<Ipv4Net>,
}

impl Linux {
    /// Makes a node with one underlay address and nothing else.
    pub fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            sockets: BTreeSet::new(),
            tuns: BTreeMap::new(),
            routes: RouteTable::default(),
            subnet_file: None,
            bridge: None,
        }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    ///
    /// What Linux would say: a device that an address, a route or a setting hangs on does not exist, or the socket's
    /// address is not the node's.
    pub fn apply(&mut self, op: &KernelOp) -> Result<(), KernelError> {
        match op {
            KernelOp::Ensure(object) => self.ensure(object),
            KernelOp::Remove(object) => {
                self.remove(object);
                Ok(())
            }
        }
    }

    /// Takes away what lives only as long as the daemon: its sockets and its tunnel devices.
    pub fn end_daemon(&mut self) {
        self.sockets.clear();
        let names: Vec<LinkName> = self.tuns.keys().cloned().collect();
        for name in names {
            self.delete_link(&name);
        }
    }

    /// Deletes a device with its addresses, settings and routes; tells whether it was there.
    pub fn delete_link(&mut self, name: &LinkName) -> bool {
        let was_there = self.tuns.remove(name).is_some();
        self.routes.remove_link(name);
        was_there
    }

    /// Returns the name of the first tunnel device.
    pub fn tunnel(&self) -> Option<&LinkName> {
        self.tuns.keys().next()
    }

    /// Tells whether datagrams to this socket reach the daemon.
    pub fn listens_on(&self, local: SocketAddrV4) -> bool {
        self.sockets.contains(&local)
    }

    /// Returns the text of the subnet file.
    pub fn subnet_file(&self) -> Option<&str> {
        self.subnet_file.as_deref()
    }

    /// Deletes the subnet file, as a reboot does.
    pub fn delete_subnet_file(&mut self) {
        self.subnet_file = None;
    }

    /// Returns the address of the node's first pod: the bridge's second.
    pub fn pod(&self) -> Option<Ipv4Addr> {
        pod_of(self.bridge?)
    }

    fn ensure(&mut self, object: &KernelObject) -> Result<(), KernelError> {
        match object {
            KernelObject::Socket(local) => self.bind(*local),
            KernelObject::Link(Link { name, kind: _, mtu }) => {
                self.tuns.entry(name.clone()).or_default().mtu = *mtu;
                Ok(())
            }
            KernelObject::Sysctl(Sysctl { link, key, value }) => {
                self.tun(link)?.settings.insert(key, value);
                Ok(())
            }
            KernelObject::Address(Address { link, net }) => {
                self.tun(link)?.addresses.insert(*net);
                Ok(())
            }
            KernelObject::Route(Route { destination, link }) => {
                self.tun(link)?;
                self.routes.insert(*destination, link.clone());
                Ok(())
            }
            KernelObject::SubnetFile(file) => {
                self.write_subnet_file(file);
                Ok(())
            }
        }
    }

    fn remove(&mut self, object: &KernelObject) {
        match object {
            KernelObject::Socket(local) => {
                self.sockets.remove(local);
            }
            KernelObject::Link(Link { name, .. }) => {
                self.delete_link(name);
            }
            KernelObject::Sysctl(Sysctl { link, key, .. }) => {
                if let Some(tun) = self.tuns.get_mut(link) {
                    tun.settings.remove(key);
                }
            }
            KernelObject::Address(Address { link, net }) => {
                if let Some(tun) = self.tuns.get_mut(link) {
                    tun.addresses.remove(net);
                }
            }
            KernelObject::Route(Route { destination, link }) => self.routes.remove(*destination, link),
            KernelObject::SubnetFile(_) => self.subnet_file = None,
        }
    }

    fn bind(&mut self, local: SocketAddrV4) -> Result<(), KernelError> {
        if *local.ip() != self.address && !local.ip().is_unspecified() {
            return Err(KernelError {
                kind: KernelErrorKind::NotFound,
                message: format!("cannot bind {local}: no device has this address"),
            });
        }
        self.sockets.insert(local);
        Ok(())
    }

    fn tun(&mut self, name: &LinkName) -> Result<&mut Tun, KernelError> {
        self.tuns.get_mut(name).ok_or_else(|| KernelError {
            kind: KernelErrorKind::NotFound,
            message: format!("no device {name}"),
        })
    }

    /// Writes the file; the network plugin reads it and moves the pods' bridge to the subnet.
    fn write_subnet_file(&mut self, file: &SubnetFile) {
        self.subnet_file = Some(file.render());
        if let Some((_, subnet)) = file.v4 {
            self.bridge = Some(subnet.trunc());
        }
    }
}

/// Returns the address that the network plugin gives the first pod of a subnet.
fn pod_of(subnet: Ipv4Net) -> Option<Ipv4Addr> {
    subnet.hosts().nth(1)
}

#[cfg(test)]
mod tests;

//! What a node's Linux does for the overlay: devices, addresses, routes, forwarding, and the bridge of its pods.

mod device;
mod foreign;
mod forwarding;
mod operation;
mod route_table;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use selvedge_engine::{LinkName, Route};

use device::{Device, DeviceState};
pub use foreign::Foreign;
pub use forwarding::{Ingress, Passage};
use route_table::RouteTable;
pub use verdict::{LinuxDrop, Verdict};

/// The kernel and the file system of one node, as far as the overlay touches them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Linux {
    address: Ipv4Addr,
    sockets: BTreeSet<SocketAddrV4>,
    devices: BTreeMap<LinkName, Device>,
    routes: RouteTable,
    foreign: BTreeSet<Foreign>,
    /// What other programs took for themselves: what is not in `foreign` any more, someone else took away.
    placed: BTreeSet<Foreign>,
    subnet_file: Option<String>,
    bridge: Option<Ipv4Net>,
}

impl Linux {
    /// Makes a node with one underlay address and nothing else.
    pub fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            sockets: BTreeSet::new(),
            devices: BTreeMap::new(),
            routes: RouteTable::default(),
            foreign: BTreeSet::new(),
            placed: BTreeSet::new(),
            subnet_file: None,
            bridge: None,
        }
    }

    /// Takes away what lives only as long as the daemon: its sockets and its tunnel devices.
    pub fn end_daemon(&mut self) {
        self.sockets.clear();
        let names: Vec<LinkName> = self.devices.keys().cloned().collect();
        for name in names {
            self.delete_link(&name);
        }
    }

    /// Deletes a device with its addresses, settings and routes; tells whether it was there.
    pub fn delete_link(&mut self, name: &LinkName) -> bool {
        let was_there = self.devices.remove(name).is_some();
        self.routes.remove_link(name);
        was_there
    }

    /// Sets a device down, which takes its routes but not its addresses; tells whether it was up.
    pub fn set_link_down(&mut self, name: &LinkName) -> bool {
        let Some(device) = self.devices.get_mut(name) else {
            return false;
        };
        let was_up = device.state == DeviceState::Up;
        device.state = DeviceState::Down;
        self.routes.remove_link(name);
        was_up
    }

    /// Deletes the daemon's routes and returns them.
    pub fn delete_routes(&mut self) -> Vec<Route> {
        self.routes.take_all()
    }

    /// Gives something to another program; what the daemon holds already, it keeps.
    pub fn occupy(&mut self, foreign: Foreign) {
        self.placed.insert(foreign.clone());
        self.foreign.insert(foreign);
    }

    /// Takes something away from another program again.
    pub fn vacate(&mut self, foreign: &Foreign) {
        self.placed.remove(foreign);
        self.foreign.remove(foreign);
    }

    /// Returns what other programs had and what is gone without their doing.
    pub fn taken_away(&self) -> impl Iterator<Item = &Foreign> {
        self.placed.difference(&self.foreign)
    }

    /// Tells whether packets between pods and the tunnel get through: there is a device that is up, with a route to it,
    /// and a socket.
    pub fn carries(&self) -> bool {
        let is_up = |device: &Device| device.state == DeviceState::Up;
        self.devices.values().any(is_up) && !self.routes.is_empty() && !self.sockets.is_empty()
    }

    /// Returns the name of the first tunnel device.
    pub fn tunnel(&self) -> Option<&LinkName> {
        self.devices.keys().next()
    }

    /// Tells whether datagrams to this socket reach the daemon.
    pub fn listens_on(&self, local: SocketAddrV4) -> bool {
        let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, local.port());
        *local.ip() == self.address && (self.sockets.contains(&local) || self.sockets.contains(&everywhere))
    }

    /// Returns the text of the subnet file.
    pub fn subnet_file(&self) -> Option<&str> {
        self.subnet_file.as_deref()
    }

    /// Deletes the subnet file.
    pub fn delete_subnet_file(&mut self) {
        self.subnet_file = None;
    }

    /// Returns the address of the node's first pod: the bridge's second.
    pub fn pod(&self) -> Option<Ipv4Addr> {
        pod_of(self.bridge?)
    }
}

/// Returns the address that the network plugin gives the bridge of a subnet.
fn gateway_of(subnet: Ipv4Net) -> Option<Ipv4Addr> {
    subnet.hosts().next()
}

/// Returns the address that the network plugin gives the first pod of a subnet.
fn pod_of(subnet: Ipv4Net) -> Option<Ipv4Addr> {
    subnet.hosts().nth(1)
}

#[cfg(test)]
mod tests;

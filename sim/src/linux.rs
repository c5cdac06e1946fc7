//! What a node's Linux does for the overlay: devices, addresses, neighbours, routes, forwarding, and the bridge of
//! its pods.
//!
//! Packets are IPv4; of IPv6 there are the objects, so that operations and surveys are whole. Tables other than the main ones,
//! `rp_filter` and what a device learns by itself are left out.

mod attachment;
mod device;
mod firewall;
mod foreign;
mod forwarding;
mod lifecycle;
mod operation;
mod possessions;
mod route_table;
mod survey;
mod tampering;
mod verdict;
mod vxlan;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{
    FoundHop, FoundRoute, KernelObject, KernelOp, Link, LinkKind, LinkName, MacAddress, ROUTE_PROTOCOL,
};

pub use attachment::Attachment;
use attachment::UNDERLAY;
use device::{Device, Kind};
use firewall::Firewall;
pub use foreign::{Foreign, ForeignRoute};
pub use forwarding::{Ingress, Passage};
use operation::found_hop;
use route_table::{RouteTable, link_of};
use survey::LOOPBACK;
pub use tampering::Lost;
pub use verdict::{LinuxDrop, Verdict};

/// The kernel and the file system of one node, as far as the overlay touches them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Linux {
    attachment: Attachment,
    devices: BTreeMap<u32, Device>,
    next_index: u32,
    routes: RouteTable,
    firewall: Firewall,
    /// The IPv4 addresses of all devices.
    own_addresses: Vec<Ipv4Addr>,
    broadcasts: Vec<Ipv4Addr>,
    sockets: BTreeSet<SocketAddrV4>,
    /// The UDP ports of other programs.
    ports: BTreeSet<u16>,
    /// What other programs took for themselves: what is not there any more, someone else took away.
    placed: BTreeSet<Foreign>,
    subnet_file: Option<String>,
    bridge: Option<Ipv4Net>,
    /// The MTU of the pods' devices.
    pods_mtu: u32,
}

impl Linux {
    /// Makes a node that is attached to the underlay and has nothing else.
    pub fn new(attachment: impl Into<Attachment>) -> Self {
        let mut linux = Self {
            attachment: attachment.into(),
            devices: BTreeMap::new(),
            next_index: LOOPBACK,
            routes: RouteTable::default(),
            firewall: Firewall::default(),
            own_addresses: Vec::new(),
            broadcasts: Vec::new(),
            sockets: BTreeSet::new(),
            ports: BTreeSet::new(),
            placed: BTreeSet::new(),
            subnet_file: None,
            bridge: None,
            pods_mtu: 0,
        };
        let lo = Device::new(LinkName("lo".to_owned()), Kind::Other, LARGEST_MTU, None);
        let lo = linux.add_device(lo);
        linux.set_up(lo);
        linux.add_address(lo, IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 32)));
        let card = linux.card();
        linux.add_device(card);
        linux.attach();
        linux
    }

    /// Takes away what lives only as long as the daemon: its sockets and its TUN devices.
    pub fn end_daemon(&mut self) {
        self.sockets.clear();
        self.close_tuns();
    }

    /// Closes the TUN device that the daemon holds, whatever its name is, and with that deletes it.
    fn close_tuns(&mut self) {
        let mut devices = self.devices.iter();
        while let Some(index) = devices
            .by_ref()
            .find_map(|(index, device)| self.is_held(device).then_some(*index))
        {
            self.remove_device(index);
            devices = self.devices.iter();
        }
    }

    /// Gives something to another program; what the daemon holds already, it keeps.
    pub fn occupy(&mut self, foreign: Foreign) {
        match &foreign {
            Foreign::Port(port) => {
                self.ports.insert(*port);
            }
            Foreign::Link(name) if self.index_of(name).is_none() => {
                let index = self.add_device(Device::new(name.clone(), Kind::Other, 1500, None));
                self.set_up(index);
            }
            Foreign::Tunnel(link) if self.index_of(&link.name).is_none() => {
                // Another program meets the same kernel; what it is refused, it does not get.
                let made = KernelOp::Ensure(KernelObject::Link(link.clone()));
                if self.apply(&made).is_err() {
                    return;
                }
            }
            Foreign::Route(route) => {
                if let Some(found) = self.foreign_route(route) {
                    self.routes.insert_if_free(&found);
                }
            }
            Foreign::Link(_) | Foreign::Tunnel(_) => return,
        }
        if self.holds(&foreign) {
            self.placed.insert(foreign);
        }
    }

    /// Takes something away from another program again.
    pub fn vacate(&mut self, foreign: &Foreign) {
        if !self.placed.remove(foreign) || !self.holds(foreign) {
            return;
        }
        match foreign {
            Foreign::Port(port) => {
                self.ports.remove(port);
            }
            Foreign::Link(name) | Foreign::Tunnel(Link { name, .. }) => {
                if let Some(index) = self.index_of(name) {
                    self.remove_device(index);
                }
            }
            Foreign::Route(route) => {
                let found = self.foreign_route(route);
                self.drop_routes(|there| Some(*there) == found);
            }
        }
    }

    /// Returns what other programs had and what is gone without their doing.
    pub fn taken_away(&self) -> impl Iterator<Item = &Foreign> {
        self.placed.iter().filter(|foreign| !self.holds(foreign))
    }

    /// Tells whether packets between pods and other nodes get through: there is a VXLAN device that is up, or a TUN device
    /// that is up, with a route to it, and a socket, or a route of the daemon's out of the card.
    pub fn carries(&self) -> bool {
        let mut direct = self
            .routes
            .iter()
            .filter(|route| route.protocol == ROUTE_PROTOCOL);
        let mut tunnels = self.tunnels().filter(|(_, device)| device.is_up());
        direct.any(|route| link_of(route.hop) == Some(UNDERLAY))
            || tunnels.any(|(index, device)| match device.kind {
                Kind::Tun => {
                    !self.sockets.is_empty()
                        && self.routes.iter().any(|route| link_of(route.hop) == Some(index))
                }
                Kind::Vxlan(_) => true,
                Kind::Ethernet | Kind::Bridge | Kind::Other => false,
            })
    }

    /// Returns the name of the daemon's first tunnel device.
    pub fn tunnel(&self) -> Option<&LinkName> {
        let (_, device) = self.tunnels().next()?;
        Some(&device.name)
    }

    /// Returns the hardware address of the daemon's VXLAN device over IPv4.
    pub fn vtep(&self) -> Option<MacAddress> {
        let is_over_v4 = |device: &Device| {
            let local = device.vxlan().and_then(|vxlan| vxlan.local);
            local.is_some_and(|local| local.is_ipv4())
        };
        let (_, device) = self.tunnels().find(|(_, device)| is_over_v4(device))?;
        device.mac
    }

    /// Tells whether a VXLAN device bears nobody's mark.
    pub fn has_unmarked_vxlan(&self, name: &LinkName) -> bool {
        let device = self.index_of(name).and_then(|index| self.devices.get(&index));
        device.is_some_and(|device| device.vxlan().is_some() && device.alias.is_empty())
    }

    /// Tells whether datagrams to this socket reach the daemon.
    pub fn listens_on(&self, local: SocketAddrV4) -> bool {
        let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, local.port());
        *local.ip() == self.underlay_address()
            && (self.sockets.contains(&local) || self.sockets.contains(&everywhere))
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

    /// Returns the MTU of the pods' devices in bytes.
    pub fn pods_mtu(&self) -> usize {
        usize::try_from(self.pods_mtu).unwrap_or(usize::MAX)
    }

    /// Returns the tunnel devices that no other program made.
    fn tunnels(&self) -> impl Iterator<Item = (u32, &Device)> {
        let tunnels = self
            .devices
            .iter()
            .filter(|(_, device)| matches!(device.kind, Kind::Tun | Kind::Vxlan(_)));
        tunnels
            .filter(|(_, device)| !self.placed.iter().any(|foreign| foreign.is_link(&device.name)))
            .map(|(index, device)| (*index, device))
    }

    /// Tells whether a device lives as long as the daemon holds it.
    fn is_held(&self, device: &Device) -> bool {
        device.kind == Kind::Tun && !self.placed.iter().any(|foreign| foreign.is_link(&device.name))
    }

    fn holds(&self, foreign: &Foreign) -> bool {
        match foreign {
            Foreign::Port(port) => self.ports.contains(port),
            Foreign::Link(name) => self.kind_of(name) == Some(&Kind::Other),
            Foreign::Tunnel(link) => match (self.kind_of(&link.name), &link.kind) {
                (Some(Kind::Tun), LinkKind::Tun) => true,
                (Some(Kind::Vxlan(found)), LinkKind::Vxlan(vxlan)) => found.vni == u32::from(vxlan.vni),
                (Some(_) | None, LinkKind::Tun | LinkKind::Vxlan(_)) => false,
            },
            Foreign::Route(route) => {
                let found = self.foreign_route(route);
                found.is_some() && self.routes.get(route.destination, route.priority) == found
            }
        }
    }

    fn kind_of(&self, name: &LinkName) -> Option<&Kind> {
        let device = self.devices.get(&self.index_of(name)?)?;
        Some(&device.kind)
    }

    fn foreign_route(&self, route: &ForeignRoute) -> Option<FoundRoute> {
        let hop = match &route.hop {
            Some(hop) => found_hop(hop, self.index_of(hop.link())?),
            None => FoundHop::Other,
        };
        Some(FoundRoute {
            destination: route.destination.trunc(),
            hop,
            protocol: route.protocol,
            priority: route.priority,
        })
    }

    /// Takes note that what other programs have lost was not the daemon's doing.
    fn forgive_losses(&mut self) {
        let mut placed = std::mem::take(&mut self.placed);
        placed.retain(|foreign| self.holds(foreign));
        self.placed = placed;
    }

    /// Tells whether an address is one of the node's own.
    fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own_addresses.contains(&address)
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

fn bridge_name() -> LinkName {
    LinkName("cni0".to_owned())
}

const LARGEST_MTU: u32 = 65_536;

#[cfg(test)]
mod tests;

//! What the kernel says that it has.

use std::net::IpAddr;

use selvedge_engine::{
    AddressFlags, FdbEntry, FoundAddress, FoundKind, FoundLink, IpVersion, KernelFacts, Neighbour,
    RouteLookup, Survey,
};

use super::Linux;
use super::device::{Device, Kind};
use super::route_table::link_of;

impl Linux {
    /// Looks at all devices, addresses and routes, and at what else is asked for.
    pub fn survey(&self, survey: &Survey) -> KernelFacts {
        let tunnels = || {
            let devices = self.devices.values();
            devices.filter(|device| survey.tunnels.contains(&device.name))
        };
        let neighbours = tunnels().flat_map(|device| {
            device.neighbours.iter().map(|(address, mac)| Neighbour {
                link: device.name.clone(),
                address: *address,
                mac: *mac,
            })
        });
        let fdb = tunnels().flat_map(|device| {
            device.fdb.iter().map(|(mac, node)| FdbEntry {
                link: device.name.clone(),
                mac: *mac,
                node: *node,
            })
        });
        KernelFacts {
            links: self
                .devices
                .iter()
                .map(|(index, device)| found_link(*index, device))
                .collect(),
            addresses: self
                .devices
                .iter()
                .flat_map(|(index, device)| found_addresses(*index, device))
                .collect(),
            neighbours: neighbours.collect(),
            fdb: fdb.collect(),
            routes: self.routes.iter().collect(),
            firewall: self.firewall.found(),
            lookup: survey
                .destination
                .and_then(|destination| self.way_to(destination)),
        }
    }

    /// Returns the device that packets of the node itself to a destination leave by, and the source that they get.
    fn way_to(&self, destination: IpAddr) -> Option<RouteLookup> {
        let is_own = |device: &Device| device.addresses.iter().any(|net| net.addr() == destination);
        if self.devices.values().any(is_own) {
            return Some(RouteLookup {
                interface: LOOPBACK,
                source: destination,
            });
        }
        let interface = link_of(self.routes.lookup(destination)?)?;
        let version = IpVersion::of(destination);
        let of_device = self
            .devices
            .get(&interface)
            .and_then(|device| device.first_address(version));
        let of_node = || {
            let mut others = self.devices.iter().filter(|(index, _)| **index != LOOPBACK);
            others.find_map(|(_, device)| device.first_address(version))
        };
        let source = of_device.or_else(of_node)?;
        Some(RouteLookup { interface, source })
    }
}

fn found_link(index: u32, device: &Device) -> FoundLink {
    FoundLink {
        name: device.name.clone(),
        index,
        kind: match &device.kind {
            Kind::Tun => FoundKind::Tun,
            Kind::Vxlan(vxlan) => FoundKind::Vxlan(vxlan.clone()),
            Kind::Ethernet | Kind::Bridge | Kind::Other => FoundKind::Other,
        },
        mtu: device.mtu,
        mac: device.mac,
        state: device.state,
        alias: device.alias.clone(),
    }
}

fn found_addresses(index: u32, device: &Device) -> impl Iterator<Item = FoundAddress> {
    device.addresses.iter().map(move |net| FoundAddress {
        link: index,
        address: net.addr(),
        prefix_len: net.prefix_len(),
        flags: AddressFlags::PERMANENT,
    })
}

/// The index of `lo`.
pub(super) const LOOPBACK: u32 = 1;

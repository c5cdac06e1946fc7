//! What happens to all that hangs on a device when it comes, goes, is set up or down, or gets other addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use selvedge_engine::{FoundHop, FoundRoute, FoundVxlan, IpVersion, LinkName, LinkState, MacAddress};

use super::Linux;
use super::device::{Device, Kind};
use super::route_table::link_of;

impl Linux {
    pub(super) fn index_of(&self, name: &LinkName) -> Option<u32> {
        let mut devices = self.devices.iter();
        devices
            .find(|(_, device)| device.name == *name)
            .map(|(index, _)| *index)
    }

    /// Gives a new device the next index; an index is never used again.
    pub(super) fn add_device(&mut self, device: Device) -> u32 {
        let index = self.next_index;
        self.next_index += 1;
        self.devices.insert(index, device);
        index
    }

    /// Deletes a device with all that hangs on it, the VXLAN devices above it among that.
    pub(super) fn remove_device(&mut self, index: u32) {
        if self.devices.remove(&index).is_none() {
            return;
        }
        self.drop_routes(|route| link_of(route.hop) == Some(index));
        let is_above = |device: &Device| matches!(device.vxlan(), Some(FoundVxlan { underlay: Some(below), .. }) if *below == index);
        let devices = self.devices.iter();
        let above: Vec<u32> = devices
            .filter(|(_, device)| is_above(device))
            .map(|(index, _)| *index)
            .collect();
        for index in above {
            self.remove_device(index);
        }
        self.note_addresses();
    }

    /// Sets a device up: its addresses get their routes, and it gets an address of its own for its link.
    pub(super) fn set_up(&mut self, index: u32) {
        let Some(device) = self.devices.get_mut(&index) else {
            return;
        };
        if device.is_up() {
            return;
        }
        device.state = LinkState::Up;
        let has_link_local = matches!(device.kind, Kind::Ethernet | Kind::Vxlan(_) | Kind::Bridge);
        let link_local = device
            .mac
            .filter(|_| has_link_local)
            .map(|mac| IpNet::V6(Ipv6Net::new_assert(link_local(mac), 64)));
        device
            .addresses
            .extend(link_local.filter(|net| !device.addresses.contains(net)));
        for net in device.addresses.clone() {
            self.connect(index, net);
        }
        self.note_addresses();
    }

    /// Sets a device down, which takes its routes, its neighbours and its IPv6 addresses; forwarding entries stay.
    pub(super) fn set_down(&mut self, index: u32) {
        let Some(device) = self.devices.get_mut(&index).filter(|device| device.is_up()) else {
            return;
        };
        device.state = LinkState::Down;
        device.neighbours.clear();
        device.addresses.retain(|net| matches!(net, IpNet::V4(_)));
        self.drop_routes(|route| link_of(route.hop) == Some(index));
        self.note_addresses();
    }

    /// Gives a device another hardware address, which takes its neighbours.
    pub(super) fn set_mac(&mut self, index: u32, mac: MacAddress) {
        let Some(device) = self.devices.get_mut(&index) else {
            return;
        };
        if device.mac != Some(mac) {
            device.mac = Some(mac);
            device.neighbours.clear();
        }
    }

    pub(super) fn add_address(&mut self, index: u32, net: IpNet) {
        let Some(device) = self.devices.get_mut(&index) else {
            return;
        };
        if device.addresses.contains(&net) {
            return;
        }
        device.addresses.push(net);
        if device.is_up() {
            self.connect(index, net);
        }
        self.note_addresses();
    }

    /// Takes an address from a device; the last IPv4 address takes all IPv4 routes and neighbours of the device along
    /// (`fib_disable_ip`).
    pub(super) fn remove_address(&mut self, index: u32, net: IpNet) {
        let Some(device) = self.devices.get_mut(&index) else {
            return;
        };
        let Some(place) = device.addresses.iter().position(|own| *own == net) else {
            return;
        };
        device.addresses.remove(place);
        let is_v4 = |address: IpAddr| IpVersion::of(address) == IpVersion::V4;
        if is_v4(net.addr()) && device.first_address(IpVersion::V4).is_none() {
            device.neighbours.retain(|address, _| !is_v4(*address));
            self.drop_routes(|route| link_of(route.hop) == Some(index) && is_v4(route.destination.addr()));
        }
        let connected = connected_route(index, net);
        self.drop_routes(|route| Some(*route) == connected);
        self.note_addresses();
    }

    /// Takes routes away; what an address brings along comes into the places that they leave.
    pub(super) fn drop_routes(&mut self, is_gone: impl Fn(&FoundRoute) -> bool) {
        let mut left = BTreeSet::new();
        self.routes.retain(|route| {
            let is_gone = is_gone(route);
            if is_gone {
                left.insert(route.destination);
            }
            !is_gone
        });
        for destination in left {
            self.restore_connected(destination);
        }
    }

    /// Puts the route back that an address brings along, if one does and its place is free.
    fn restore_connected(&mut self, destination: IpNet) {
        let devices = self.devices.iter().filter(|(_, device)| device.is_up());
        let connected = devices.flat_map(|(index, device)| {
            let addresses = device.addresses.iter();
            addresses.filter_map(|net| connected_route(*index, *net))
        });
        let back: Vec<FoundRoute> = connected
            .filter(|route| route.destination == destination)
            .collect();
        for route in &back {
            self.routes.insert_if_free(route);
        }
    }

    fn connect(&mut self, index: u32, net: IpNet) {
        if let Some(route) = connected_route(index, net) {
            self.routes.insert_if_free(&route);
        }
    }

    /// Writes down which IPv4 addresses are the node's own (the kernel's table `local`).
    fn note_addresses(&mut self) {
        let nets = self.devices.values().flat_map(|device| &device.addresses);
        let v4: Vec<_> = nets
            .filter_map(|net| match net {
                IpNet::V4(net) => Some(*net),
                IpNet::V6(_) => None,
            })
            .collect();
        self.own_addresses = v4.iter().map(ipnet::Ipv4Net::addr).collect();
        let with_broadcast = v4.iter().filter(|net| net.prefix_len() < 31);
        self.broadcasts = with_broadcast.map(ipnet::Ipv4Net::broadcast).collect();
    }
}

/// Returns the route that an address brings along; an IPv4 address without a prefix has none in the main table. Those of
/// links' own IPv6 addresses are left out: each device has one to the same destination.
fn connected_route(index: u32, net: IpNet) -> Option<FoundRoute> {
    let priority = match net {
        IpNet::V6(net) if net.addr().is_unicast_link_local() => return None,
        IpNet::V4(net) if net.prefix_len() == 32 => return None,
        IpNet::V4(_) => 0,
        IpNet::V6(_) => CONNECTED_V6,
    };
    Some(FoundRoute {
        destination: net.trunc(),
        hop: FoundHop::Link(index),
        protocol: KERNEL,
        priority,
    })
}

/// Makes the address of a link from a hardware address (RFC 4291, appendix A).
fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [first, maker @ .., x, y, z] = mac.0;
    let [second, third] = maker;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..].copy_from_slice(&[first ^ 0x02, second, third, 0xff, 0xfe, x, y, z]);
    Ipv6Addr::from(bytes)
}

/// `RTPROT_KERNEL`: what follows from an address.
const KERNEL: u8 = 2;
/// The priority of such routes in IPv6 (`IP6_RT_PRIO_ADDRCONF`).
const CONNECTED_V6: u32 = 256;

//! What a VXLAN device puts around a packet and takes off again (RFC 7348, 5).

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use selvedge_engine::{FoundVxlan, MacAddress};

use super::device::{Device, Kind};
use super::forwarding::Passage;
use super::route_table::link_of;
use super::{Linux, LinuxDrop, Verdict};
use crate::packet;

/// The way of a frame out of a VXLAN device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tunnelled {
    vni: u32,
    port: u16,
    /// The hardware addresses of the device and of the next hop.
    from: MacAddress,
    to: MacAddress,
    /// The addresses of the nodes.
    local: Ipv4Addr,
    node: Ipv4Addr,
}

impl Linux {
    /// Tells whether the kernel takes datagrams to this port for a VXLAN device.
    pub fn takes_vxlan_on(&self, port: u16) -> bool {
        let mut devices = self.devices.values().filter(|device| device.is_up());
        devices.any(|device| {
            device
                .vxlan()
                .is_some_and(|vxlan| vxlan.port == port && is_v4(vxlan))
        })
    }

    /// Takes the payload of a datagram to the port of a VXLAN device, and returns what becomes of the packet in it.
    pub fn handle_vxlan(&self, port: u16, mut payload: Vec<u8>) -> Vec<Passage> {
        match self.decapsulate(port, &payload) {
            Ok(index) => self.handle_received(index, payload.split_off(HEADERS)),
            Err(drop) => vec![Passage {
                verdict: Verdict::Dropped(drop),
                packet: payload,
            }],
        }
    }

    /// Returns the port and the payload of a VXLAN datagram that brings the daemon's device a packet, whoever sends it.
    pub fn vxlan_payload_for(&self, packet: &[u8]) -> Option<(u16, Vec<u8>)> {
        let (_, device) = self
            .tunnels()
            .find(|(_, device)| device.vxlan().is_some_and(is_v4))?;
        let vxlan = device.vxlan()?;
        let tunnelled = Tunnelled {
            vni: vxlan.vni,
            port: vxlan.port,
            from: MacAddress::local([0; 6]),
            to: device.mac?,
            local: Ipv4Addr::UNSPECIFIED,
            node: self.underlay_address(),
        };
        Some((vxlan.port, tunnelled.encapsulate(packet)))
    }

    /// Finds the way of a packet to a next hop out of a VXLAN device: its hardware address, the node that has it, and the
    /// way to that node.
    pub(super) fn find_node(
        &self,
        device: &Device,
        vxlan: &FoundVxlan,
        next_hop: Ipv4Addr,
    ) -> Result<Tunnelled, LinuxDrop> {
        let to = device.neighbours.get(&IpAddr::V4(next_hop));
        let to = *to.ok_or(LinuxDrop::NoNeighbour)?;
        let node = *device.fdb.get(&to).ok_or(LinuxDrop::NoFdbEntry)?;
        let (IpAddr::V4(node), Some(IpAddr::V4(local)), Some(from)) = (node, vxlan.local, device.mac) else {
            return Err(LinuxDrop::NoUnderlay);
        };
        if !self.is_own(local) || self.is_own(node) || !self.reaches(node) {
            return Err(LinuxDrop::NoUnderlay);
        }
        Ok(Tunnelled {
            vni: vxlan.vni,
            port: vxlan.port,
            from,
            to,
            local,
            node,
        })
    }

    /// Tells whether a packet of the node itself to another host leaves by its card.
    pub fn reaches(&self, host: Ipv4Addr) -> bool {
        let link = self.routes.lookup(host.into()).and_then(link_of);
        let device = link.and_then(|link| self.devices.get(&link));
        device.is_some_and(|device| device.kind == Kind::Ethernet)
    }

    /// Returns the device that a frame is for.
    fn decapsulate(&self, port: u16, payload: &[u8]) -> Result<u32, LinuxDrop> {
        let Some([flags, _, _, _, vni @ .., _]) = payload.first_chunk::<HEADER>() else {
            return Err(LinuxDrop::Malformed);
        };
        if flags & HAS_VNI == 0 {
            return Err(LinuxDrop::Malformed);
        }
        let [a, b, c] = *vni;
        let vni = u32::from_be_bytes([0, a, b, c]);
        let is_for = |vxlan: &FoundVxlan| vxlan.vni == vni && vxlan.port == port && is_v4(vxlan);
        let mut devices = self.devices.iter().filter(|(_, device)| device.is_up());
        let (index, device) = devices
            .find(|(_, device)| device.vxlan().is_some_and(is_for))
            .ok_or(LinuxDrop::NoDevice)?;
        let destination = payload.get(HEADER..HEADER + 6).ok_or(LinuxDrop::Malformed)?;
        if device.mac.is_none_or(|mac| mac.0 != *destination) {
            return Err(LinuxDrop::OtherHost);
        }
        match payload.get(HEADERS - 2..HEADERS) {
            Some(ether_type) if ether_type == IPV4 => Ok(*index),
            Some(_) | None => Err(LinuxDrop::Malformed),
        }
    }
}

impl Tunnelled {
    /// Returns the datagram's ends; flows differ in the source port (RFC 7348, 5).
    pub(super) fn ends(self, packet: &[u8]) -> Verdict {
        let flow = packet.get(12..20).map_or(0, packet::checksum);
        let from = SocketAddrV4::new(self.local, FIRST_PORT + flow % PORTS);
        let to = SocketAddrV4::new(self.node, self.port);
        Verdict::Datagram { from, to }
    }

    /// Puts the headers in front of a packet.
    pub(super) fn encapsulate(self, packet: &[u8]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(HEADERS + packet.len());
        let [_, a, b, c] = self.vni.to_be_bytes();
        payload.extend([HAS_VNI, 0, 0, 0, a, b, c, 0]);
        payload.extend(self.to.0);
        payload.extend(self.from.0);
        payload.extend(IPV4);
        payload.extend(packet);
        payload
    }
}

/// The VXLAN header, and all that is in front of a packet.
const HEADER: usize = 8;
const HEADERS: usize = HEADER + 14;
/// The flag that there is an identifier.
const HAS_VNI: u8 = 0x08;
/// The Ethernet type of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// The ports that the kernel takes for its own datagrams (`ip_local_port_range`).
const FIRST_PORT: u16 = 32_768;
const PORTS: u16 = 28_232;

fn is_v4(vxlan: &FoundVxlan) -> bool {
    vxlan.local.is_some_and(|local| local.is_ipv4())
}

//! The way of a packet through the kernel: `ip_rcv`, the routing decision, `ip_forward`, and the ICMP errors on
//! the way.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::LinkName;

use super::device::DeviceState;
use super::route_table::Target;
use super::{Foreign, Linux, LinuxDrop, Verdict, gateway_of, pod_of};
use crate::packet::{self, Problem};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ingress<'a> {
    /// A pod of this node sends it.
    Pod,
    /// The daemon wrote it to this tunnel device.
    Tunnel(&'a LinkName),
    /// A program on the node itself, or the kernel, sends it.
    Host,
}

/// A packet as it left the kernel, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passage {
    /// What became of it.
    pub verdict: Verdict,
    /// The packet.
    pub packet: Vec<u8>,
}

impl Linux {
    /// Takes a packet and returns what becomes of it.
    ///
    /// It is one passage as a rule. A packet without DF that is larger than the tunnel device's MTU leaves in fragments;
    /// a dropped packet whose source must know is followed by the kernel's ICMP error.
    pub fn handle_packet(&self, ingress: Ingress<'_>, mut packet: Vec<u8>) -> Vec<Passage> {
        let verdict = self.decide(ingress, &mut packet);
        match verdict {
            Verdict::Tunnel(link) => self.transmit(&link, packet),
            Verdict::Dropped(drop) => {
                let error = self.error_about(ingress, drop, &packet);
                let mut passages = vec![Passage { verdict, packet }];
                passages.extend(
                    error
                        .into_iter()
                        .flat_map(|error| self.handle_packet(Ingress::Host, error)),
                );
                passages
            }
            Verdict::Pod(_) | Verdict::Host => vec![Passage { verdict, packet }],
        }
    }

    fn decide(&self, ingress: Ingress<'_>, packet: &mut [u8]) -> Verdict {
        self.receive(ingress, packet)
            .and_then(|destination| self.deliver(ingress, destination, packet))
            .unwrap_or_else(Verdict::Dropped)
    }

    /// Checks a packet as it comes in and returns its destination.
    fn receive(&self, ingress: Ingress<'_>, packet: &[u8]) -> Result<Ipv4Addr, LinuxDrop> {
        let accepts_local = match ingress {
            Ingress::Host => true,
            Ingress::Pod => false,
            Ingress::Tunnel(link) => {
                let device = self
                    .devices
                    .get(link)
                    .filter(|device| device.state == DeviceState::Up);
                device.ok_or(LinuxDrop::NoDevice)?.accepts_local()
            }
        };
        if !packet::is_valid(packet) {
            return Err(LinuxDrop::Malformed);
        }
        let source = packet::source(packet).ok_or(LinuxDrop::Malformed)?;
        let destination = packet::destination(packet).ok_or(LinuxDrop::Malformed)?;
        if is_no_source(source) || (self.is_own(source) && !accepts_local) {
            return Err(LinuxDrop::MartianSource);
        }
        if is_zero_or_loopback(destination) {
            return Err(LinuxDrop::MartianDestination);
        }
        Ok(destination)
    }

    fn deliver(
        &self,
        ingress: Ingress<'_>,
        destination: Ipv4Addr,
        packet: &mut [u8],
    ) -> Result<Verdict, LinuxDrop> {
        match self.route(destination) {
            Target::Local => Ok(Verdict::Host),
            Target::Unreachable => Err(LinuxDrop::NoRoute),
            Target::Bridge(subnet) => {
                let is_there = pod_of(subnet) == Some(destination);
                match ingress {
                    // Pods on one bridge reach each other without the kernel's forwarding.
                    Ingress::Pod | Ingress::Host => {}
                    Ingress::Tunnel(_) => lower_ttl(packet)?,
                }
                is_there
                    .then_some(Verdict::Pod(destination))
                    .ok_or(LinuxDrop::NoSuchPod)
            }
            Target::Link(link) => {
                if ingress != Ingress::Host && packet::ttl(packet).is_none_or(|ttl| ttl <= 1) {
                    return Err(LinuxDrop::TtlExceeded);
                }
                if self.exceeds_mtu(&link, packet.len()) && packet::forbids_fragments(packet) {
                    return Err(LinuxDrop::TooBig);
                }
                if ingress != Ingress::Host {
                    lower_ttl(packet)?;
                }
                Ok(Verdict::Tunnel(link))
            }
        }
    }

    /// Puts a packet into a device, in pieces if it is too large for it.
    fn transmit(&self, link: &LinkName, packet: Vec<u8>) -> Vec<Passage> {
        let mtu = self.mtu(link);
        let packets = if packet.len() > mtu {
            packet::fragments(&packet, mtu)
        } else {
            vec![packet]
        };
        let passage = |packet| Passage {
            verdict: Verdict::Tunnel(link.clone()),
            packet,
        };
        packets.into_iter().map(passage).collect()
    }

    /// Makes the ICMP error about a packet that was dropped, if there is one and its way back is known.
    fn error_about(&self, ingress: Ingress<'_>, drop: LinuxDrop, offender: &[u8]) -> Option<Vec<u8>> {
        let problem = match drop {
            LinuxDrop::NoRoute => Problem::NetUnreachable,
            LinuxDrop::TtlExceeded => Problem::TtlExceeded,
            LinuxDrop::NoSuchPod => Problem::HostUnreachable,
            LinuxDrop::TooBig => Problem::FragmentationNeeded(self.next_hop_mtu(offender)?),
            LinuxDrop::Malformed
            | LinuxDrop::MartianSource
            | LinuxDrop::MartianDestination
            | LinuxDrop::NoDevice => return None,
        };
        // A program on the node learns it from its socket, a pod on the same bridge finds out by itself.
        let is_told_otherwise = match ingress {
            Ingress::Host => true,
            Ingress::Pod => drop == LinuxDrop::NoSuchPod,
            Ingress::Tunnel(_) => false,
        };
        if is_told_otherwise {
            return None;
        }
        let reporter = self.source_towards(packet::source(offender)?)?;
        packet::icmp_error(problem, reporter, offender)
    }

    fn next_hop_mtu(&self, packet: &[u8]) -> Option<u16> {
        match self.route(packet::destination(packet)?) {
            Target::Link(link) => Some(u16::try_from(self.mtu(&link)).unwrap_or(u16::MAX)),
            Target::Local | Target::Bridge(_) | Target::Unreachable => None,
        }
    }

    /// Returns the address that the kernel gives a packet of its own: one of the device that it leaves by.
    fn source_towards(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.route(destination) {
            Target::Local => Some(destination),
            Target::Bridge(subnet) => gateway_of(subnet),
            Target::Link(link) => {
                let first = self
                    .devices
                    .get(&link)
                    .and_then(|device| device.addresses.first());
                Some(first.map_or(self.address, Ipv4Net::addr))
            }
            Target::Unreachable => None,
        }
    }

    fn route(&self, destination: Ipv4Addr) -> Target {
        if self.is_own(destination) || self.is_broadcast(destination) {
            return Target::Local;
        }
        if destination.is_multicast() {
            return Target::Unreachable;
        }
        let foreign = self.foreign_route(destination);
        let link = self.routes.lookup(destination);
        let bridge = self.bridge.filter(|net| net.contains(&destination));
        let candidates = [
            foreign.map(|net| (net.prefix_len(), Target::Unreachable)),
            link.map(|(net, link)| (net.prefix_len(), Target::Link(link.clone()))),
            bridge.map(|net| (net.prefix_len(), Target::Bridge(net))),
        ];
        // The longest prefix; of equal ones the last.
        candidates
            .into_iter()
            .flatten()
            .max_by_key(|(length, _)| *length)
            .map_or(Target::Unreachable, |(_, target)| target)
    }

    fn foreign_route(&self, destination: Ipv4Addr) -> Option<Ipv4Net> {
        self.foreign
            .iter()
            .filter_map(|foreign| match foreign {
                Foreign::Route(net) => Some(*net),
                Foreign::Port(_) | Foreign::Link(_) => None,
            })
            .filter(|net| net.contains(&destination))
            .max_by_key(Ipv4Net::prefix_len)
    }

    fn exceeds_mtu(&self, link: &LinkName, length: usize) -> bool {
        length > self.mtu(link)
    }

    fn mtu(&self, link: &LinkName) -> usize {
        let mtu = self.devices.get(link).map_or(0, |device| device.mtu);
        usize::try_from(mtu).unwrap_or(usize::MAX)
    }

    /// Tells whether an address is one of the node's own: the underlay's, the bridge's, a tunnel's.
    fn is_own(&self, address: Ipv4Addr) -> bool {
        address == self.address
            || self.bridge.and_then(gateway_of) == Some(address)
            || self.devices.values().any(|device| device.has_address(address))
    }

    /// Tells whether an address means all hosts, or all on the bridge.
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.bridge.is_some_and(|net| net.broadcast() == address)
    }
}

fn lower_ttl(packet: &mut [u8]) -> Result<(), LinuxDrop> {
    packet::decrement_ttl(packet)
        .then_some(())
        .ok_or(LinuxDrop::TtlExceeded)
}

fn is_no_source(address: Ipv4Addr) -> bool {
    is_zero_or_loopback(address) || address.is_multicast() || address.is_broadcast()
}

fn is_zero_or_loopback(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

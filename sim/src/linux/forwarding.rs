//! The way of a packet through the kernel: `ip_rcv`, the routing decision, `ip_forward`, and the ICMP errors on
//! the way.

use std::net::{IpAddr, Ipv4Addr};

use selvedge_engine::{FoundHop, IpVersion, LinkName};

use super::attachment::UNDERLAY;
use super::device::{Device, Kind};
use super::vxlan::Tunnelled;
use super::{Linux, LinuxDrop, Verdict, gateway_of};
use crate::packet::{self, Problem};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ingress<'a> {
    /// A pod of this node sends it.
    Pod,
    /// The daemon wrote it to this tunnel device.
    Tunnel(&'a LinkName),
    /// A frame to this node's card carried it.
    Underlay,
    /// A program on the node itself, or the kernel, sends it.
    Host,
}

/// A packet as it left the kernel, and where to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Passage {
    /// What became of it.
    pub verdict: Verdict,
    /// The packet, or the payload of the datagram that carries it.
    pub packet: Vec<u8>,
}

/// Where the kernel has a packet from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    Pod,
    Host,
    Device(u32),
}

/// Where the routing decision sends a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    /// To the node itself.
    Local,
    /// Out of a device, to a neighbour on it.
    Device { index: u32, next_hop: Ipv4Addr },
    /// Nowhere.
    Unreachable,
}

/// How a packet goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Host,
    Pod(Ipv4Addr),
    Out { exit: Exit, mtu: usize },
}

/// How a packet leaves the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Exit {
    Tun,
    Vxlan(Tunnelled),
    Wire { next_hop: Ipv4Addr },
}

impl Linux {
    /// Takes a packet and returns what becomes of it.
    ///
    /// It is one passage as a rule. A packet without DF that is larger than the MTU of the device that it leaves by does so in
    /// fragments; a dropped packet whose source must know is followed by the kernel's ICMP error.
    pub fn handle_packet(&self, ingress: Ingress<'_>, packet: Vec<u8>) -> Vec<Passage> {
        let origin = match ingress {
            Ingress::Pod => Some(Origin::Pod),
            Ingress::Host => Some(Origin::Host),
            Ingress::Tunnel(link) => self.index_of(link).map(Origin::Device),
            Ingress::Underlay => Some(Origin::Device(UNDERLAY)),
        };
        match origin {
            Some(origin) => self.handle(origin, packet),
            None => vec![Passage {
                verdict: Verdict::Dropped(LinuxDrop::NoDevice),
                packet,
            }],
        }
    }

    /// Takes a packet from a device.
    pub(super) fn handle_received(&self, index: u32, packet: Vec<u8>) -> Vec<Passage> {
        self.handle(Origin::Device(index), packet)
    }

    fn handle(&self, origin: Origin, mut packet: Vec<u8>) -> Vec<Passage> {
        let way = self
            .receive(origin, &packet)
            .and_then(|destination| self.decide(origin, destination, &mut packet));
        let verdict = match way {
            Ok(Way::Out { exit, mtu }) => return transmit(exit, mtu, packet),
            Ok(Way::Host) => Verdict::Host,
            Ok(Way::Pod(pod)) => Verdict::Pod(pod),
            Err(drop) => return self.dropped(origin, drop, packet),
        };
        vec![Passage { verdict, packet }]
    }

    fn dropped(&self, origin: Origin, drop: LinuxDrop, packet: Vec<u8>) -> Vec<Passage> {
        let error = self.error_about(origin, drop, &packet);
        let verdict = Verdict::Dropped(drop);
        let mut passages = vec![Passage { verdict, packet }];
        let errors = error.into_iter();
        passages.extend(errors.flat_map(|error| self.handle(Origin::Host, error)));
        passages
    }

    /// Checks a packet as it comes in and returns its destination.
    fn receive(&self, origin: Origin, packet: &[u8]) -> Result<Ipv4Addr, LinuxDrop> {
        let accepts_local = match origin {
            Origin::Host => true,
            Origin::Pod => false,
            Origin::Device(index) => {
                let device = self.devices.get(&index).filter(|device| device.is_up());
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

    fn decide(&self, origin: Origin, destination: Ipv4Addr, packet: &mut [u8]) -> Result<Way, LinuxDrop> {
        let (index, next_hop) = match self.route(destination) {
            Target::Local => return Ok(Way::Host),
            Target::Unreachable => return Err(LinuxDrop::NoRoute),
            Target::Device { index, next_hop } => (index, next_hop),
        };
        let device = self.devices.get(&index).ok_or(LinuxDrop::NoRoute)?;
        if device.kind == Kind::Bridge {
            return self.bridge(origin, destination, packet);
        }
        if origin != Origin::Host && packet::ttl(packet).is_none_or(|ttl| ttl <= 1) {
            return Err(LinuxDrop::TtlExceeded);
        }
        let mtu = device.mtu_in_bytes();
        if packet.len() > mtu && packet::forbids_fragments(packet) {
            return Err(LinuxDrop::TooBig);
        }
        let exit = self.exit(device, next_hop)?;
        if origin != Origin::Host {
            lower_ttl(packet)?;
        }
        Ok(Way::Out { exit, mtu })
    }

    fn bridge(&self, origin: Origin, destination: Ipv4Addr, packet: &mut [u8]) -> Result<Way, LinuxDrop> {
        match origin {
            // Pods on one bridge reach each other without the kernel's forwarding.
            Origin::Pod | Origin::Host => {}
            Origin::Device(_) => lower_ttl(packet)?,
        }
        (self.pod() == Some(destination))
            .then_some(Way::Pod(destination))
            .ok_or(LinuxDrop::NoSuchPod)
    }

    fn exit(&self, device: &Device, next_hop: Ipv4Addr) -> Result<Exit, LinuxDrop> {
        match &device.kind {
            Kind::Tun => Ok(Exit::Tun),
            Kind::Vxlan(vxlan) => Ok(Exit::Vxlan(self.find_node(device, vxlan, next_hop)?)),
            Kind::Ethernet => Ok(Exit::Wire { next_hop }),
            Kind::Bridge | Kind::Other => Err(LinuxDrop::NoNeighbour),
        }
    }

    /// Makes the ICMP error about a packet that was dropped, if there is one and its way back is known.
    fn error_about(&self, origin: Origin, drop: LinuxDrop, offender: &[u8]) -> Option<Vec<u8>> {
        let problem = match drop {
            LinuxDrop::NoRoute => Problem::NetUnreachable,
            LinuxDrop::TtlExceeded => Problem::TtlExceeded,
            LinuxDrop::NoSuchPod | LinuxDrop::NoNeighbour => Problem::HostUnreachable,
            LinuxDrop::TooBig => Problem::FragmentationNeeded(self.next_hop_mtu(offender)?),
            LinuxDrop::Malformed
            | LinuxDrop::MartianSource
            | LinuxDrop::MartianDestination
            | LinuxDrop::NoDevice
            | LinuxDrop::NoFdbEntry
            | LinuxDrop::NoUnderlay
            | LinuxDrop::OtherHost => return None,
        };
        // A program on the node learns it from its socket, a pod on the same bridge finds out by itself.
        let is_told_otherwise = match origin {
            Origin::Host => true,
            Origin::Pod => drop == LinuxDrop::NoSuchPod,
            Origin::Device(_) => false,
        };
        if is_told_otherwise {
            return None;
        }
        let reporter = self.source_towards(packet::source(offender)?)?;
        packet::icmp_error(problem, reporter, offender)
    }

    fn next_hop_mtu(&self, packet: &[u8]) -> Option<u16> {
        match self.route(packet::destination(packet)?) {
            Target::Device { index, .. } => {
                let mtu = self.devices.get(&index)?.mtu;
                Some(u16::try_from(mtu).unwrap_or(u16::MAX))
            }
            Target::Local | Target::Unreachable => None,
        }
    }

    /// Returns the address that the kernel gives a packet of its own: one of the device that it leaves by.
    fn source_towards(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.route(destination) {
            Target::Local => Some(destination),
            Target::Device { index, .. } => {
                let device = self.devices.get(&index)?;
                if device.kind == Kind::Bridge {
                    return self.bridge.and_then(gateway_of);
                }
                match device.first_address(IpVersion::V4) {
                    Some(IpAddr::V4(address)) => Some(address),
                    Some(IpAddr::V6(_)) | None => Some(self.underlay_address()),
                }
            }
            Target::Unreachable => None,
        }
    }

    fn route(&self, destination: Ipv4Addr) -> Target {
        let is_broadcast = destination.is_broadcast() || self.broadcasts.contains(&destination);
        if is_broadcast || self.is_own(destination) {
            return Target::Local;
        }
        if destination.is_multicast() {
            return Target::Unreachable;
        }
        match self.routes.lookup(destination.into()) {
            Some(FoundHop::Link(index)) => Target::Device {
                index,
                next_hop: destination,
            },
            Some(
                FoundHop::Gateway {
                    gateway: IpAddr::V4(next_hop),
                    link: index,
                }
                | FoundHop::OnLink {
                    gateway: IpAddr::V4(next_hop),
                    link: index,
                },
            ) => Target::Device { index, next_hop },
            Some(FoundHop::Gateway { .. } | FoundHop::OnLink { .. } | FoundHop::Other) | None => {
                Target::Unreachable
            }
        }
    }
}

/// Lets a packet leave, in pieces if it is too large for the device.
fn transmit(exit: Exit, mtu: usize, packet: Vec<u8>) -> Vec<Passage> {
    if packet.len() <= mtu {
        return vec![leave(exit, packet)];
    }
    let pieces = packet::fragments(&packet, mtu).into_iter();
    pieces.map(|piece| leave(exit, piece)).collect()
}

fn leave(exit: Exit, packet: Vec<u8>) -> Passage {
    match exit {
        Exit::Tun => Passage {
            verdict: Verdict::Tunnel,
            packet,
        },
        Exit::Vxlan(tunnelled) => Passage {
            verdict: tunnelled.ends(&packet),
            packet: tunnelled.encapsulate(&packet),
        },
        Exit::Wire { next_hop } => Passage {
            verdict: Verdict::Frame { next_hop },
            packet,
        },
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

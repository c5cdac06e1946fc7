//! The way of a packet through the kernel.

use std::fmt;
use std::net::Ipv4Addr;

use selvedge_engine::LinkName;

use super::{Linux, Target, pod_of};
use crate::packet;

/// What the kernel did with a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It went into this tunnel device.
    Tunnel(LinkName),
    /// A pod got it.
    Pod(Ipv4Addr),
    /// The node itself got it.
    Host,
    /// Nobody got it.
    Dropped(LinuxDrop),
}

/// Why the kernel dropped a packet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LinuxDrop {
    /// Not an IPv4 packet with a right checksum.
    Malformed,
    /// No route leads to the destination.
    NoRoute,
    /// The time to live is over.
    TtlExceeded,
    /// It is larger than the device allows.
    TooBig,
    /// It came from outside with a source address of the node itself.
    MartianSource,
    /// No pod has the address.
    NoSuchPod,
    /// The device it came from does not exist any more.
    NoDevice,
}

impl fmt::Display for LinuxDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::NoRoute => "no route in the kernel",
            Self::TtlExceeded => "time to live exceeded in the kernel",
            Self::TooBig => "too big for the device",
            Self::MartianSource => "martian source",
            Self::NoSuchPod => "no such pod",
            Self::NoDevice => "no tunnel device",
        })
    }
}

impl Linux {
    /// Takes a packet that a pod sends, changed in place as the kernel forwards it.
    pub fn forward_from_pod(&self, packet: &mut [u8]) -> Verdict {
        self.forward(packet)
    }

    /// Takes a packet that the daemon wrote to a tunnel device, changed in place as the kernel forwards it.
    pub fn forward_from_tunnel(&self, link: &LinkName, packet: &mut [u8]) -> Verdict {
        let Some(tun) = self.tuns.get(link) else {
            return Verdict::Dropped(LinuxDrop::NoDevice);
        };
        let Some(source) = packet::source(packet) else {
            return Verdict::Dropped(LinuxDrop::Malformed);
        };
        if self.is_own(source) && !tun.accepts_local() {
            return Verdict::Dropped(LinuxDrop::MartianSource);
        }
        self.forward(packet)
    }

    fn forward(&self, packet: &mut [u8]) -> Verdict {
        if !packet::is_valid(packet) {
            return Verdict::Dropped(LinuxDrop::Malformed);
        }
        let Some(destination) = packet::destination(packet) else {
            return Verdict::Dropped(LinuxDrop::Malformed);
        };
        match self.route(destination) {
            Target::Local => Verdict::Host,
            Target::Unreachable => Verdict::Dropped(LinuxDrop::NoRoute),
            Target::Bridge => self.pass(packet, Verdict::Pod(destination), destination),
            Target::Link(link) => self.pass(packet, Verdict::Tunnel(link), destination),
        }
    }

    fn pass(&self, packet: &mut [u8], verdict: Verdict, destination: Ipv4Addr) -> Verdict {
        if !packet::decrement_ttl(packet) {
            return Verdict::Dropped(LinuxDrop::TtlExceeded);
        }
        match &verdict {
            Verdict::Pod(_) if self.bridge.and_then(pod_of) != Some(destination) => {
                Verdict::Dropped(LinuxDrop::NoSuchPod)
            }
            Verdict::Tunnel(link) if self.exceeds_mtu(link, packet.len()) => {
                Verdict::Dropped(LinuxDrop::TooBig)
            }
            Verdict::Pod(_) | Verdict::Tunnel(_) | Verdict::Host | Verdict::Dropped(_) => verdict,
        }
    }

    fn route(&self, destination: Ipv4Addr) -> Target {
        if self.is_own(destination) {
            return Target::Local;
        }
        let route = self.routes.lookup(destination);
        let bridge = self.bridge.filter(|net| net.contains(&destination));
        match (route, bridge) {
            (Some((net, link)), Some(bridge)) if net.prefix_len() > bridge.prefix_len() => {
                Target::Link(link.clone())
            }
            (_, Some(_)) => Target::Bridge,
            (Some((_, link)), None) => Target::Link(link.clone()),
            (None, None) => Target::Unreachable,
        }
    }

    fn exceeds_mtu(&self, link: &LinkName, length: usize) -> bool {
        let mtu = self.tuns.get(link).map_or(0, |tun| tun.mtu);
        usize::try_from(mtu).is_ok_and(|mtu| length > mtu)
    }

    /// Tells whether an address is one of the node's own: the underlay's, the bridge's, a tunnel's.
    fn is_own(&self, address: Ipv4Addr) -> bool {
        let bridge = self.bridge.and_then(|net| net.hosts().next());
        address == self.address
            || bridge == Some(address)
            || self.tuns.values().any(|tun| tun.has_address(address))
    }
}

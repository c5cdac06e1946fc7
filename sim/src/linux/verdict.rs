//! What becomes of a packet in the kernel.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What the kernel did with a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It went into the daemon's TUN device.
    Tunnel,
    /// It became the payload of a UDP datagram of the kernel's own: VXLAN.
    Datagram {
        /// Where that comes from.
        from: SocketAddrV4,
        /// Where it goes.
        to: SocketAddrV4,
    },
    /// It went on the underlay as it is, in a frame to this neighbour.
    Frame {
        /// The destination, or the gateway on the way there.
        next_hop: Ipv4Addr,
    },
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
    /// Not an IPv4 packet with a right checksum, or not the frame that VXLAN carries.
    Malformed,
    /// No route leads to the destination.
    NoRoute,
    /// The time to live is over.
    TtlExceeded,
    /// It is larger than the device allows.
    TooBig,
    /// It came from outside with a source address that nobody outside has: the node's own, or none of a host.
    MartianSource,
    /// It is for an address that never leaves a host.
    MartianDestination,
    /// No pod has the address.
    NoSuchPod,
    /// The device it came from does not exist any more, or is down.
    NoDevice,
    /// Nobody on the device has the address of the next hop, as far as the kernel knows.
    NoNeighbour,
    /// The VXLAN device does not know which node has the hardware address of the next hop.
    NoFdbEntry,
    /// The node's own outer packet finds no way through the underlay.
    NoUnderlay,
    /// The frame is for the hardware address of another host.
    OtherHost,
}

impl fmt::Display for LinuxDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::NoRoute => "no route in the kernel",
            Self::TtlExceeded => "time to live exceeded in the kernel",
            Self::TooBig => "too big for the device",
            Self::MartianSource => "martian source",
            Self::MartianDestination => "martian destination",
            Self::NoSuchPod => "no such pod",
            Self::NoDevice => "no tunnel device",
            Self::NoNeighbour => "no neighbour entry",
            Self::NoFdbEntry => "no forwarding entry",
            Self::NoUnderlay => "no way through the underlay",
            Self::OtherHost => "for another hardware address",
        })
    }
}

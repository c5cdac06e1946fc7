//! What becomes of a packet in the kernel.

use std::fmt;
use std::net::Ipv4Addr;

use selvedge_engine::LinkName;

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
    /// It came from outside with a source address that nobody outside has: the node's own, or none of a host.
    MartianSource,
    /// It is for an address that never leaves a host.
    MartianDestination,
    /// No pod has the address.
    NoSuchPod,
    /// The device it came from does not exist any more, or is down.
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
            Self::MartianDestination => "martian destination",
            Self::NoSuchPod => "no such pod",
            Self::NoDevice => "no tunnel device",
        })
    }
}

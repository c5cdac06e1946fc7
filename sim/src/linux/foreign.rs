//! What other programs hold on a node.

use ipnet::IpNet;
use selvedge_engine::{Link, LinkName, NextHop};

/// Something that another program holds, so that the daemon cannot have it, and must not take it away.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Foreign {
    /// A UDP port, on every address.
    Port(u16),
    /// A device that is neither a TUN nor a VXLAN device, up.
    Link(LinkName),
    /// A TUN or VXLAN device, up.
    Tunnel(Link),
    /// A route.
    Route(ForeignRoute),
}

/// A route of another program.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ForeignRoute {
    /// The destinations.
    pub destination: IpNet,
    /// The way there; none is a blackhole.
    pub hop: Option<NextHop>,
    /// The number of the program (`rtm_protocol`).
    pub protocol: u8,
    /// Its priority; of routes to the same destination the lowest is used.
    pub priority: u32,
}

impl Foreign {
    /// Tells whether it is a device of that name.
    pub(super) fn is_link(&self, other: &LinkName) -> bool {
        match self {
            Self::Link(name) | Self::Tunnel(Link { name, .. }) => name == other,
            Self::Port(_) | Self::Route(_) => false,
        }
    }
}

impl ForeignRoute {
    /// Makes a blackhole that an operator set up (`RTPROT_STATIC`).
    pub const fn blackhole(destination: IpNet) -> Self {
        Self {
            destination,
            hop: None,
            protocol: STATIC,
            priority: 0,
        }
    }
}

/// `RTPROT_STATIC`: what an operator or a network manager was told.
pub(super) const STATIC: u8 = 4;

//! Routes of the main table.

use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::LinkName;

/// The protocol number that marks our routes in the kernel (`rtm_protocol`, `rtnetlink(7)`); nothing unmarked
/// is ever deleted.
pub const ROUTE_PROTOCOL: u8 = 83;
/// The protocol number of flannel's routes, and of many others (`RTPROT_BOOT`).
pub const FLANNEL_ROUTE_PROTOCOL: u8 = 3;

/// A unicast route of the main table, without priority, scope global.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Route {
    /// The destinations.
    pub destination: IpNet,
    /// The way there.
    pub hop: NextHop,
    /// Who made it.
    pub mark: RouteMark,
}

/// Where a route leads.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextHop {
    /// Out of a device.
    Link(LinkName),
    /// To a neighbour on a device, which the kernel must find on the link.
    Gateway {
        /// The neighbour.
        gateway: IpAddr,
        /// The device.
        link: LinkName,
    },
    /// To a neighbour on a device, whatever the other routes say (`onlink`).
    OnLink {
        /// The neighbour.
        gateway: IpAddr,
        /// The device.
        link: LinkName,
    },
}

/// Who made a route, by its protocol number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteMark {
    /// We did: [`ROUTE_PROTOCOL`].
    #[default]
    Ours,
    /// The flannel that ran on this node before: [`FLANNEL_ROUTE_PROTOCOL`], in a form that only flannel gives a route.
    Flannel,
}

impl Route {
    /// Describes a route of ours.
    pub const fn new(destination: IpNet, hop: NextHop) -> Self {
        Self {
            destination,
            hop,
            mark: RouteMark::Ours,
        }
    }
}

impl NextHop {
    /// Returns the device.
    pub const fn link(&self) -> &LinkName {
        match self {
            Self::Link(link) | Self::Gateway { link, .. } | Self::OnLink { link, .. } => link,
        }
    }

    /// Returns the neighbour, if the route has one.
    pub const fn gateway(&self) -> Option<IpAddr> {
        match self {
            Self::Link(_) => None,
            Self::Gateway { gateway, .. } | Self::OnLink { gateway, .. } => Some(*gateway),
        }
    }
}

impl RouteMark {
    /// Returns the protocol number.
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Ours => ROUTE_PROTOCOL,
            Self::Flannel => FLANNEL_ROUTE_PROTOCOL,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, hop, .. } = self;
        match hop {
            NextHop::Link(link) => write!(f, "route {destination} dev {link}"),
            NextHop::Gateway { gateway, link } => write!(f, "route {destination} via {gateway} dev {link}"),
            NextHop::OnLink { gateway, link } => {
                write!(f, "route {destination} via {gateway} dev {link} onlink")
            }
        }
    }
}

//! Which interface is asked for, and why none fits.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::kernel::IpVersion;

/// What the operator asks for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Selection {
    /// The interfaces asked for: the first that fits is taken.
    pub interfaces: Vec<InterfaceChoice>,
    /// The IPv4 address to announce; without `interfaces` the chosen interface must own it.
    pub public_ip: Option<Ipv4Addr>,
    /// The IPv6 address to announce.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The address families that the overlay needs.
    pub families: Families,
}

impl Selection {
    /// Returns the destination that the kernel has to be asked the way to.
    pub fn destination(&self) -> Option<IpAddr> {
        self.interfaces.iter().find_map(|choice| match choice {
            InterfaceChoice::CanReach(destination) => Some(*destination),
            InterfaceChoice::Name(_) | InterfaceChoice::Address(_) => None,
        })
    }
}

/// A way to name an interface.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceChoice {
    /// By its name.
    Name(String),
    /// By an address that it owns, which is then used.
    Address(IpAddr),
    /// By a destination that the kernel reaches through it, with the source address that it then uses.
    CanReach(IpAddr),
}

/// The address families that the underlay has to have.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Families {
    /// IPv4 alone.
    #[default]
    V4,
    /// IPv6 alone.
    V6,
    /// IPv4 and IPv6 on the same interface.
    Dual,
    /// IPv4, with IPv6 if the same interface has a global address; IPv6 alone if there is no IPv4.
    Any,
}

impl Families {
    /// Tells whether an IP version is among them.
    pub(crate) const fn has(self, version: IpVersion) -> bool {
        match (self, version) {
            (Self::V4, IpVersion::V4)
            | (Self::V6, IpVersion::V6)
            | (Self::Dual | Self::Any, IpVersion::V4 | IpVersion::V6) => true,
            (Self::V4, IpVersion::V6) | (Self::V6, IpVersion::V4) => false,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
            Self::Dual => "IPv4 and IPv6",
            Self::Any => "IPv4 or IPv6",
        })
    }
}

/// Why no interface could be chosen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct SelectError {
    /// One reason for each choice that was tried.
    pub refusals: Vec<Refusal>,
    /// The interfaces that could be chosen, with their addresses.
    pub available: String,
}

/// Why a choice does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no IPv4 default route through a known interface.
    #[error("no default route: pass --iface NAME")]
    NoDefaultRoute,
    /// There is no IPv6 default route through a known interface.
    #[error("no IPv6 default route: pass --iface NAME")]
    NoDefaultRouteV6,
    /// The default routes of the two families do not go through the same interface.
    #[error(
        "the default route leaves by {v4}, that of IPv6 by {v6}: pass --iface NAME for one that has both"
    )]
    DefaultRoutesDiffer {
        /// The interface of the IPv4 route.
        v4: String,
        /// The interface of the IPv6 route.
        v6: String,
    },
    /// No interface has this name.
    #[error("no interface is called {0}: correct --iface")]
    NoSuchName(String),
    /// No interface owns this address.
    #[error("no interface has the address {0}: correct --iface")]
    NoSuchAddress(IpAddr),
    /// No interface owns the public IP, and none was asked for.
    #[error("no interface has the public IP {0}: behind NAT also pass --iface NAME")]
    PublicIpElsewhere(IpAddr),
    /// The kernel knows no way to the destination.
    #[error("no route to {0}: correct --iface-can-reach")]
    Unreachable(IpAddr),
    /// The interface has no IPv4 address that can be used.
    #[error("{0} has no usable IPv4 address: give it one or choose another with --iface NAME")]
    NoV4Address(String),
    /// The interface has no IPv6 address that can be used.
    #[error("{0} has no usable IPv6 address: give it one or choose another with --iface NAME")]
    NoV6Address(String),
    /// The interface's MTU is zero.
    #[error("{0} has the MTU 0: set its MTU or choose another with --iface NAME")]
    NoMtu(String),
    /// The public IP is unspecified, loopback, multicast or broadcast.
    #[error("other nodes cannot reach the public IP {0}: correct {flag} or choose another --iface", flag = flag(.0))]
    UnusablePublicIp(IpAddr),
}

/// Returns the flag that gives a public IP of this family.
const fn flag(public_ip: &IpAddr) -> &'static str {
    match public_ip {
        IpAddr::V4(_) => "--public-ip",
        IpAddr::V6(_) => "--public-ipv6",
    }
}

impl FromStr for InterfaceChoice {
    type Err = Infallible;

    /// Reads the value of `--iface`: an address if it is one, else a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(text.to_string()),
        })
    }
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for refusal in &self.refusals {
            write!(f, "{refusal}; ")?;
        }
        write!(f, "interfaces with an address: {}", self.available)
    }
}

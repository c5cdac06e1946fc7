//! A node's range of addresses, and its form as the last part of a store key (control-plane.md, 3.1).

use core::fmt;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::reject_reason::RejectReason;

/// The range that a node holds: of one address family or of both.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subnet {
    /// `10.5.34.0-24`
    V4(Ipv4Net),
    /// `0.0.0.0-0&fd05:0:0:18::-64`
    V6(Ipv6Net),
    /// `10.5.51.0-24&fd05:0:0:1d::-64`
    Dual(Ipv4Net, Ipv6Net),
}

impl Subnet {
    /// Reads the last part of a lease's key, for example `10.5.34.0-24`.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadKey`] if it is not a subnet.
    pub fn parse(_text: &str) -> Result<Self, RejectReason> {
        todo!()
    }

    /// Returns the IPv4 range, if it has one.
    pub const fn v4(&self) -> Option<Ipv4Net> {
        match self {
            Self::V4(v4) | Self::Dual(v4, _) => Some(*v4),
            Self::V6(_) => None,
        }
    }

    /// Returns the IPv6 range, if it has one.
    pub const fn v6(&self) -> Option<Ipv6Net> {
        match self {
            Self::V6(v6) | Self::Dual(_, v6) => Some(*v6),
            Self::V4(_) => None,
        }
    }

    /// Tells whether the two share an address, in either family.
    pub fn overlaps(&self, _other: &Self) -> bool {
        todo!()
    }
}

impl fmt::Display for Subnet {
    /// Prints the form used in keys.
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

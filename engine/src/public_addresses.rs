//! Which node a record is of.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::kernel::IpVersion;
use crate::lease::LeaseRecord;

/// The underlay addresses that tell a node from the others.
///
/// Where two have an IPv4 address, that decides; without one on either side, as in a network of IPv6 alone, the IPv6
/// address does (control-plane.md, 3.2 and 4).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PublicAddresses {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl PublicAddresses {
    /// Returns the addresses that a record announces; an unspecified one counts as none.
    pub(crate) fn of(record: &LeaseRecord) -> Self {
        Self {
            v4: Some(record.public_ip).filter(|address| !address.is_unspecified()),
            v6: record.public_ipv6.filter(|address| !address.is_unspecified()),
        }
    }

    /// Returns the address of an IP version.
    pub(crate) fn of_version(self, version: IpVersion) -> Option<IpAddr> {
        match version {
            IpVersion::V4 => self.v4.map(IpAddr::V4),
            IpVersion::V6 => self.v6.map(IpAddr::V6),
        }
    }

    /// Tells whether both are of one node.
    pub(crate) fn is_same_node(self, other: Self) -> bool {
        match (self.v4, other.v4) {
            (Some(own), Some(other)) => own == other,
            (None, _) | (_, None) => self.v6.is_some() && self.v6 == other.v6,
        }
    }

    /// Returns all of them.
    pub(crate) fn iter(self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4);
        v4.into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// Returns the address that tells the node from the others.
    pub(crate) fn first(self) -> Option<IpAddr> {
        self.iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ipv4_address_decides_where_both_have_one_and_else_the_ipv6_address() {
        let of = |v4: Option<u8>, v6: Option<u16>| PublicAddresses {
            v4: v4.map(|last| Ipv4Addr::new(192, 0, 2, last)),
            v6: v6.map(|last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)),
        };

        for (one, other, is_same) in [
            (of(Some(1), None), of(Some(1), Some(9)), true),
            (of(Some(1), Some(9)), of(Some(2), Some(9)), false),
            (of(None, Some(9)), of(Some(2), Some(9)), true),
            (of(None, Some(9)), of(None, Some(9)), true),
            (of(None, Some(9)), of(None, Some(8)), false),
            (of(None, Some(9)), of(Some(2), None), false),
            (of(None, None), of(None, None), false),
        ] {
            assert_eq!(one.is_same_node(other), is_same, "{one:?} {other:?}");
            assert_eq!(other.is_same_node(one), is_same, "{other:?} {one:?}");
        }
    }
}

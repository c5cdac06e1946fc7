//! The places of what hangs on a device: the kernel has one thing in each.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::NeighbourMessage;
use selvedge_engine::{FdbEntry, FoundAddress, MacAddress, Neighbour};

use super::super::neighbours;

/// A place, on the device of an index.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::kernel) enum Place {
    /// Of an address and the length of its prefix.
    Address(u32, IpAddr, u8),
    /// Of a neighbour.
    Neighbour(u32, IpAddr),
    /// Of a forwarding entry.
    FdbEntry(u32, MacAddress),
}

/// What is in a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::kernel) enum Content {
    /// An address is there or not.
    Address,
    /// A neighbour's hardware address.
    Mac(MacAddress),
    /// The node of a forwarding entry.
    Node(IpAddr),
}

impl Place {
    /// Returns the place of an address.
    pub(in crate::kernel) const fn address(found: &FoundAddress) -> Self {
        Self::Address(found.link, found.address, found.prefix_len)
    }

    /// Returns the place of a neighbour that we make, and what is in it then.
    pub(in crate::kernel) const fn of_neighbour(index: u32, neighbour: &Neighbour) -> (Self, Content) {
        (
            Self::Neighbour(index, neighbour.address),
            Content::Mac(neighbour.mac),
        )
    }

    /// Returns the place of a forwarding entry that we make, and what is in it then.
    pub(in crate::kernel) const fn of_fdb_entry(index: u32, entry: &FdbEntry) -> (Self, Content) {
        (Self::FdbEntry(index, entry.mac), Content::Node(entry.node))
    }

    /// Reads the place of a neighbour or a forwarding entry, and what is in it. An entry that failed has no hardware address.
    pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Self, Content)> {
        let index = message.header.ifindex;
        let (mac, address) = (neighbours::mac(message), neighbours::destination(message));
        if message.header.family == AddressFamily::Bridge {
            return Some((Self::FdbEntry(index, mac?), Content::Node(address?)));
        }
        let mac = mac.unwrap_or(MacAddress([0; 6]));
        Some((Self::Neighbour(index, address?), Content::Mac(mac)))
    }

    /// Returns the index of the device.
    pub(super) const fn link(self) -> u32 {
        match self {
            Self::Address(link, ..) | Self::Neighbour(link, _) | Self::FdbEntry(link, _) => link,
        }
    }

    /// Tells whether it is the place of an address that the kernel makes up for each device.
    pub(super) const fn is_link_local(self) -> bool {
        match self {
            Self::Address(_, IpAddr::V6(address), _) => address.is_unicast_link_local(),
            Self::Address(_, IpAddr::V4(_), _) | Self::Neighbour(..) | Self::FdbEntry(..) => false,
        }
    }
}

//! How a tunnel device finds a peer: the hardware address of a next hop, and the node behind a hardware address.

use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{LinkName, MacAddress};

/// A permanent neighbour entry.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Neighbour {
    /// The device.
    pub link: LinkName,
    /// The next hop.
    pub address: IpAddr,
    /// Its hardware address.
    pub mac: MacAddress,
}

/// A permanent entry of a VXLAN device's forwarding database (flag `self`).
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct FdbEntry {
    /// The device.
    pub link: LinkName,
    /// The hardware address.
    pub mac: MacAddress,
    /// The underlay address of the node that has it.
    pub node: IpAddr,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, address, mac } = self;
        write!(f, "neighbour {address} lladdr {mac} dev {link}")
    }
}

impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, mac, node } = self;
        write!(f, "forwarding entry {mac} dst {node} dev {link}")
    }
}

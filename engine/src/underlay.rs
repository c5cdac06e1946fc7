//! The network under the overlay, as this node is attached to it, and the choice of the interface.

use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The interface that carries the tunnel, and the addresses that other nodes reach it by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Underlay {
    /// The interface's name.
    pub interface: String,
    /// Its index in the kernel.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its IPv4 address: what the tunnel binds to.
    pub address: Ipv4Addr,
    /// The IPv4 address announced to other nodes; differs from `address` behind NAT.
    pub public_ip: Ipv4Addr,
    /// The IPv6 address announced to other nodes.
    pub public_ipv6: Option<Ipv6Addr>,
}

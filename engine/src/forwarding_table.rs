//! The one table that control makes and packets are forwarded by.

use core::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use crate::setup::Membership;

/// Where every packet of the overlay goes; immutable, shared by all forwarders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardingTable {
    params: TunnelParams,
}

/// What a table holds besides the peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunnelParams {
    /// The whole overlay.
    pub network: Ipv4Net,
    /// This node's part of it.
    pub subnet: Ipv4Net,
    /// The tunnel device's address: the source of ICMP errors.
    pub address: Ipv4Addr,
    /// The largest inner packet in bytes.
    pub mtu: u32,
    /// The UDP port of every node.
    pub port: u16,
    /// What happens to packets from outside the leases.
    pub membership: Membership,
}

impl ForwardingTable {
    /// Makes a table from the peers' subnets and public IPs; of equal subnets the last wins.
    pub fn new(params: TunnelParams, _peers: impl IntoIterator<Item = (Ipv4Net, Ipv4Addr)>) -> Self {
        Self { params }
    }

    /// Returns what the table holds besides the peers.
    pub const fn params(&self) -> &TunnelParams {
        &self.params
    }

    /// Returns the node that a packet for `destination` goes to: the longest matching prefix's.
    pub fn next_hop(&self, _destination: Ipv4Addr) -> Option<SocketAddrV4> {
        todo!()
    }

    /// Returns the peers in the order of their subnets.
    pub fn peers(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        core::iter::empty()
    }
}

//! The one table that control makes and packets are forwarded by.

mod grid;
mod routes;
#[cfg(test)]
mod tests;
mod trie;

use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use self::grid::Shape;
use self::routes::Routes;
use self::trie::Entrance;
use crate::setup::Membership;

/// Where every packet of the overlay goes; immutable, shared by all forwarders.
///
/// Subnets that are as large as this node's own, as all are whose leases follow one network config, are found by their
/// number in the network; others take a step for each byte of their prefix.
///
/// A table that is made from another shares with it what is equal: for n peers, O(log n) of it is new for each change,
/// and in a network that has room for m subnets, O(sqrt m).
#[derive(Clone)]
pub struct ForwardingTable {
    params: TunnelParams,
    own: OwnSubnet,
    peers: Routes,
    /// To the peers that have no subnet of the usual size.
    entrance: Entrance,
}

/// This node's subnet, as packets are compared with it.
#[derive(Clone, Copy)]
struct OwnSubnet {
    first: u32,
    /// How far the last address is from the first.
    span: u32,
    /// The limited broadcast, which is no host of any subnet, if there is none of this one (RFC 3021).
    broadcast: Ipv4Addr,
}

/// What a table holds besides the peers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
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
    ///
    /// Host bits of the subnets are masked off. For n peers it takes O(n log n) steps.
    pub fn new(params: TunnelParams, peers: impl IntoIterator<Item = (Ipv4Net, Ipv4Addr)>) -> Self {
        let mut routes = Routes::new(params.shape());
        for (subnet, public_ip) in peers {
            routes.set(subnet.trunc(), Some(public_ip));
        }
        Self::of(params, routes)
    }

    /// Makes a table with other parameters, and with changes: a subnet's new holder, or none.
    ///
    /// For n peers and m subnets in the network it takes O(sqrt m) steps and O(log n) for each change, and O(n log n) if
    /// the network or the size of its subnets is another.
    #[must_use]
    pub fn with(
        &self,
        params: TunnelParams,
        changes: impl IntoIterator<Item = (Ipv4Net, Option<Ipv4Addr>)>,
    ) -> Self {
        let mut routes = self.peers.shaped(params.shape());
        for (subnet, public_ip) in changes {
            routes.set(subnet.trunc(), public_ip);
        }
        Self::of(params, routes)
    }

    fn of(params: TunnelParams, peers: Routes) -> Self {
        Self {
            params,
            own: OwnSubnet::of(params.subnet),
            entrance: peers.entrance(),
            peers,
        }
    }

    /// Returns what the table holds besides the peers.
    pub const fn params(&self) -> &TunnelParams {
        &self.params
    }

    /// Returns the node that a packet for `destination` goes to: the longest matching prefix's.
    ///
    /// There is none for this node's own subnet, whatever the peers claim.
    #[inline]
    pub fn next_hop(&self, destination: Ipv4Addr) -> Option<SocketAddrV4> {
        if self.is_own(destination) {
            return None;
        }
        let public_ip = self.find(destination)?;
        Some(SocketAddrV4::new(public_ip, self.params.port))
    }

    /// Returns how many peers there are.
    pub fn len(&self) -> usize {
        self.peers.by_subnet().size()
    }

    /// Tells whether there are no peers.
    pub fn is_empty(&self) -> bool {
        self.peers.by_subnet().is_empty()
    }

    /// Returns the peers in the order of their subnets.
    pub fn peers(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        let peers = self.peers.by_subnet().iter();
        peers.map(|(subnet, public_ip)| (*subnet, *public_ip))
    }

    /// Returns the subnets that the node with this public IP holds, in order; none if it is no member.
    pub fn subnets_of(&self, public_ip: Ipv4Addr) -> impl Iterator<Item = Ipv4Net> {
        self.peers.subnets_of(public_ip).iter().copied()
    }

    /// Tells whether the node with this public IP holds a subnet.
    pub fn is_member(&self, public_ip: Ipv4Addr) -> bool {
        self.subnets_of(public_ip).next().is_some()
    }

    /// Tells whether one of the subnets that the node with this public IP holds contains `address`.
    #[inline]
    pub fn is_held_by(&self, public_ip: Ipv4Addr, address: Ipv4Addr) -> bool {
        // Peers rarely nest, so that the longest prefix is the sender's and no search is needed.
        self.find(address) == Some(public_ip)
            || self.subnets_of(public_ip).any(|subnet| subnet.contains(&address))
    }

    /// Tells whether the address belongs to this node's subnet.
    #[inline]
    pub(crate) fn is_own(&self, address: Ipv4Addr) -> bool {
        address.to_bits().wrapping_sub(self.own.first) <= self.own.span
    }

    /// Tells whether the address means every host of this node's subnet; it is not forwarded (RFC 2644).
    #[inline]
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address == self.own.broadcast
    }

    /// Returns the holder of the longest prefix that contains `address`.
    #[inline]
    fn find(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let holder = self.peers.find_in_grid(address);
        holder.or_else(|| self.entrance.find(address))
    }
}

impl TunnelParams {
    /// Returns the subnets that all nodes have by one network config.
    const fn shape(&self) -> Shape {
        Shape {
            network: self.network,
            subnet_len: self.subnet.prefix_len(),
        }
    }
}

impl OwnSubnet {
    fn of(subnet: Ipv4Net) -> Self {
        let first = subnet.network().to_bits();
        let last = subnet.broadcast();
        Self {
            first,
            span: last.to_bits().wrapping_sub(first),
            broadcast: if subnet.prefix_len() < 31 {
                last
            } else {
                Ipv4Addr::BROADCAST
            },
        }
    }
}

/// A table in a snapshot: its parameters, for the peers are told elsewhere.
pub(crate) mod params_alone {
    use alloc::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ForwardingTable, TunnelParams};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        table: &Option<Arc<ForwardingTable>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        table.as_ref().map(|table| table.params).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<ForwardingTable>>, D::Error> {
        let params = Option::<TunnelParams>::deserialize(deserializer)?;
        Ok(params.map(|params| Arc::new(ForwardingTable::new(params, []))))
    }
}

impl PartialEq for ForwardingTable {
    /// Compares what the tables were made from; the rest follows from it.
    fn eq(&self, other: &Self) -> bool {
        self.params == other.params && self.peers().eq(other.peers())
    }
}

impl Eq for ForwardingTable {}

impl fmt::Debug for ForwardingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardingTable")
            .field("params", &self.params)
            .field(
                "peers",
                &fmt::from_fn(|f| f.debug_list().entries(self.peers()).finish()),
            )
            .finish_non_exhaustive()
    }
}

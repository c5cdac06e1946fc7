//! The one table that control makes and packets are forwarded by.

#[cfg(test)]
mod tests;
mod trie;

use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use self::trie::{Entrance, Trie};
use crate::setup::Membership;

/// Where every packet of the overlay goes; immutable, shared by all forwarders.
///
/// A table that is made from another shares with it what is equal: for n peers, O(log n) of it is new for each change.
#[derive(Clone)]
pub struct ForwardingTable {
    params: TunnelParams,
    peers: Routes,
    entrance: Entrance,
}

/// The peers, by all that they are looked up by.
#[derive(Clone)]
struct Routes {
    /// Truncated; an outer subnet comes before those within.
    by_subnet: RedBlackTreeMapSync<Ipv4Net, Ipv4Addr>,
    /// The subnets of each node, in order.
    by_holder: RedBlackTreeMapSync<Ipv4Addr, Vec<Ipv4Net>>,
    trie: Trie,
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
        let mut routes = Routes::new();
        for (subnet, public_ip) in peers {
            routes.set(subnet.trunc(), Some(public_ip));
        }
        Self::of(params, routes)
    }

    /// Makes a table with other parameters, and with changes: a subnet's new holder, or none.
    ///
    /// For n peers it takes O(log n) steps for each change.
    #[must_use]
    pub fn with(
        &self,
        params: TunnelParams,
        changes: impl IntoIterator<Item = (Ipv4Net, Option<Ipv4Addr>)>,
    ) -> Self {
        let mut routes = self.peers.clone();
        for (subnet, public_ip) in changes {
            routes.set(subnet.trunc(), public_ip);
        }
        Self::of(params, routes)
    }

    fn of(params: TunnelParams, peers: Routes) -> Self {
        Self {
            params,
            entrance: peers.trie.entrance(),
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
        if self.params.subnet.contains(&destination) {
            return None;
        }
        let public_ip = self.entrance.find(destination)?;
        Some(SocketAddrV4::new(public_ip, self.params.port))
    }

    /// Returns how many peers there are.
    pub fn len(&self) -> usize {
        self.peers.by_subnet.size()
    }

    /// Tells whether there are no peers.
    pub fn is_empty(&self) -> bool {
        self.peers.by_subnet.is_empty()
    }

    /// Returns the peers in the order of their subnets.
    pub fn peers(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        let peers = self.peers.by_subnet.iter();
        peers.map(|(subnet, public_ip)| (*subnet, *public_ip))
    }

    /// Returns the subnets that the node with this public IP holds, in order; none if it is no member.
    pub fn subnets_of(&self, public_ip: Ipv4Addr) -> impl Iterator<Item = Ipv4Net> {
        let subnets = self.peers.by_holder.get(&public_ip);
        subnets.into_iter().flatten().copied()
    }

    /// Tells whether the node with this public IP holds a subnet.
    pub fn is_member(&self, public_ip: Ipv4Addr) -> bool {
        self.subnets_of(public_ip).next().is_some()
    }

    /// Tells whether one of the subnets that the node with this public IP holds contains `address`.
    #[inline]
    pub fn is_held_by(&self, public_ip: Ipv4Addr, address: Ipv4Addr) -> bool {
        // Peers rarely nest, so that the longest prefix is the sender's and no search is needed.
        self.entrance.find(address) == Some(public_ip)
            || self.subnets_of(public_ip).any(|subnet| subnet.contains(&address))
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

impl Routes {
    fn new() -> Self {
        Self {
            by_subnet: RedBlackTreeMapSync::new_sync(),
            by_holder: RedBlackTreeMapSync::new_sync(),
            trie: Trie::new(),
        }
    }

    fn set(&mut self, subnet: Ipv4Net, public_ip: Option<Ipv4Addr>) {
        if let Some(before) = self.by_subnet.get(&subnet).copied() {
            self.set_held(before, |held| held.retain(|other| *other != subnet));
        }
        let Some(public_ip) = public_ip else {
            self.by_subnet.remove_mut(&subnet);
            let by_subnet = &self.by_subnet;
            return self.trie.remove(subnet, |outer| by_subnet.get(&outer).copied());
        };
        self.by_subnet.insert_mut(subnet, public_ip);
        self.set_held(public_ip, |held| {
            held.push(subnet);
            held.sort_unstable();
        });
        self.trie.insert(subnet, public_ip);
    }

    /// Changes what a node holds, usually one subnet.
    fn set_held(&mut self, public_ip: Ipv4Addr, change: impl FnOnce(&mut Vec<Ipv4Net>)) {
        let mut held = self.by_holder.get(&public_ip).cloned().unwrap_or_default();
        change(&mut held);
        if held.is_empty() {
            self.by_holder.remove_mut(&public_ip);
        } else {
            self.by_holder.insert_mut(public_ip, held);
        }
    }
}

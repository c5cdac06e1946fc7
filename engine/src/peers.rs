//! Which leases this node forwards to, and which it refuses.

mod judgement;
#[cfg(test)]
mod ref_peers;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use self::judgement::Judgement;
use crate::leases::{Changes, Entry, Leases};
use crate::reject_reason::RejectReason;
use crate::snapshot::keyed::{self, Keyed};
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::text_bytes;

/// The peers, and the records that are none: of overlapping leases the oldest is a peer.
///
/// For n leases a change of one takes O(log n) steps, and as many again for each lease that it overlaps.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Peers {
    /// By the first address; they do not overlap.
    #[serde(with = "keyed")]
    accepted: BTreeMap<Ipv4Addr, Peer>,
    #[serde(with = "text_bytes::map")]
    rejected: BTreeMap<Arc<[u8]>, (Revision, RejectReason)>,
}

/// A lease that this node forwards to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Peer {
    pub(crate) subnet: Subnet,
    v4: Ipv4Net,
    pub(crate) public_ip: Ipv4Addr,
    age: Age,
}

/// The order in which leases win: the oldest first, of equally old ones the first in key order.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Age {
    create_revision: Revision,
    #[serde(with = "text_bytes")]
    key: Arc<[u8]>,
}

impl Keyed for Peer {
    type Key = Ipv4Addr;

    fn key(&self) -> Ipv4Addr {
        self.v4.network()
    }
}

impl Age {
    fn of(entry: &Entry) -> Self {
        Self {
            create_revision: entry.create_revision,
            key: entry.key.clone(),
        }
    }
}

/// Where this node stands among the leases.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Standpoint {
    pub(crate) network: Ipv4Net,
    pub(crate) public_ip: Ipv4Addr,
    #[serde(with = "text_bytes")]
    pub(crate) own_key: Arc<[u8]>,
    pub(crate) own_subnet: Ipv4Net,
}

/// What a judgement changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct PeerNews {
    /// New peers, and peers whose node is another.
    pub(crate) added: BTreeMap<Subnet, Ipv4Addr>,
    pub(crate) removed: BTreeSet<Subnet>,
    pub(crate) rejected: BTreeMap<Arc<[u8]>, RejectReason>,
    /// The same as the forwarding table sees it.
    pub(crate) routes: BTreeMap<Ipv4Net, Option<Ipv4Addr>>,
}

impl Peers {
    /// Returns how many leases are accepted, and how many records refused.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.accepted.len(), self.rejected.len())
    }

    /// Judges the leases that changed, and those whose fate hangs on them.
    pub(crate) fn judge(&mut self, changes: Changes, leases: &Leases, standpoint: &Standpoint) -> PeerNews {
        let mut judgement = Judgement::new(self, leases, standpoint);
        for (key, changed) in changes {
            judgement.begin_with(&key, changed);
        }
        judgement.finish()
    }

    /// Judges every lease, because the node stands elsewhere.
    pub(crate) fn judge_all(&mut self, leases: &Leases, standpoint: &Standpoint) -> PeerNews {
        let mut judgement = Judgement::new(self, leases, standpoint);
        judgement.begin_with_all();
        judgement.finish()
    }

    /// Returns the peers in the order of their subnets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Subnet, Ipv4Addr)> {
        self.accepted.values().map(|peer| (peer.subnet, peer.public_ip))
    }

    /// Returns the IPv4 subnets with the nodes that hold them, in order.
    pub(crate) fn v4(&self) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.accepted.values().map(|peer| (peer.v4, peer.public_ip))
    }

    /// Returns the peer whose subnet contains an address.
    pub(crate) fn holder_of(&self, address: Ipv4Addr) -> Option<&Peer> {
        let (_, peer) = self.accepted.range(..=address).next_back()?;
        peer.v4.contains(&address).then_some(peer)
    }

    /// Returns the peers that share an address with a subnet.
    fn overlapping(&self, v4: Ipv4Net) -> impl Iterator<Item = &Peer> {
        self.accepted
            .range(..=v4.broadcast())
            .rev()
            .map(|(_, peer)| peer)
            .take_while(move |peer| overlaps(peer.v4, v4))
    }
}

fn overlaps(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

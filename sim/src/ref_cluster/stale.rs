//! Peers that a node may keep although their lease is gone.
//!
//! The end of a lease in an absence of the node (the store lost its history, or could not be reached for so long that
//! leases of living nodes end) says nothing about the peer. So the node may go on forwarding to it for the grace time,
//! counted while it has to follow the store, but no longer than it takes to see a lease that stands against it: one of the
//! same addresses, or another of the same node.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::claims::overlap;
use super::{Knowledge, RefCluster, Tenure};
use crate::node_id::NodeId;

impl RefCluster {
    /// Tells whether `node` may forward to `peer` for `subnet` although that lease is gone and the node has to know it.
    pub(crate) fn may_keep(&self, node: NodeId, subnet: Ipv4Net, peer: Ipv4Addr, now: Instant) -> bool {
        let Some(knowledge) = self.knowledge.get(node.index()) else {
            return false;
        };
        let tenures = self.tenures.get(subnet).into_iter().flatten();
        tenures
            .filter(|tenure| tenure.owner == peer && tenure.from_revision <= knowledge.seen())
            .any(|tenure| self.may_be_stale(knowledge, subnet, tenure, now))
    }

    fn may_be_stale(&self, knowledge: &Knowledge, subnet: Ipv4Net, tenure: &Tenure, now: Instant) -> bool {
        let Some(ended) = tenure.until else { return false };
        let Some(noticed) = knowledge.noticed_late(ended, &self.windows, now) else {
            return false;
        };
        let followed = knowledge.followed_since(noticed, &self.windows, now);
        followed < knowledge.peer_grace(&self.windows)
            && !self.is_contradicted(knowledge, (subnet, tenure), noticed, now)
    }

    fn is_contradicted(
        &self,
        knowledge: &Knowledge,
        (subnet, stale): (Ipv4Net, &Tenure),
        noticed: Instant,
        now: Instant,
    ) -> bool {
        self.tenures
            .iter()
            .flat_map(|(other, tenures)| tenures.iter().map(move |tenure| (other, tenure)))
            .filter(|(other, tenure)| overlap(*other, subnet) || tenure.owner == stale.owner)
            .any(|(_, tenure)| knowledge.had_to_see(tenure.from, tenure.until, noticed, &self.windows, now))
    }
}

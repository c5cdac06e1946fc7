//! What a node may call its own.

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::{Hand, RefCluster, Tenure, parse_subnet};
use crate::node_id::NodeId;

impl RefCluster {
    /// Returns a subnet that a node holds beside this one.
    pub(crate) fn other_subnet_of(&self, node: NodeId, subnet: Ipv4Net) -> Option<Ipv4Net> {
        self.subnets_held_by(node).find(|other| *other != subnet)
    }

    /// Tells whether anybody else held part of `subnet` since `node` last took it, or an operator wrote something there.
    pub(crate) fn was_given_away(&self, node: NodeId, subnet: Ipv4Net) -> bool {
        let is_own = |tenure: &&Tenure| node.is_at(tenure.owner);
        let taken = self
            .tenures
            .get(subnet)
            .and_then(|tenures| tenures.iter().rev().find(is_own))
            .map(|tenure| tenure.from);
        let by_another = self
            .tenures
            .overlapping(subnet)
            .flat_map(|(_, tenures)| tenures)
            .filter(|tenure| !is_own(tenure))
            .any(|tenure| taken.is_none_or(|taken| tenure.until.is_none_or(|until| until > taken)));
        by_another
            || self.keys.covers_for_others(subnet, node)
            || self.junk_subnets().any(|junk| overlap(junk, subnet))
    }

    /// Tells whether an operator took part of `subnet` from `node`, which need not know of it yet.
    pub(crate) fn was_robbed(&self, node: NodeId, subnet: Ipv4Net, now: Instant) -> bool {
        let own = |tenure: &&Tenure| node.is_at(tenure.owner);
        let last = self
            .tenures
            .overlapping(subnet)
            .filter_map(|(_, tenures)| tenures.iter().rev().find(own))
            .max_by_key(|tenure| tenure.from);
        let robbed_at = last
            .filter(|tenure| tenure.ended_by == Hand::Operator)
            .and_then(|tenure| tenure.until);
        let informed = self.informed(node, now);
        robbed_at.is_some_and(|at| informed.is_none_or(|informed| informed < at))
    }

    /// Returns the subnets that junk names; a network gives out no record of all addresses.
    pub(super) fn junk_subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.junk.iter().filter_map(|key| {
            let text = std::str::from_utf8(key.strip_prefix(self.prefix.as_slice())?).ok()?;
            parse_subnet(text).filter(|subnet| subnet.prefix_len() > 0)
        })
    }
}

/// Tells whether two subnets have addresses in common.
pub(crate) fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

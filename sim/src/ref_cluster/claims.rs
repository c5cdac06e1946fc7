//! What a node may call its own.

use ipnet::Ipv4Net;

use super::{RefCluster, Tenure, parse_subnet};
use crate::node_id::NodeId;

impl RefCluster {
    /// Returns a subnet that a node holds beside this one.
    pub(crate) fn other_subnet_of(&self, node: NodeId, subnet: Ipv4Net) -> Option<Ipv4Net> {
        self.subnets_held_by(node).find(|other| *other != subnet)
    }

    /// Tells whether anybody else held part of `subnet` since `node` last took it, or an operator wrote something there.
    pub(crate) fn was_given_away(&self, node: NodeId, subnet: Ipv4Net) -> bool {
        let is_own = |tenure: &&Tenure| tenure.owner == node.public_ip();
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
        by_another || self.is_covered_by_junk(subnet)
    }

    fn is_covered_by_junk(&self, subnet: Ipv4Net) -> bool {
        let named = |key: &Vec<u8>| {
            let text = std::str::from_utf8(key.strip_prefix(self.prefix.as_slice())?).ok()?;
            parse_subnet(text)
        };
        self.junk
            .iter()
            .filter_map(named)
            .any(|junk| overlap(junk, subnet))
    }
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

//! Where nodes stop before their leases end, no subnet has two live data paths at any instant.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Which node carries which subnet at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataPaths {
    of_node: BTreeMap<NodeId, Ipv4Net>,
    /// Subnets by their first address; those of several nodes only between a finding and the end of the run.
    carried: BTreeMap<Ipv4Addr, (Ipv4Net, NodeId)>,
}

impl DataPaths {
    /// Takes note of what a node carries from now on, and checks that no other carries part of it.
    pub(crate) fn set(&mut self, node: NodeId, carried: Option<Ipv4Net>) -> Verdict {
        if self.of_node.get(&node).copied() == carried {
            return Ok(());
        }
        if let Some(before) = self.of_node.remove(&node) {
            self.carried.remove(&before.network());
        }
        let Some(subnet) = carried else {
            return Ok(());
        };
        self.of_node.insert(node, subnet);
        let overlapping = self.overlapping(subnet);
        self.carried.insert(subnet.network(), (subnet, node));
        match overlapping {
            None => Ok(()),
            Some((other, holder)) => {
                let text = format!("{node} carries {subnet} while {holder} carries {other}");
                Err(Finding::new(Invariant::OneDataPath, [node, holder], text))
            }
        }
    }

    /// Carried subnets do not overlap each other: the last that begins before the end of `subnet` decides.
    fn overlapping(&self, subnet: Ipv4Net) -> Option<(Ipv4Net, NodeId)> {
        let below = self.carried.range(..=subnet.broadcast()).next_back();
        below
            .map(|(_, path)| *path)
            .filter(|(other, _)| other.contains(&subnet) || subnet.contains(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::{N1, N2};

    #[test]
    fn a_subnet_may_change_hands_and_may_not_be_in_two() {
        let mut paths = DataPaths::default();

        assert_eq!(paths.set(N1, net("10.5.1.0/24")), Ok(()));
        assert_eq!(paths.set(N2, net("10.5.2.0/24")), Ok(()));
        assert_eq!(paths.set(N1, None), Ok(()));
        assert_eq!(paths.set(N2, net("10.5.1.0/24")), Ok(()));
        assert!(paths.set(N1, net("10.5.1.0/24")).is_err());
    }

    #[test]
    fn overlap_of_any_size_is_found() {
        for (one, other) in [
            ("10.5.0.0/16", "10.5.7.0/24"),
            ("10.5.7.0/24", "10.5.0.0/16"),
            ("10.5.7.0/24", "10.5.7.128/25"),
        ] {
            let mut paths = DataPaths::default();
            assert_eq!(paths.set(N1, net(one)), Ok(()));

            assert!(paths.set(N2, net(other)).is_err(), "{one} {other}");
        }
    }

    fn net(text: &str) -> Option<Ipv4Net> {
        text.parse().ok()
    }
}

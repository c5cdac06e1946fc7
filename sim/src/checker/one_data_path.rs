//! Where nodes stop before their leases end, no subnet has two live data paths at any instant.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::{RefCluster, overlap};
use crate::violation::{Finding, Invariant};

/// Which node carries which subnet at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataPaths(BTreeMap<NodeId, Ipv4Net>);

impl DataPaths {
    /// Takes note of what a node carries from now on, and checks that no other carries part of it.
    ///
    /// The end of a lease a node knows beforehand; that an operator takes it away, it has to hear first.
    pub(crate) fn set(
        &mut self,
        cluster: &RefCluster,
        node: NodeId,
        carried: Option<Ipv4Net>,
        now: Instant,
    ) -> Verdict {
        if self.0.get(&node).copied() == carried {
            return Ok(());
        }
        let Some(subnet) = carried else {
            self.0.remove(&node);
            return Ok(());
        };
        self.0.insert(node, subnet);
        if cluster.was_robbed(node, subnet, now) {
            return Ok(());
        }
        let rival = self.0.iter().find(|(other, path)| {
            **other != node && overlap(**path, subnet) && !cluster.was_robbed(**other, **path, now)
        });
        match rival {
            None => Ok(()),
            Some((holder, other)) => {
                let text = format!("{node} carries {subnet} while {holder} carries {other}");
                Err(Finding::new(Invariant::OneDataPath, [node, *holder], text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::Hand;
    use crate::ref_cluster::fixture::{N1, N2, after, cluster, connected, delete};

    #[test]
    fn a_subnet_may_change_hands_and_may_not_be_in_two() {
        let cluster = connected();
        let mut paths = DataPaths::default();
        let mut set = |node, carried| paths.set(&cluster, node, carried, after(100));

        assert_eq!(set(N1, net("10.5.1.0/24")), Ok(()));
        assert_eq!(set(N2, net("10.5.2.0/24")), Ok(()));
        assert_eq!(set(N1, None), Ok(()));
        assert_eq!(set(N2, net("10.5.1.0/24")), Ok(()));
        assert!(set(N1, net("10.5.1.0/24")).is_err());
    }

    #[test]
    fn overlap_of_any_size_is_found() {
        let cluster = connected();
        for (one, other) in [
            ("10.5.0.0/16", "10.5.7.0/24"),
            ("10.5.7.0/24", "10.5.0.0/16"),
            ("10.5.7.0/24", "10.5.7.128/25"),
        ] {
            let mut paths = DataPaths::default();
            assert_eq!(paths.set(&cluster, N1, net(one), after(100)), Ok(()));

            assert!(
                paths.set(&cluster, N2, net(other), after(100)).is_err(),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn who_was_robbed_may_go_on_until_it_has_to_know() {
        let taken_by = |hand, again| {
            let mut cluster = cluster(&[("10.5.1.0-24", N1)]);
            let mut paths = DataPaths::default();
            let subnet = net("10.5.1.0/24");
            paths.set(&cluster, N1, subnet, after(100)).unwrap();
            cluster.set_hand(hand);
            delete(&mut cluster, "10.5.1.0-24", after(110));
            paths.set(&cluster, N2, subnet, after(again)).is_ok()
        };

        assert!(taken_by(Hand::Operator, 111));
        assert!(!taken_by(Hand::Operator, 200));
        assert!(!taken_by(Hand::Node, 111));
    }

    fn net(text: &str) -> Option<Ipv4Net> {
        text.parse().ok()
    }
}

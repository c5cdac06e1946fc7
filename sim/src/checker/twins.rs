//! Two nodes that announce one public IP never carry one subnet for longer than they need to hear of each other.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// Since when nodes have carried a subnet together with the one whose public IP they announce.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twins {
    shared_since: BTreeMap<NodeId, Instant>,
}

impl Twins {
    /// Checks a node and the original of its public IP, which carry `shared` both, if anything.
    pub(crate) fn check(
        &mut self,
        cluster: &RefCluster,
        [original, twin]: [NodeId; 2],
        shared: Option<Ipv4Net>,
        now: Instant,
    ) -> Verdict {
        let Some(subnet) = shared else {
            self.shared_since.remove(&twin);
            return Ok(());
        };
        let since = *self.shared_since.entry(twin).or_insert(now);
        let had_to_hear = |node| {
            cluster
                .informed(node, now)
                .is_some_and(|informed| informed >= since)
        };
        if !had_to_hear(original) || !had_to_hear(twin) {
            return Ok(());
        }
        let text =
            format!("{original} and {twin}, which announces its public IP, carry {subnet} since {since}");
        Err(Finding::new(Invariant::SingleOwner, [original, twin], text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, after, connected};

    #[test]
    fn twins_may_carry_one_subnet_until_they_have_to_hear_of_each_other() {
        let cluster = connected();
        let mut twins = Twins::default();
        let shared: Option<Ipv4Net> = Some("10.5.1.0/24".parse().unwrap());
        let mut check = |shared, at| twins.check(&cluster, [N1, N2], shared, after(at));

        assert_eq!(check(shared, 200), Ok(()));
        assert_eq!(check(shared, 201), Ok(()));
        assert!(check(shared, 220).is_err());
        assert_eq!(check(None, 221), Ok(()));
        assert_eq!(check(shared, 222), Ok(()));
    }
}

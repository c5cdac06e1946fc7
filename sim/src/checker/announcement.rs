//! A node's lease says where the node is: whoever gets another address, or another VXLAN device, writes its lease anew.

use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// Checks the lease of a running node that has had the time to write it.
pub(crate) fn check(cluster: &RefCluster, node: NodeId, now: Instant) -> Verdict {
    let Some(tenure) = cluster.untrue_lease_of(node, now) else {
        return Ok(());
    };
    let vtep = tenure
        .vtep
        .map_or(String::new(), |vtep| format!(" with the device {vtep}"));
    let text = format!(
        "{node} has had the time to say where it is, and its lease says {}{vtep}",
        tenure.owner
    );
    Err(Finding::new(Invariant::Convergence, [node], text))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::LinkState;

    use super::*;
    use crate::ref_cluster::Presence;
    use crate::ref_cluster::fixture::{N1, after, cluster};

    #[test]
    fn a_node_has_time_to_say_where_it_is_and_no_more() {
        let mut cluster = cluster(&[("10.5.1.0-24", N1)]);
        cluster.set_renewable(N1, true, after(1));
        assert_eq!(check(&cluster, N1, after(200)), Ok(()));

        let presence = Presence {
            address: N1.second_public_ip(),
            vtep: None,
            card: LinkState::Up,
        };
        cluster.set_presence(N1, presence);
        cluster.disturb(N1, after(200));

        assert_eq!(check(&cluster, N1, after(240)), Ok(()));
        assert!(check(&cluster, N1, after(250)).is_err());
    }
}

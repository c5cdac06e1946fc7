//! A change of the leases reaches every node that reaches the store within a bound, and it forwards accordingly.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// Tells whether a node that holds a lease has had the time to learn everything and to set itself up.
///
/// The time is the model's: two seconds and four round trips to the store after the change, and 45 seconds and eight
/// round trips after the node could reach the store again.
pub(crate) fn is_due(cluster: &RefCluster, node: NodeId, now: Instant) -> bool {
    cluster.is_up_to_date(node, now) && cluster.must_carry(node, now)
}

/// Checks what a node forwards by.
pub(crate) fn check(
    cluster: &RefCluster,
    node: NodeId,
    carried: Option<Ipv4Net>,
    peers: &BTreeMap<Ipv4Net, Ipv4Addr>,
    now: Instant,
) -> Verdict {
    let held = || cluster.subnets_held_by(node);
    let Some(own) = held().find(|own| carried == Some(*own)).or_else(|| held().next()) else {
        return Ok(());
    };
    let wrong = if carried == Some(own) {
        difference(cluster, node, own, peers, now)
    } else {
        Some(format!("it holds {own} and carries {carried:?}"))
    };
    let Some(wrong) = wrong else { return Ok(()) };
    let text = format!("{node} has had the time to forward as the leases say, and does not: {wrong}");
    Err(Finding::new(Invariant::Convergence, [node], text))
}

/// Says how the peers of a node that holds `own` differ from the leases of all others and the peers that it may keep;
/// `None` if they do not.
pub(crate) fn difference(
    cluster: &RefCluster,
    node: NodeId,
    own: Ipv4Net,
    peers: &BTreeMap<Ipv4Net, Ipv4Addr>,
    now: Instant,
) -> Option<String> {
    let expected: BTreeMap<Ipv4Net, Ipv4Addr> = cluster
        .leases()
        .filter(|(subnet, owner)| *subnet != own && *owner != cluster.address_of(node))
        .collect();
    if *peers == expected {
        return None;
    }
    let missing = expected
        .iter()
        .filter(|(subnet, owner)| peers.get(subnet) != Some(owner))
        .map(|(subnet, owner)| format!("lacks {subnet} via {owner}"));
    let extra = peers
        .iter()
        .filter(|(subnet, owner)| {
            !expected.contains_key(subnet) && !cluster.may_keep(node, **subnet, **owner, now)
        })
        .map(|(subnet, owner)| format!("has {subnet} via {owner}"));
    let wrong: Vec<String> = missing.chain(extra).collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, N3, after, cluster};

    #[test]
    fn a_node_has_time_to_learn_and_no_more() {
        let cluster = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        let own: Ipv4Net = "10.5.1.0/24".parse().unwrap();
        let other = "10.5.9.0/24".parse().unwrap();
        let right = peers(&[("10.5.2.0/24", N2)]);
        let judged = |carried, peers: &_| check(&cluster, N1, carried, peers, after(200));

        assert!(!is_due(&cluster, N1, after(2)) && is_due(&cluster, N1, after(200)));
        assert_eq!(judged(Some(own), &right), Ok(()));
        for (carried, peers) in [
            (Some(own), peers(&[])),
            (Some(own), peers(&[("10.5.2.0/24", N3)])),
            (Some(other), right),
            (None, peers(&[])),
        ] {
            assert!(judged(carried, &peers).is_err());
        }
    }

    fn peers(peers: &[(&str, NodeId)]) -> BTreeMap<Ipv4Net, Ipv4Addr> {
        let peers = peers.iter();
        peers
            .map(|(subnet, owner)| (subnet.parse().unwrap(), owner.public_ip()))
            .collect()
    }
}

//! Every datagram goes to the node that holds the inner destination, as the store said when the sender looked.

use std::net::Ipv4Addr;

use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// Checks a datagram that `node` sends to the host `peer` with a packet for `destination` inside.
pub(crate) fn check(
    cluster: &RefCluster,
    node: NodeId,
    destination: Ipv4Addr,
    peer: Ipv4Addr,
    now: Instant,
) -> Verdict {
    if cluster.may_send(node, destination, peer, now) {
        return Ok(());
    }
    let text = match cluster.lease_of(destination) {
        Some((subnet, tenure)) => format!(
            "{node} sends a packet for {destination} to {peer}, but {subnet} is {}'s",
            tenure.owner
        ),
        None => format!("{node} sends a packet for {destination} to {peer}, but no lease covers it"),
    };
    Err(Finding::new(Invariant::RightPeer, [node], text))
}

/// Checks a datagram that `node` sends with a packet from `source` inside: a node does not pass on what other nodes'
/// pods sent.
pub(crate) fn check_source(cluster: &RefCluster, node: NodeId, source: Ipv4Addr, now: Instant) -> Verdict {
    let Some((subnet, tenure)) = cluster.lease_of(source) else {
        return Ok(());
    };
    let knows = cluster
        .informed(node, now)
        .is_some_and(|informed| tenure.from <= informed);
    if node.is_at(tenure.owner) || !knows {
        return Ok(());
    }
    let text = format!(
        "{node} sends a packet from {source} although {subnet} is {}'s",
        tenure.owner
    );
    Err(Finding::new(Invariant::RightPeer, [node], text))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::Revision;

    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, N3, after, cluster};

    #[test]
    fn a_packet_from_anothers_pod_is_found_once_the_node_has_to_know() {
        let cluster = cluster(&[("10.5.1.0-24", N1), ("10.5.2.0-24", N2)]);
        let (own, other) = (Ipv4Addr::new(10, 5, 1, 2), Ipv4Addr::new(10, 5, 2, 2));

        assert_eq!(check_source(&cluster, N1, own, after(200)), Ok(()));
        assert_eq!(check_source(&cluster, N1, other, after(2)), Ok(()));
        assert!(check_source(&cluster, N1, other, after(200)).is_err());
    }

    #[test]
    fn a_datagram_to_the_owner_passes_and_any_other_does_not() {
        let mut cluster = cluster(&[("10.5.2.0-24", N2)]);
        cluster.see(N1, Revision(100));
        let inside = Ipv4Addr::new(10, 5, 2, 9);
        let outside = Ipv4Addr::new(10, 5, 3, 9);

        assert_eq!(check(&cluster, N1, inside, N2.public_ip(), after(200)), Ok(()));
        assert!(check(&cluster, N1, inside, N3.public_ip(), after(200)).is_err());
        assert!(check(&cluster, N1, outside, N2.public_ip(), after(200)).is_err());
    }
}

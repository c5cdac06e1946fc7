//! No two nodes hold overlapping subnets, as far as they can know.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::{RefCluster, Write};
use crate::violation::{Finding, Invariant};

/// Checks a lease that was just written beside all others that live in the store.
pub(crate) fn check_lease(cluster: &RefCluster, write: &Write) -> Verdict {
    let Write::Lease { subnet, .. } = write else {
        return Ok(());
    };
    let other = cluster.leases_within(*subnet).find(|(other, _)| other != subnet);
    match other {
        None => Ok(()),
        Some((other, owner)) => {
            let text = format!("the leases {subnet} and {other} (held by {owner}) overlap");
            Err(finding(Vec::new(), text))
        }
    }
}

/// Checks that a write of a cluster of `nodes` does not take a subnet from a node whose lease lives.
///
/// A key of another name that has addresses in common is in nobody's way who never heard of it.
pub(crate) fn check_write(cluster: &RefCluster, write: &Write, nodes: usize) -> Verdict {
    let is_deaf =
        |owner: Ipv4Addr| NodeId::by_public_ip(owner, nodes).is_some_and(|node| cluster.is_deaf(node));
    match write {
        Write::Lease {
            subnet,
            owner: Some(owner),
            rival: Some(rival),
            ..
        } if !is_deaf(*owner) => {
            let text = format!("{owner} takes {subnet} under a key that overlaps {rival}");
            Err(finding(Vec::new(), text))
        }
        Write::Lease {
            subnet,
            owner: Some(owner),
            before: Some(before),
            rival: None,
            ..
        } if owner != before && !are_of_one_node(*owner, *before, nodes) => {
            let text = format!("{owner} takes {subnet}, whose lease {before} holds");
            Err(finding(Vec::new(), text))
        }
        Write::Lease { .. } | Write::Gone { .. } | Write::Junk | Write::Stray => Ok(()),
    }
}

/// Tells whether a node had one address and has the other.
fn are_of_one_node(one: Ipv4Addr, other: Ipv4Addr, nodes: usize) -> bool {
    let node = NodeId::by_public_ip(one, nodes);
    node.is_some() && node == NodeId::by_public_ip(other, nodes)
}

/// Checks that a node does not carry a subnet which it has to know to be another's.
pub(crate) fn check_belief(cluster: &RefCluster, node: NodeId, carried: Ipv4Net, now: Instant) -> Verdict {
    let Some((owner, since)) = cluster.taken_by_other(node, carried) else {
        return Ok(());
    };
    match cluster.informed(node, now) {
        Some(informed) if informed >= since => {
            let text = format!("{node} still carries {carried}, which {owner} holds since {since}");
            Err(finding(vec![node], text))
        }
        Some(_) | None => Ok(()),
    }
}

fn finding(nodes: Vec<NodeId>, text: String) -> Finding {
    Finding::new(Invariant::SingleOwner, nodes, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::reservation::Reservation;
    use crate::ref_cluster::fixture::{N1, N2, after, cluster, connected, lease};

    #[test]
    fn a_lease_that_overlaps_another_is_found_whichever_is_the_larger() {
        let mut cluster = cluster(&[("10.5.1.0-24", N1), ("10.5.16.0-20", N1)]);

        let apart = lease(&mut cluster, "10.5.2.0-24", N2, after(2));
        assert_eq!(check_lease(&cluster, &apart), Ok(()));

        for overlapping in ["10.5.0.0-20", "10.5.17.0-24"] {
            let write = lease(&mut cluster, overlapping, N2, after(3));
            let finding = check_lease(&cluster, &write).unwrap_err();
            assert_eq!(finding.invariant, Invariant::SingleOwner);
        }
    }

    #[test]
    fn a_subnet_may_be_taken_when_it_is_free_and_renewed_by_its_holder() {
        let (one, two) = (Some(N1.public_ip()), Some(N2.public_ip()));
        let write = |owner, before| Write::Lease {
            subnet: "10.5.1.0/24".parse().unwrap(),
            owner,
            before,
            rival: None,
            reservation: Reservation::None,
        };

        assert_eq!(check_write(&connected(), &write(one, None), 3), Ok(()));
        assert_eq!(check_write(&connected(), &write(one, one), 3), Ok(()));
        assert!(check_write(&connected(), &write(two, one), 3).is_err());
    }

    #[test]
    fn carrying_anothers_subnet_is_excused_only_until_the_node_has_to_know() {
        let mut cluster = connected();
        lease(&mut cluster, "10.5.1.0-24", N2, after(100));
        let carried = "10.5.1.0/24".parse().unwrap();

        assert_eq!(check_belief(&cluster, N1, carried, after(101)), Ok(()));
        assert_eq!(check_belief(&cluster, N2, carried, after(200)), Ok(()));
        assert!(check_belief(&cluster, N1, carried, after(110)).is_err());
    }
}

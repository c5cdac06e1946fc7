//! A node accepts an inner source only from the node whose lease covers it, as far as it can know.

use std::net::Ipv4Addr;

use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::ref_cluster::RefCluster;
use crate::violation::{Finding, Invariant};

/// Checks a packet from `source` that came from the host `sender`, and that `node` hands to its kernel.
pub(crate) fn check(
    cluster: &RefCluster,
    node: NodeId,
    source: Ipv4Addr,
    sender: Ipv4Addr,
    now: Instant,
) -> Verdict {
    if cluster.may_send(node, source, sender, now) {
        return Ok(());
    }
    let text = match cluster.lease_of(source) {
        Some((subnet, tenure)) => format!(
            "{node} accepts a packet of {source} from {sender}, but {subnet} is {}'s",
            tenure.owner
        ),
        None => format!("{node} accepts a packet of {source} from {sender}, but no lease covers it"),
    };
    Err(Finding::new(Invariant::SourceBinding, [node], text))
}

#[cfg(test)]
mod tests {
    use selvedge_engine::Revision;

    use super::*;
    use crate::ref_cluster::fixture::{N1, N2, N3, after, cluster, lease};

    #[test]
    fn a_source_is_accepted_from_its_owner_alone() {
        let mut cluster = cluster(&[("10.5.2.0-24", N2)]);
        cluster.see(N1, Revision(100));
        let (covered, stray) = (Ipv4Addr::new(10, 5, 2, 9), Ipv4Addr::new(10, 5, 3, 9));

        assert_eq!(check(&cluster, N1, covered, N2.public_ip(), after(200)), Ok(()));
        assert!(check(&cluster, N1, covered, N3.public_ip(), after(200)).is_err());
        assert!(check(&cluster, N1, stray, N2.public_ip(), after(200)).is_err());
    }

    #[test]
    fn the_owner_before_is_accepted_only_until_the_node_has_to_know() {
        let mut cluster = cluster(&[("10.5.2.0-24", N2)]);
        cluster.see(N1, Revision(100));
        lease(&mut cluster, "10.5.2.0-24", N3, after(100));
        let source = Ipv4Addr::new(10, 5, 2, 9);

        assert_eq!(check(&cluster, N1, source, N2.public_ip(), after(101)), Ok(()));
        assert!(check(&cluster, N1, source, N2.public_ip(), after(110)).is_err());
    }
}

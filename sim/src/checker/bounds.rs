//! What a daemon holds is bounded by what the cluster holds.

use selvedge_engine::Holdings;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Watches that a daemon may have open: the leases', the network config's, and for each one that it has just replaced.
const MAX_WATCHES: usize = 4;
/// Kernel objects for the daemon itself: sockets, devices, settings, addresses, routes, the subnet file.
const OWN_OBJECTS: usize = 32;
/// Kernel objects that a peer may cost: wanted and there, a route, a neighbour and a forwarding entry each.
const OBJECTS_PER_PEER: usize = 6;

/// Checks what an engine holds; `keys` is the most records that the store ever held below the leases' prefix.
pub(crate) fn check(node: NodeId, holdings: &Holdings, watches: usize, keys: usize) -> Verdict {
    let Holdings {
        revision: _,
        leases,
        peers,
        stale_peers,
        rejected,
        kernel_objects,
        kernel_operations,
    } = *holdings;
    let objects = OWN_OBJECTS + OBJECTS_PER_PEER * (keys + stale_peers);
    let judged = peers.saturating_sub(stale_peers) + rejected;
    let limits = [
        (leases, keys, "records"),
        (judged, keys, "peers and refused records"),
        (stale_peers, keys, "stale peers"),
        (kernel_objects, objects, "kernel objects"),
        (kernel_operations, objects, "kernel operations"),
        (watches, MAX_WATCHES, "watches"),
    ];
    let excess = limits.into_iter().find(|(count, limit, _)| count > limit);
    let Some((count, limit, what)) = excess else {
        return Ok(());
    };
    let text = format!("{node} holds {count} {what}, {limit} would be enough");
    Err(Finding::new(Invariant::Bounds, [node], text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::N1;

    #[test]
    fn each_size_has_a_limit() {
        let fits = Holdings {
            leases: 10,
            peers: 8,
            rejected: 1,
            kernel_objects: 20,
            ..Holdings::default()
        };
        let too_many = [
            Holdings { leases: 11, ..fits },
            Holdings { peers: 10, ..fits },
            Holdings {
                peers: 19,
                stale_peers: 11,
                ..fits
            },
            Holdings {
                kernel_objects: 100,
                ..fits
            },
            Holdings {
                kernel_operations: 100,
                ..fits
            },
        ];

        assert_eq!(check(N1, &fits, 2, 10), Ok(()));
        assert!(check(N1, &fits, 5, 10).is_err());
        for holdings in too_many {
            assert!(check(N1, &holdings, 2, 10).is_err(), "{holdings:?}");
        }
    }
}

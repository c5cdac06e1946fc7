//! What a daemon holds is bounded by what the cluster holds.

use selvedge_engine::Holdings;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Watches that a daemon may have open: the leases', the network config's, and for each one that it has just replaced.
const MAX_WATCHES: usize = 4;
/// Kernel objects for the daemon itself: sockets, devices, settings, addresses, routes, the subnet file.
const OWN_OBJECTS: usize = 32;
/// Kernel objects that a peer may cost: wanted and there, a route, a neighbour, a forwarding entry and three members each.
const OBJECTS_PER_PEER: usize = 12;

/// How much of what a daemon holds there is in its world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    /// The watches that it has open.
    pub(crate) watches: usize,
    /// The most records that the store ever held below the leases' prefix.
    pub(crate) records: usize,
    /// The ranges that so many leases can have.
    pub(crate) ranges: usize,
}

/// Checks what an engine holds.
pub(crate) fn check(node: NodeId, holdings: &Holdings, census: &Census) -> Verdict {
    let Census {
        watches,
        records,
        ranges,
    } = *census;
    let Holdings {
        revision: _,
        leases,
        peers,
        stale_peers,
        rejected,
        kernel_objects,
        kernel_operations,
    } = *holdings;
    let objects = OWN_OBJECTS + OBJECTS_PER_PEER * (ranges + stale_peers);
    let judged = peers.saturating_sub(stale_peers) + rejected;
    let limits = [
        (leases, records, "records"),
        (judged, ranges, "peers and refused records"),
        (stale_peers, ranges, "stale peers"),
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
                kernel_objects: 160,
                ..fits
            },
            Holdings {
                kernel_operations: 160,
                ..fits
            },
        ];

        let census = |watches| Census {
            watches,
            records: 10,
            ranges: 10,
        };

        assert_eq!(check(N1, &fits, &census(2)), Ok(()));
        assert!(check(N1, &fits, &census(5)).is_err());
        for holdings in too_many {
            assert!(check(N1, &holdings, &census(2)).is_err(), "{holdings:?}");
        }
    }
}

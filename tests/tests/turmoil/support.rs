//! What the scenarios share.

use std::net::Ipv4Addr;
use std::time::Duration;

use selvedge_engine::{Event, Subnet};
use selvedge_sim::grpc::{Call, Fate};
use selvedge_tests::turmoil_cluster::{ClusterOptions, Loss, TurmoilCluster, TurmoilNode};

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// How often each pod sends to each other.
pub(crate) const PACE: Duration = Duration::from_millis(100);

/// Returns a cluster whose nodes know each other, with packets between all of its pods.
pub(crate) fn joined(options: ClusterOptions) -> TurmoilCluster {
    let mut cluster = TurmoilCluster::new(options);
    cluster.await_healthy(Duration::from_secs(10));
    cluster.start_traffic(PACE);
    cluster
}

/// Puts the lease of a new peer and waits until all nodes forward to it.
pub(crate) fn news_spread(cluster: &mut TurmoilCluster, within: Duration) {
    let newcomer = put_newcomer(cluster);
    cluster.run_until(within, "all learn of a new peer", |cluster| {
        cluster.nodes.iter().all(|node| knows(node, &newcomer))
    });
}

pub(crate) fn put_newcomer(cluster: &TurmoilCluster) -> Subnet {
    cluster.put_peer("10.5.250.0-24", Ipv4Addr::new(192, 0, 2, 7))
}

pub(crate) fn knows(node: &TurmoilNode, peer: &Subnet) -> bool {
    node.peers().contains_key(peer)
}

/// Lets every call meet one fate.
pub(crate) fn set_fate(cluster: &TurmoilCluster, fate: Fate) {
    cluster.store.set_fates(move |_| fate);
}

/// Lets every call of one method meet a fate, and all others be answered.
pub(crate) fn set_fate_of(cluster: &TurmoilCluster, chosen: Call, fate: Fate) {
    cluster
        .store
        .set_fates(move |call| if call == chosen { fate } else { Fate::Answer });
}

pub(crate) fn was_unreachable(events: &[Event]) -> bool {
    events
        .iter()
        .any(|event| matches!(event, Event::StoreUnreachable { .. }))
}

/// Checks that packets between other nodes all arrived, and those from and to `node` but for a time.
pub(crate) fn assert_gap_around(losses: &[Loss], node: usize, limit: Duration) {
    for loss in losses {
        assert!(loss.sent > 0, "{loss:?}");
        if loss.from == node || loss.to == node {
            assert!(loss.longest <= limit, "{loss:?}");
        } else {
            assert_eq!(loss.lost, 0, "{loss:?}");
        }
    }
}

//! Small clusters for the tests of the model and of the checkers.

use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, Instant, KeyValue, Revision, WatchEvent};

use super::{RefCluster, Windows, Write};
use crate::node_id::NodeId;
use crate::scenario::Backend;

pub(crate) const N1: NodeId = NodeId::new(1);
pub(crate) const N2: NodeId = NodeId::new(2);
pub(crate) const N3: NodeId = NodeId::new(3);

/// Makes a cluster of three nodes that have been connected to the store since the beginning.
pub(crate) fn connected() -> RefCluster {
    let windows = Windows::new(Duration::ZERO, Duration::from_mins(2), Duration::from_hours(1));
    let mut cluster = RefCluster::new(3, b"/net/subnets/".to_vec(), Backend::Udp, windows);
    for node in [N1, N2, N3] {
        cluster.set_connected(node, true, Instant::ZERO);
    }
    cluster
}

/// Makes such a cluster with these leases, written after a second.
pub(crate) fn cluster(leases: &[(&str, NodeId)]) -> RefCluster {
    let mut cluster = connected();
    for (subnet, owner) in leases {
        lease(&mut cluster, subnet, *owner, after(1));
    }
    cluster
}

pub(crate) fn lease(cluster: &mut RefCluster, subnet: &str, owner: NodeId, now: Instant) -> Write {
    let put = put_at(subnet, &value_of(owner), Revision(5), Some(EtcdLeaseId(7)));
    cluster.observe(&put, now)
}

/// Returns an operator's write that gives a subnet to a node for good.
pub(crate) fn reservation_of(subnet: &str, owner: NodeId) -> WatchEvent {
    put(subnet, &value_of(owner))
}

pub(crate) fn delete(cluster: &mut RefCluster, subnet: &str, now: Instant) -> Write {
    let event = WatchEvent::Delete {
        key: format!("/net/subnets/{subnet}").into_bytes(),
        mod_revision: Revision(9),
    };
    cluster.observe(&event, now)
}

pub(crate) fn put(key: &str, value: &str) -> WatchEvent {
    put_at(key, value, Revision(5), None)
}

/// Returns a write that creates a key after all that [`put`] does.
pub(crate) fn put_later(key: &str, value: &str) -> WatchEvent {
    put_at(key, value, Revision(6), None)
}

fn value_of(owner: NodeId) -> String {
    format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, owner.public_ip())
}

fn put_at(key: &str, value: &str, revision: Revision, lease: Option<EtcdLeaseId>) -> WatchEvent {
    WatchEvent::Put(KeyValue {
        key: format!("/net/subnets/{key}").into_bytes(),
        value: value.as_bytes().to_vec(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease,
    })
}

pub(crate) fn after(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

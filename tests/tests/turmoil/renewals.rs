//! Renewals against an etcd that is well and one that is not.

use std::time::Duration;

use selvedge_engine::Event;
use selvedge_sim::EtcdStore;
use selvedge_sim::grpc::{Call, Fate};
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster, TurmoilNode};

use crate::support::{MINUTE, joined, set_fate, set_fate_of};

#[test]
fn leases_are_renewed_in_place() {
    let mut cluster = joined(ClusterOptions::new(400));
    let (leases, etcd_leases) = (cluster.leases(), cluster.etcd_leases());

    come_near_the_end(&cluster);

    await_renewed(&mut cluster, Duration::from_secs(35));
    assert_eq!(cluster.leases(), leases);
    assert_eq!(cluster.etcd_leases(), etcd_leases);
    assert_unharmed(cluster);
}

#[test]
fn renewals_whose_answers_are_lost_or_refused_are_tried_again() {
    let calls = [Call::Txn, Call::LeaseKeepAlive];
    let fates = [
        Fate::LoseAnswer,
        Fate::Refuse,
        Fate::Deny,
        Fate::Delay(Duration::from_secs(5)),
    ];
    let both = calls.into_iter().flat_map(|call| fates.map(|fate| (call, fate)));
    for (seed, (call, fate)) in both.enumerate() {
        let mut cluster = joined(ClusterOptions::new(410 + seed as u64));
        let (leases, etcd_leases) = (cluster.leases(), cluster.etcd_leases());
        set_fate_of(&cluster, call, fate);
        come_near_the_end(&cluster);
        cluster.run_for(MINUTE);
        assert!(!cluster.nodes.iter().any(was_renewed), "{call:?} {fate:?}");

        set_fate(&cluster, Fate::Answer);

        await_renewed(&mut cluster, Duration::from_secs(20));
        assert_eq!(cluster.leases(), leases, "{call:?} {fate:?}");
        assert_eq!(cluster.etcd_leases(), etcd_leases, "{call:?} {fate:?}");
        assert_unharmed(cluster);
    }
}

#[test]
fn keys_that_an_operator_wrote_again_without_a_lease_are_kept_as_they_are() {
    let mut cluster = joined(ClusterOptions::new(420));
    let leases = cluster.leases();
    for node in 0..3 {
        cluster.partition(node);
    }
    for (subnet, value) in &leases {
        let key = format!("/coreos.com/network/subnets/{subnet}");
        let put = |store: &mut EtcdStore| store.put(key.as_bytes(), value.as_bytes(), None);
        cluster.store.act(|store, _| put(store)).unwrap();
    }
    for id in cluster.etcd_leases() {
        cluster.store.act(|store, _| store.revoke(id)).unwrap();
    }
    cluster.run_for(Duration::from_secs(20));
    for node in 0..3 {
        cluster.heal(node);
    }
    cluster.run_for(MINUTE);

    assert_eq!(cluster.leases(), leases);
    assert!(
        cluster.etcd_leases().is_empty(),
        "keys without a lease are reservations"
    );
    cluster.assert_traffic_was_whole();
}

/// Lets 23 hours pass for the nodes as if they had been suspended; etcd's clock stays, so no lease ends.
fn come_near_the_end(cluster: &TurmoilCluster) {
    for node in &cluster.nodes {
        node.take_events();
        node.clock.jump(Duration::from_hours(23));
    }
}

fn await_renewed(cluster: &mut TurmoilCluster, within: Duration) {
    for node in 0..3 {
        cluster.run_until(within, "the lease is renewed", |cluster| {
            was_renewed(&cluster.nodes[node])
        });
    }
}

fn was_renewed(node: &TurmoilNode) -> bool {
    let told = node.take_events();
    told.iter()
        .any(|event| matches!(event, Event::LeaseRenewed { .. }))
}

fn assert_unharmed(mut cluster: TurmoilCluster) {
    cluster.await_healthy(Duration::ZERO);
    cluster.run_for(Duration::from_secs(2));
    cluster.assert_traffic_was_whole();
}

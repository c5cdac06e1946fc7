//! Leases that are taken away: revoked, deleted, or given to another node.

use std::time::Duration;

use selvedge_engine::{Event, LeaseRecord};
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, assert_gap_around, joined};

#[test]
fn a_node_whose_etcd_lease_is_revoked_takes_the_same_subnet_again() {
    let cluster = joined(ClusterOptions::new(300));
    let etcd_lease = cluster.etcd_lease_of(0).unwrap();

    assert_taken_again(cluster, |cluster| {
        cluster.store.act(|store, _| store.revoke(etcd_lease)).unwrap();
    });
}

#[test]
fn a_node_whose_key_is_deleted_takes_the_same_subnet_again() {
    let cluster = joined(ClusterOptions::new(301));
    let subnet = cluster.nodes[0].subnet().unwrap();

    assert_taken_again(cluster, |cluster| cluster.delete_key(&subnet));
}

#[test]
fn a_node_whose_key_was_deleted_while_it_was_cut_off_takes_the_same_subnet_again() {
    let mut cluster = joined(ClusterOptions::new(302));
    let subnets = cluster.subnets();

    cluster.partition(0);
    cluster.run_for(Duration::from_secs(20));
    cluster.delete_key(&subnets["node0"].unwrap());
    cluster.run_for(MINUTE);
    assert_eq!(cluster.subnets(), subnets);
    cluster.heal(0);

    cluster.await_healthy(Duration::from_secs(35));
    assert_eq!(cluster.subnets(), subnets);
    cluster.run_for(Duration::from_secs(2));
    let losses = cluster.stop_traffic();
    // For others it was gone from the deletion on.
    assert_gap_around(&losses, 0, 2 * MINUTE);
}

#[test]
fn a_node_whose_subnet_was_given_away_while_it_was_cut_off_takes_another() {
    let mut cluster = joined(ClusterOptions::new(303));
    let before = cluster.nodes[0].subnet().unwrap();

    cluster.partition(0);
    cluster.run_for(Duration::from_secs(20));
    cluster.delete_key(&before);
    cluster.put_peer(&before.to_string(), [192, 0, 2, 9].into());
    cluster.run_for(MINUTE);
    cluster.heal(0);

    cluster.await_healthy(Duration::from_secs(35));
    assert_ne!(cluster.nodes[0].subnet(), Some(before));
    let given = cluster.leases()[&before.to_string()].clone();
    let record = LeaseRecord::decode(given.as_bytes()).unwrap();
    assert_eq!(record.public_ip.octets(), [192, 0, 2, 9], "it is not overwritten");
    // The old pods' addresses are no longer the node's.
    let losses = cluster.stop_traffic();
    assert!(
        losses
            .iter()
            .all(|loss| loss.from == 0 || loss.to == 0 || loss.lost == 0)
    );
    cluster.start_traffic(Duration::from_millis(100));
    cluster.run_for(Duration::from_secs(2));
    cluster.assert_traffic_was_whole();
}

fn assert_taken_again(mut cluster: TurmoilCluster, take_away: impl Fn(&TurmoilCluster)) {
    let subnets = cluster.subnets();
    cluster.nodes[0].take_events();

    take_away(&cluster);
    cluster.run_until(Duration::from_secs(1), "the node hears of it", |cluster| {
        let told = cluster.nodes[0].take_events();
        told.iter().any(|event| matches!(event, Event::LeaseLost { .. }))
    });

    cluster.await_healthy(Duration::from_secs(5));
    assert_eq!(cluster.subnets(), subnets);
    cluster.run_for(Duration::from_secs(2));
    let losses = cluster.stop_traffic();
    assert_gap_around(&losses, 0, Duration::from_secs(2));
}

//! Connections that break, die without a word or were never there, with one member of etcd and with three.

use std::time::Duration;

use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, PACE, joined, news_spread};

#[test]
fn a_member_that_falls_silent_is_left_for_another() {
    let mut cluster = joined(three_members(100));
    let subnets = cluster.subnets();

    for node in 0..3 {
        cluster.hold(node, 0);
    }
    news_spread(&mut cluster, Duration::from_secs(20));
    cluster.run_for(MINUTE);
    for node in 0..3 {
        cluster.release(node, 0);
    }
    cluster.run_for(MINUTE);

    cluster.await_healthy(Duration::ZERO);
    assert_eq!(cluster.subnets(), subnets);
    cluster.assert_traffic_was_whole();
}

#[test]
fn nodes_join_although_the_first_member_is_silent() {
    let mut cluster = TurmoilCluster::new(three_members(101));
    for node in 0..3 {
        cluster.hold(node, 0);
    }

    assert_joins(cluster, Duration::from_secs(15));
}

#[test]
fn nodes_join_although_two_members_are_down() {
    let mut cluster = TurmoilCluster::new(three_members(102));
    cluster.stop_etcd(0);
    cluster.stop_etcd(1);

    assert_joins(cluster, Duration::from_secs(10));
}

#[test]
fn each_member_may_die_in_turn() {
    let mut cluster = joined(three_members(103));
    let subnets = cluster.subnets();

    for member in 0..3 {
        cluster.stop_etcd(member);
        let peer = cluster.put_peer(&format!("10.5.20{member}.0-24"), [192, 0, 2, 7].into());
        cluster.run_until(Duration::from_secs(10), "all learn of a new peer", |cluster| {
            cluster.nodes.iter().all(|node| node.peers().contains_key(&peer))
        });
        cluster.start_etcd(member);
    }

    cluster.await_healthy(Duration::ZERO);
    assert_eq!(cluster.subnets(), subnets);
    cluster.assert_traffic_was_whole();
}

#[test]
fn a_connection_that_is_only_half_there_is_noticed() {
    for seed in 110..115 {
        let mut cluster = joined(ClusterOptions::new(seed));
        let subnets = cluster.subnets();

        // TCP in the simulation does not send again what is lost: the node's side stays, and stays silent.
        cluster.partition_answers(0, 0);
        let missed = cluster.put_peer("10.5.240.0-24", [192, 0, 2, 9].into());
        cluster.run_for(Duration::from_secs(1));
        cluster.heal_answers(0, 0);

        cluster.run_until(
            Duration::from_secs(20),
            "the node learns what it missed",
            |cluster| cluster.nodes[0].peers().contains_key(&missed),
        );
        cluster.await_healthy(Duration::ZERO);
        assert_eq!(cluster.subnets(), subnets);
        cluster.assert_traffic_was_whole();
    }
}

fn three_members(seed: u64) -> ClusterOptions {
    ClusterOptions {
        members: 3,
        ..ClusterOptions::new(seed)
    }
}

fn assert_joins(mut cluster: TurmoilCluster, within: Duration) {
    cluster.await_healthy(within);
    cluster.start_traffic(PACE);
    cluster.run_for(Duration::from_secs(1));
    cluster.assert_traffic_was_whole();
}

//! etcd goes away while the nodes run: traffic goes on, and everything is as before once etcd is back.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_engine::{Event, Subnet};
use selvedge_sim::grpc::Fate;
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, PACE, joined, knows, news_spread, put_newcomer, set_fate, was_unreachable};

#[test]
fn a_node_cut_off_from_etcd_carries_on_and_catches_up() {
    for seed in 20..25 {
        let mut cluster = joined(ClusterOptions::new(seed));
        let subnets = cluster.subnets();

        cluster.partition(0);
        // What the node misses: a new peer, and the history it would have to read to learn of it.
        let newcomer = put_newcomer(&cluster);
        cluster.compact();
        cluster.run_for(MINUTE);
        assert!(was_unreachable(&cluster.nodes[0].take_events()));
        assert!(!knows(&cluster.nodes[0], &newcomer));
        assert!(knows(&cluster.nodes[1], &newcomer));
        cluster.heal(0);

        cluster.run_until(
            Duration::from_secs(35),
            "the node learns what it missed",
            |cluster| knows(&cluster.nodes[0], &newcomer),
        );
        assert!(cluster.nodes[0].take_events().contains(&Event::StoreReached));
        assert_as_before(cluster, &subnets);
    }
}

#[test]
fn nodes_outlive_a_restart_of_etcd() {
    let mut cluster = joined(ClusterOptions::new(6));
    let subnets = cluster.subnets();

    cluster.stop_etcd(0);
    cluster.run_for(5 * MINUTE);
    cluster.start_etcd(0);

    news_spread(&mut cluster, Duration::from_secs(35));
    assert_as_before(cluster, &subnets);
}

#[test]
fn nodes_outlive_an_etcd_whose_machine_lost_power() {
    let mut cluster = joined(ClusterOptions::new(7));
    let subnets = cluster.subnets();

    // Nobody says that the connections are gone.
    for node in 0..3 {
        cluster.partition(node);
    }
    cluster.stop_etcd(0);
    cluster.run_for(Duration::from_secs(2));
    for node in 0..3 {
        cluster.heal(node);
    }
    cluster.start_etcd(0);

    news_spread(&mut cluster, Duration::from_secs(20));
    assert_as_before(cluster, &subnets);
}

#[test]
fn nodes_outlive_a_loss_of_the_leader() {
    let mut cluster = joined(ClusterOptions::new(8));
    let subnets = cluster.subnets();

    set_fate(&cluster, Fate::Refuse);
    cluster.store.end_watches();
    cluster.run_for(Duration::from_secs(20));
    for node in &cluster.nodes {
        let told: Vec<String> = node.take_events().iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains("no leader")), "{told:#?}");
    }
    set_fate(&cluster, Fate::Answer);

    news_spread(&mut cluster, Duration::from_secs(20));
    assert_as_before(cluster, &subnets);
}

#[test]
fn nodes_outlive_an_etcd_that_takes_five_seconds_for_each_call() {
    let mut cluster = joined(ClusterOptions::new(9));
    let subnets = cluster.subnets();

    set_fate(&cluster, Fate::Delay(Duration::from_secs(5)));
    cluster.store.end_watches();
    news_spread(&mut cluster, MINUTE);
    cluster.run_for(10 * MINUTE);
    set_fate(&cluster, Fate::Answer);

    cluster.await_healthy(Duration::from_secs(35));
    assert_as_before(cluster, &subnets);
}

#[test]
fn nodes_that_lose_their_rights_carry_on_and_catch_up_when_they_have_them_again() {
    let mut cluster = joined(ClusterOptions::new(10));
    let subnets = cluster.subnets();

    set_fate(&cluster, Fate::Deny);
    cluster.store.end_watches();
    let newcomer = put_newcomer(&cluster);
    cluster.run_for(5 * MINUTE);
    for node in &cluster.nodes {
        let told: Vec<String> = node.take_events().iter().map(ToString::to_string).collect();
        assert!(
            told.iter().any(|line| line.contains("permission denied")),
            "{told:#?}"
        );
        assert!(!knows(node, &newcomer));
    }
    set_fate(&cluster, Fate::Answer);

    cluster.run_until(Duration::from_secs(35), "all learn what they missed", |cluster| {
        cluster.nodes.iter().all(|node| knows(node, &newcomer))
    });
    assert_as_before(cluster, &subnets);
}

#[test]
fn nodes_cut_off_for_longer_than_their_leases_live_take_the_same_subnets_again() {
    let mut cluster = joined(ClusterOptions::new(11));
    let subnets = cluster.subnets();

    for node in 0..3 {
        cluster.partition(node);
    }
    cluster.run_for(5 * MINUTE);
    cluster.suspend(Duration::from_hours(25));
    cluster.run_for(5 * MINUTE);
    assert!(cluster.leases().is_empty(), "the leases expired");
    cluster.assert_traffic_was_whole();
    cluster.start_traffic(PACE);
    for node in 0..3 {
        cluster.heal(node);
    }

    cluster.await_healthy(Duration::from_secs(35));
    assert_eq!(cluster.subnets(), subnets);
    // Whoever comes back first finds no peers: how long depends on when the others try again.
    let losses = cluster.stop_traffic();
    assert!(
        losses.iter().all(|loss| loss.longest < Duration::from_secs(35)),
        "{losses:#?}"
    );
    cluster.start_traffic(PACE);
    cluster.run_for(MINUTE);
    cluster.assert_traffic_was_whole();
}

/// Checks that no packet was lost from the beginning, and that every node has what it had.
fn assert_as_before(mut cluster: TurmoilCluster, subnets: &BTreeMap<String, Option<Subnet>>) {
    cluster.await_healthy(Duration::ZERO);
    assert_eq!(cluster.subnets(), *subnets);
    cluster.run_for(Duration::from_secs(5));
    cluster.assert_traffic_was_whole();
}

//! Watches that etcd ends or refuses: no change is missed for ever.

use std::time::Duration;

use selvedge_sim::grpc::{Call, Fate};
use selvedge_tests::turmoil_cluster::ClusterOptions;

use crate::support::{MINUTE, joined, knows, put_newcomer, set_fate, set_fate_of};

#[test]
fn a_watch_whose_history_was_compacted_is_replaced_by_a_list() {
    let mut cluster = joined(ClusterOptions::new(200));
    let subnets = cluster.subnets();
    let leaver = cluster.put_peer("10.5.240.0-24", [192, 0, 2, 9].into());
    cluster.run_until(Duration::from_secs(2), "all know the leaver", |cluster| {
        cluster.nodes.iter().all(|node| knows(node, &leaver))
    });

    set_fate_of(&cluster, Call::Watch, Fate::Refuse);
    cluster.store.end_watches();
    cluster.delete_key(&leaver);
    let newcomer = put_newcomer(&cluster);
    cluster.compact();
    cluster.run_for(Duration::from_secs(5));
    assert!(
        cluster
            .nodes
            .iter()
            .all(|node| knows(node, &leaver) && !knows(node, &newcomer))
    );
    set_fate(&cluster, Fate::Answer);

    cluster.run_until(Duration::from_secs(10), "all are up to date", |cluster| {
        cluster
            .nodes
            .iter()
            .all(|node| !knows(node, &leaver) && knows(node, &newcomer))
    });
    cluster.await_healthy(Duration::ZERO);
    assert_eq!(cluster.subnets(), subnets);
    cluster.assert_traffic_was_whole();
}

#[test]
fn nodes_whose_watches_are_refused_learn_by_lists() {
    let mut cluster = joined(ClusterOptions::new(201));
    let subnets = cluster.subnets();

    set_fate_of(&cluster, Call::Watch, Fate::Refuse);
    cluster.store.end_watches();
    let newcomer = put_newcomer(&cluster);

    cluster.run_until(8 * MINUTE, "all list anew", |cluster| {
        cluster.nodes.iter().all(|node| knows(node, &newcomer))
    });
    assert_eq!(cluster.subnets(), subnets);
    cluster.assert_traffic_was_whole();
}

#[test]
fn watches_that_end_again_and_again_lose_nothing() {
    let mut cluster = joined(ClusterOptions::new(202));

    for number in 200..220 {
        cluster.store.end_watches();
        cluster.put_peer(&format!("10.5.{number}.0-24"), [192, 0, 2, 9].into());
        cluster.run_for(Duration::from_millis(300));
    }

    cluster.run_until(Duration::from_secs(10), "all know all", |cluster| {
        cluster.nodes.iter().all(|node| node.peers().len() == 22)
    });
    cluster.assert_traffic_was_whole();
}

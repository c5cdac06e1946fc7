//! A graceful stop in every step of a node's life: it ends soon, and the next life finds nothing in its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selvedge_engine::{ExitReason, Phase};
use selvedge_sim::grpc::{Call, Fate};
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, PACE, joined, set_fate};

/// How long a node may take to end: the loop waits a second for its last requests.
const PARTING: Duration = Duration::from_millis(1500);

#[test]
fn a_node_that_stops_leaves_its_lease_and_gets_the_same_subnet_again() {
    let mut cluster = joined(ClusterOptions::new(500));
    let (subnets, leases) = (cluster.subnets(), cluster.leases());

    stop(&mut cluster, 1);
    assert_eq!(cluster.leases(), leases);
    cluster.restart(1);

    cluster.await_healthy(Duration::from_secs(5));
    assert_eq!(cluster.subnets(), subnets);
    let losses = cluster.stop_traffic();
    assert!(
        losses
            .iter()
            .all(|loss| loss.from == 1 || loss.to == 1 || loss.lost == 0)
    );
    assert_carries(cluster);
}

#[test]
fn a_node_stops_while_it_waits_for_any_answer() {
    let calls = [Call::Range, Call::LeaseGrant, Call::Txn, Call::Watch];
    for (seed, call) in calls.into_iter().enumerate() {
        let mut cluster = TurmoilCluster::new(one_node(510 + seed as u64));
        let asked = delay(&cluster, call);
        cluster.run_until(MINUTE, "the call is made", |_| asked.load(Ordering::Relaxed));

        stop(&mut cluster, 0);
        set_fate(&cluster, Fate::Answer);
        cluster.restart(0);

        cluster.await_healthy(Duration::from_secs(5));
    }
}

#[test]
fn a_node_stops_while_it_renews() {
    for (seed, call) in [Call::Txn, Call::LeaseKeepAlive].into_iter().enumerate() {
        let mut cluster = joined(ClusterOptions::new(520 + seed as u64));
        let (subnets, leases) = (cluster.subnets(), cluster.leases());
        let asked = delay(&cluster, call);
        cluster.nodes[0].clock.jump(Duration::from_hours(23));
        cluster.run_until(MINUTE, "the call is made", |_| asked.load(Ordering::Relaxed));

        stop(&mut cluster, 0);
        assert_eq!(cluster.leases(), leases);
        set_fate(&cluster, Fate::Answer);
        cluster.restart(0);

        cluster.await_healthy(Duration::from_secs(5));
        assert_eq!(cluster.subnets(), subnets);
        assert_carries(cluster);
    }
}

#[test]
fn a_node_stops_while_its_kernel_is_slow() {
    let mut cluster = TurmoilCluster::new(one_node(530));
    *cluster.nodes[0].pace.lock().unwrap() = Duration::from_secs(5);
    cluster.run_until(MINUTE, "the node prepares", |cluster| {
        cluster.nodes[0].phase() == Some(Phase::Preparing)
    });

    stop(&mut cluster, 0);
    let leases = cluster.leases();
    *cluster.nodes[0].pace.lock().unwrap() = Duration::ZERO;
    cluster.restart(0);

    cluster.await_healthy(Duration::from_secs(5));
    assert_eq!(cluster.leases(), leases);
}

#[test]
fn a_node_stops_while_etcd_is_away_or_silent() {
    let away: [fn(&mut TurmoilCluster); 3] = [
        |cluster| cluster.stop_etcd(0),
        |cluster| cluster.partition(0),
        |cluster| cluster.hold(0, 0),
    ];
    let back: [fn(&mut TurmoilCluster); 3] = [
        |cluster| cluster.start_etcd(0),
        |cluster| cluster.heal(0),
        |cluster| cluster.release(0, 0),
    ];
    for (seed, (away, back)) in away.into_iter().zip(back).enumerate() {
        for wait in [Duration::ZERO, MINUTE] {
            let mut cluster = joined(ClusterOptions::new(540 + seed as u64));
            let (subnets, leases) = (cluster.subnets(), cluster.leases());
            away(&mut cluster);
            cluster.run_for(wait);

            stop(&mut cluster, 0);
            back(&mut cluster);
            assert_eq!(cluster.leases(), leases);
            cluster.restart(0);

            cluster.await_healthy(Duration::from_secs(35));
            assert_eq!(cluster.subnets(), subnets);
            assert_carries(cluster);
        }
    }
}

#[test]
fn a_node_stops_before_it_ever_reached_etcd() {
    let mut cluster = TurmoilCluster::new(one_node(550));
    cluster.hold(0, 0);
    cluster.run_for(Duration::from_secs(1));

    stop(&mut cluster, 0);

    assert!(cluster.leases().is_empty());
    assert!(cluster.etcd_leases().is_empty());
}

fn one_node(seed: u64) -> ClusterOptions {
    ClusterOptions {
        nodes: 1,
        ..ClusterOptions::new(seed)
    }
}

/// Holds back every answer to a call, and tells when it was made.
fn delay(cluster: &TurmoilCluster, chosen: Call) -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    cluster.store.set_fates(move |call| {
        if call != chosen {
            return Fate::Answer;
        }
        heard.store(true, Ordering::Relaxed);
        Fate::Delay(Duration::from_secs(3))
    });
    asked
}

fn stop(cluster: &mut TurmoilCluster, node: usize) {
    cluster.nodes[node].stop();
    cluster.run_until(PARTING, "the node ends", |cluster| {
        cluster.nodes[node].exit().is_some()
    });
    assert_eq!(cluster.nodes[node].exit(), Some(ExitReason::Shutdown));
}

fn assert_carries(mut cluster: TurmoilCluster) {
    cluster.start_traffic(PACE);
    cluster.run_for(Duration::from_secs(1));
    cluster.assert_traffic_was_whole();
}

//! Nodes start while etcd is well, away, slow, forgetful or unwilling.

use std::time::Duration;

use etherparse::{Ipv4HeaderSlice, PacketBuilder};
use selvedge_engine::KernelObject;
use selvedge_sim::grpc::{Call, Fate};
use selvedge_tests::turmoil_cluster::{ClusterOptions, TurmoilCluster};

use crate::support::{MINUTE, PACE, set_fate, set_fate_of, was_unreachable};

#[test]
fn nodes_find_each_other_and_carry_packets() {
    let mut cluster = TurmoilCluster::new(ClusterOptions::new(1));

    cluster.await_healthy(Duration::from_secs(5));

    assert_eq!(cluster.leases().len(), 3);
    for node in 0..3 {
        let kinds: [fn(&KernelObject) -> bool; 5] = [
            |object| matches!(object, KernelObject::Socket(_)),
            |object| matches!(object, KernelObject::Link(_)),
            |object| matches!(object, KernelObject::Address(_)),
            |object| matches!(object, KernelObject::Route(_)),
            |object| matches!(object, KernelObject::SubnetFile(_)),
        ];
        assert_eq!(kinds.map(|kind| cluster.has_object(node, kind)), [true; 5]);
    }
    let sent = packet(&cluster, 0, 2);
    cluster.nodes[0].tun.route(sent.clone());
    cluster.run_for(Duration::from_secs(1));
    let arrived = cluster.nodes[2].tun.take_delivered();
    let [arrived] = arrived.as_slice() else {
        panic!("{arrived:?}")
    };
    let ttl = |packet: &[u8]| Ipv4HeaderSlice::from_slice(packet).unwrap().ttl();
    assert_eq!(arrived[20..], sent[20..]);
    assert_eq!(ttl(arrived), ttl(&sent) - 2);
}

#[test]
fn nodes_without_etcd_at_start_wait_for_it() {
    let mut cluster = TurmoilCluster::new(ClusterOptions::new(2));
    cluster.stop_etcd(0);
    cluster.run_for(5 * MINUTE);
    assert!(cluster.nodes.iter().all(|node| node.subnet().is_none()));
    assert!(was_unreachable(&cluster.nodes[0].take_events()));

    cluster.start_etcd(0);

    join(cluster, Duration::from_secs(35));
}

#[test]
fn nodes_that_hear_nothing_of_etcd_at_start_wait_for_it() {
    let mut cluster = TurmoilCluster::new(ClusterOptions::new(3));
    for node in 0..3 {
        cluster.hold(node, 0);
    }
    cluster.run_for(5 * MINUTE);
    assert!(cluster.nodes.iter().all(|node| node.subnet().is_none()));
    assert!(was_unreachable(&cluster.nodes[0].take_events()));

    for node in 0..3 {
        cluster.release(node, 0);
    }

    join(cluster, Duration::from_secs(35));
}

#[test]
fn nodes_join_while_etcd_takes_four_seconds_for_each_call() {
    let cluster = TurmoilCluster::new(ClusterOptions::new(4));
    set_fate(&cluster, Fate::Delay(Duration::from_secs(4)));

    join(cluster, 2 * MINUTE);
}

#[test]
fn nodes_whose_calls_are_carried_out_but_never_answered_take_one_subnet_each() {
    for (seed, call) in [Call::Range, Call::LeaseGrant, Call::Txn, Call::Watch]
        .into_iter()
        .enumerate()
    {
        let mut cluster = TurmoilCluster::new(ClusterOptions::new(40 + seed as u64));
        set_fate_of(&cluster, call, Fate::LoseAnswer);
        cluster.run_for(Duration::from_secs(10));

        set_fate(&cluster, Fate::Answer);

        join(cluster, Duration::from_secs(20));
    }
}

#[test]
fn nodes_whose_etcd_dies_between_commit_and_answer_take_one_subnet_each() {
    let mut cluster = TurmoilCluster::new(ClusterOptions::new(5));
    set_fate_of(&cluster, Call::Txn, Fate::Delay(MINUTE));
    cluster.run_until(MINUTE, "a lease is written", |cluster| {
        !cluster.leases().is_empty()
    });
    cluster.stop_etcd(0);
    cluster.run_for(Duration::from_secs(10));
    let written = cluster.leases();

    set_fate(&cluster, Fate::Answer);
    cluster.start_etcd(0);

    cluster.await_healthy(Duration::from_secs(20));
    assert!(written.iter().all(|lease| cluster.leases().contains_key(lease.0)));
    join(cluster, Duration::ZERO);
}

#[test]
fn nodes_without_the_right_to_read_or_write_wait_for_it() {
    for (seed, call) in [Call::Range, Call::LeaseGrant, Call::Txn, Call::Watch]
        .into_iter()
        .enumerate()
    {
        let mut cluster = TurmoilCluster::new(ClusterOptions::new(60 + seed as u64));
        set_fate_of(&cluster, call, Fate::Deny);
        cluster.run_for(MINUTE);
        let told: Vec<String> = cluster.nodes[0]
            .take_events()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            told.iter().any(|line| line.contains("permission denied")),
            "{told:#?}"
        );

        set_fate(&cluster, Fate::Answer);

        join(cluster, Duration::from_secs(35));
    }
}

fn join(mut cluster: TurmoilCluster, within: Duration) {
    cluster.await_healthy(within);
    cluster.start_traffic(PACE);
    cluster.run_for(Duration::from_secs(1));
    cluster.assert_traffic_was_whole();
}

fn packet(cluster: &TurmoilCluster, from: usize, to: usize) -> Vec<u8> {
    let [from, to] = [from, to].map(|node| cluster.nodes[node].pod().octets());
    let payload = b"across the overlay";
    let builder = PacketBuilder::ipv4(from, to, 63).udp(1234, 5678);
    let mut packet = vec![0; builder.size(payload.len())];
    builder.write_to_slice(&mut packet, payload).unwrap();
    packet
}

//! The real host loop with the real etcd client: what an event loop over pure engines cannot see, such as
//! reconnects, dead connections, cancelled watches and shutdown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{Ipv4HeaderSlice, PacketBuilder};
use selvedge_engine::{Event, ExitReason, KernelObject, Revision, StorePrefix, Subnet};
use selvedge_tests::turmoil_cluster::{TurmoilCluster, TurmoilNode};

/// Leaves room for peers that the tests write themselves.
const CONFIG: &str = r#"{"Network":"10.5.0.0/16","SubnetMax":"10.5.199.0"}"#;
const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn nodes_find_each_other_and_carry_packets() {
    let cluster = joined(1);

    assert_eq!(cluster.leases().len(), 3);
    for node in &cluster.nodes {
        let objects = node.objects.lock().unwrap();
        let kinds = [
            objects
                .iter()
                .any(|object| matches!(object, KernelObject::Socket(_))),
            objects
                .iter()
                .any(|object| matches!(object, KernelObject::Link(_))),
            objects
                .iter()
                .any(|object| matches!(object, KernelObject::Address(_))),
            objects
                .iter()
                .any(|object| matches!(object, KernelObject::Route(_))),
            objects
                .iter()
                .any(|object| matches!(object, KernelObject::SubnetFile(_))),
        ];
        assert_eq!(kinds, [true; 5], "{objects:?}");
    }
    assert_all_reach_all(cluster);
}

#[test]
fn a_node_cut_off_from_etcd_carries_on_and_catches_up() {
    for seed in 20..30 {
        cut_off_and_catch_up(joined(seed));
    }
}

fn cut_off_and_catch_up(mut cluster: TurmoilCluster) {
    let subnets = subnets(&cluster);
    let leases = cluster.leases();

    cluster.partition(0);
    // What the node misses: a new peer, and the history it would have to read to learn of it.
    let newcomer = put_peer(&cluster, "10.5.250.0-24", Ipv4Addr::new(192, 0, 2, 7));
    compact(&cluster);
    cluster.run_for(MINUTE);

    let told = cluster.nodes[0].take_events();
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::StoreUnreachable { .. })),
        "{told:?}"
    );
    assert!(!cluster.nodes[0].peers().contains_key(&newcomer));
    assert!(cluster.nodes[1].peers().contains_key(&newcomer));
    assert!(reaches(&mut cluster, 0, 1));
    assert!(reaches(&mut cluster, 1, 0));

    cluster.heal(0);
    cluster.run_until(MINUTE, "the node learns what it missed", |cluster| {
        cluster.nodes[0].peers().contains_key(&newcomer)
    });

    let told = cluster.nodes[0].take_events();
    assert!(told.contains(&Event::StoreReached), "{told:?}");
    assert_eq!(self::subnets(&cluster), subnets);
    let mut expected = leases;
    expected.insert(
        "10.5.250.0-24".to_owned(),
        r#"{"PublicIP":"192.0.2.7"}"#.to_owned(),
    );
    assert_eq!(cluster.leases(), expected);
    assert_all_reach_all(cluster);
}

#[test]
fn nodes_outlive_a_restart_of_etcd() {
    let mut cluster = joined(3);
    let subnets = subnets(&cluster);

    cluster.stop_etcd();
    cluster.run_for(MINUTE);
    assert!(reaches(&mut cluster, 0, 2));
    cluster.start_etcd();
    let newcomer = put_peer(&cluster, "10.5.251.0-24", Ipv4Addr::new(192, 0, 2, 8));

    cluster.run_until(MINUTE, "all learn of a new peer", |cluster| {
        cluster
            .nodes
            .iter()
            .all(|node| node.peers().contains_key(&newcomer))
    });
    assert_eq!(self::subnets(&cluster), subnets);
}

#[test]
fn a_node_without_etcd_at_start_waits_for_it() {
    let mut cluster = TurmoilCluster::new(4, 1, CONFIG);
    cluster.partition(0);
    cluster.run_for(MINUTE);
    assert_eq!(cluster.nodes[0].subnet(), None);

    cluster.heal(0);

    cluster.run_until(MINUTE, "the node holds a subnet", |cluster| {
        cluster.nodes[0].subnet().is_some()
    });
}

#[test]
fn a_node_that_stops_leaves_its_lease_and_gets_the_same_subnet_again() {
    let mut cluster = joined(5);
    let subnets = subnets(&cluster);
    let leases = cluster.leases();

    cluster.nodes[1].stop();
    cluster.run_until(MINUTE, "the node ends", |cluster| {
        cluster.nodes[1].exit().is_some()
    });
    assert_eq!(cluster.nodes[1].exit(), Some(ExitReason::Shutdown));
    assert_eq!(cluster.leases(), leases);
    cluster.restart(1);
    cluster.run_for(Duration::from_secs(5));

    assert_eq!(self::subnets(&cluster), subnets);
    assert_all_reach_all(cluster);
}

fn joined(seed: u64) -> TurmoilCluster {
    let mut cluster = TurmoilCluster::new(seed, 3, CONFIG);
    cluster.run_until(MINUTE, "all know each other", |cluster| cluster.all_have_peers(2));
    cluster
}

fn subnets(cluster: &TurmoilCluster) -> BTreeMap<String, Option<Subnet>> {
    let entry = |node: &TurmoilNode| (node.name.clone(), node.subnet());
    cluster.nodes.iter().map(entry).collect()
}

fn put_peer(cluster: &TurmoilCluster, subnet: &str, public_ip: Ipv4Addr) -> Subnet {
    let subnet = Subnet::parse(subnet).unwrap();
    let key = StorePrefix::default().lease_key(&subnet);
    let value = format!(r#"{{"PublicIP":"{public_ip}"}}"#);
    cluster
        .store
        .act(|store, _| store.put(&key, value.as_bytes(), None))
        .unwrap();
    subnet
}

fn compact(cluster: &TurmoilCluster) {
    cluster
        .store
        .act(|store, _| {
            let Revision(newest) = store.header().revision;
            store.compact(Revision(newest))
        })
        .unwrap();
}

fn assert_all_reach_all(mut cluster: TurmoilCluster) {
    for from in 0..cluster.nodes.len() {
        for to in (0..cluster.nodes.len()).filter(|to| *to != from) {
            assert!(reaches(&mut cluster, from, to), "node{from} to node{to}");
        }
    }
}

/// Sends a packet from a pod of one node to a pod of another, and tells whether exactly it arrives there.
fn reaches(cluster: &mut TurmoilCluster, from: usize, to: usize) -> bool {
    let sent = packet(pod(&cluster.nodes[from]), pod(&cluster.nodes[to]));
    cluster.nodes[to].tun.take_delivered();

    cluster.nodes[from].tun.route(sent.clone());
    cluster.run_for(Duration::from_secs(1));

    let arrived = cluster.nodes[to].tun.take_delivered();
    let [arrived] = arrived.as_slice() else {
        return false;
    };
    let ttl = |packet: &[u8]| Ipv4HeaderSlice::from_slice(packet).unwrap().ttl();
    arrived.len() == sent.len() && arrived[20..] == sent[20..] && ttl(arrived) == ttl(&sent) - 2
}

fn pod(node: &TurmoilNode) -> Ipv4Addr {
    let subnet = node.subnet().and_then(|subnet| subnet.v4()).unwrap();
    Ipv4Addr::from(u32::from(subnet.network()) + 2)
}

fn packet(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let payload = b"across the overlay";
    let builder = PacketBuilder::ipv4(from.octets(), to.octets(), 63).udp(1234, 5678);
    let mut packet = vec![0; builder.size(payload.len())];
    builder.write_to_slice(&mut packet, payload).unwrap();
    packet
}

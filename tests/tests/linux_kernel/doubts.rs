//! What happens to the node by itself casts doubt on it; what the adapter does itself does not.

use std::net::Ipv4Addr;
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use selvedge_engine::KernelEvent;
use selvedge_host::kernel::Kernel as _;
use selvedge_tests::need;

use super::objects::{
    MAC, PEERS_MAC, address, fdb_entry, gateways, link, neighbour, onlink, tunnel, tunnel_v6,
};
use super::support::{Node, add_underlay, bridge, in_namespace, ip};

const TUNNELS: [&str; 2] = ["flannel.1", "flannel-v6.1"];

#[test]
fn own_operations_cast_no_doubt() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = node_at_rest().await;
        let all = || tunnel().into_iter().chain(tunnel_v6());

        for object in all().collect::<Vec<_>>().into_iter().rev() {
            node.remove(object).await;
        }
        node.is_quiet().await;
        for object in all().chain(gateways()) {
            node.replace(object).await;
        }
        node.is_quiet().await;
        for object in all() {
            node.ensure(object).await;
        }
        node.replace(neighbour("flannel.1", "10.50.2.0", MAC)).await;
        node.replace(fdb_entry(
            "flannel.1",
            PEERS_MAC,
            Ipv4Addr::new(192, 0, 2, 3).into(),
        ))
        .await;
        node.remove(address("flannel-v6.1", "fd50:0:0:1::/128")).await;
        node.is_quiet().await;
        // With the device goes all that hangs on it.
        node.remove(link()).await;
        node.is_quiet().await;
    });
}

#[test]
fn whatever_happens_to_what_was_made_casts_doubt() {
    need!(root, ip, bridge);

    in_namespace(async || {
        let mut node = node_at_rest().await;
        for change in [
            "ip route del 10.50.2.0/24",
            "ip -6 route del fd50:0:0:2::/64",
            "ip route replace 10.50.2.0/24 via 192.0.2.9",
            "ip -6 route replace fd50:0:0:2::/64 via 2001:db8:77::9",
            "ip neigh del 10.50.2.0 dev flannel.1",
            "ip -6 neigh del fd50:0:0:2:: dev flannel-v6.1",
            "ip neigh replace 10.50.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
            "ip neigh change 10.50.2.0 lladdr 16:00:00:00:00:02 dev flannel.1 nud stale",
            "bridge fdb del 16:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self",
            "bridge fdb replace 16:00:00:00:00:02 dev flannel.1 dst 192.0.2.9 self permanent",
            "bridge fdb del 16:00:00:00:00:02 dev flannel-v6.1 dst 2001:db8:77::2 self",
            "ip addr del 10.50.1.0/32 dev flannel.1",
            "ip addr del fd50:0:0:1::/128 dev flannel-v6.1",
            "ip link set flannel.1 down",
            "ip link set flannel-v6.1 down",
            "ip link set flannel.1 mtu 1300",
            "ip link set flannel.1 address 02:00:00:00:00:99",
            "ip link del flannel.1",
            "ip link del flannel-v6.1",
        ] {
            assert_casts_doubt(&mut node, change).await;
            for object in tunnel().into_iter().chain(tunnel_v6()) {
                node.replace(object).await;
            }
            node.settle().await;
        }
    });
}

#[test]
fn a_renamed_device_casts_doubt() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = node_at_rest().await;

        assert_casts_doubt(&mut node, "ip link set flannel.1 name other").await;
        assert_casts_doubt(&mut node, "ip link set other name flannel.1").await;
    });
}

#[test]
fn whatever_happens_to_the_underlay_casts_doubt() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = node_at_rest().await;

        for change in [
            "ip addr add 192.0.2.77/24 dev eth0",
            "ip addr del 192.0.2.77/24 dev eth0",
            "ip addr add 2001:db8:77::77/64 dev eth0 nodad",
            "ip addr del 2001:db8:77::77/64 dev eth0",
            "ip route add 198.51.100.0/24 dev eth0",
            "ip route del 198.51.100.0/24 dev eth0",
            "ip -6 route add 2001:db8:99::/64 dev eth0",
            "ip link set eth0 mtu 9000",
            "ip link set eth0 address 02:00:00:00:00:55",
            "ip link set eth0 down",
            "ip link set eth0 up",
            "ip link add eth1 type bridge",
            "ip link del eth0",
        ] {
            assert_casts_doubt(&mut node, change).await;
        }
    });
}

/// After a restart the engine makes nothing that it finds to be right.
#[test]
fn what_a_survey_found_is_watched_like_what_was_made() {
    need!(root, ip, bridge);

    in_namespace(async || {
        drop(node_at_rest().await);
        let mut node = Node::new();
        node.survey(&TUNNELS).await;
        node.settle().await;

        for change in [
            "ip neigh del 10.50.2.0 dev flannel.1",
            "ip neigh replace fd50:0:0:2:: lladdr 02:00:00:00:00:99 dev flannel-v6.1 nud permanent",
            "bridge fdb del 16:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self",
            "ip route del 10.50.2.0/24",
            "ip addr del 10.50.1.0/32 dev flannel.1",
            "ip link set flannel.1 down",
        ] {
            assert_casts_doubt(&mut node, change).await;
        }
    });
}

#[test]
fn what_concerns_nobody_casts_no_doubt() {
    need!(root, ip, bridge);

    in_namespace(async || {
        let mut node = node_at_rest().await;

        ip("neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev eth0 nud permanent");
        ip("neigh add 10.50.9.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud stale");
        ip("route add 10.5.0.0/16 via 192.0.2.7 table 77");
        ip("link set eth0 alias uplink");
        ip("link set eth0 txqueuelen 77");

        node.is_quiet().await;
    });
}

#[test]
fn a_storm_of_changes_is_a_few_doubts() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = node_at_rest().await;
        let (stop, stopped) = mpsc::channel::<()>();
        let storm = std::thread::spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                ip("route add 198.51.100.0/24 dev eth0");
                ip("route del 198.51.100.0/24 dev eth0");
            }
        });

        let mut doubts = 0;
        let end = tokio::time::Instant::now() + Duration::from_secs(1);
        while let Ok(event) = tokio::time::timeout_at(end, node.kernel.next_event()).await {
            assert!(matches!(event, KernelEvent::Doubted), "{event:?}");
            doubts += 1;
        }

        drop(stop);
        storm.join().unwrap();
        assert!((2..=10).contains(&doubts), "{doubts} doubts in a second");
    });
}

#[test]
fn a_doubt_outlives_the_future_that_waits_for_it() {
    need!(root, ip);

    in_namespace(async || {
        let mut node = node_at_rest().await;
        ip("route del 10.50.2.0/24");

        for _ in 0..20 {
            let short = Duration::from_millis(1);
            if tokio::time::timeout(short, node.kernel.next_event())
                .await
                .is_ok()
            {
                return;
            }
            node.ensure(onlink("flannel.1", "10.50.7.0/24", "10.50.7.0"))
                .await;
        }

        node.doubts("a lost route").await;
    });
}

/// A node with both tunnels and one peer, of which everything is told.
async fn node_at_rest() -> Node {
    add_underlay();
    let mut node = Node::new();
    node.survey(&TUNNELS).await;
    for object in tunnel().into_iter().chain(tunnel_v6()) {
        node.ensure(object).await;
    }
    node.settle().await;
    node
}

async fn assert_casts_doubt(node: &mut Node, change: &str) {
    node.is_quiet().await;
    let (program, args) = change.split_once(' ').unwrap();
    match program {
        "bridge" => bridge(args),
        _ => ip(args),
    };
    node.doubts(change).await;
}

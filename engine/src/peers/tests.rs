use alloc::format;
use alloc::vec::Vec;

use super::*;
use crate::setup::StorePrefix;
use crate::store::{Header, KeyValue};

#[test]
fn of_overlapping_leases_the_oldest_wins_whatever_their_order() {
    let peers = select(&[("10.50.2.0-25", "192.0.2.3", 9), ("10.50.2.0-24", "192.0.2.2", 5)]);

    assert_eq!(accepted(&peers), ["10.50.2.0-24 192.0.2.2"]);
    assert_eq!(reasons(&peers), [RejectReason::OverlapsPeer]);
}

#[test]
fn a_lease_that_would_take_the_network_or_this_nodes_subnet_is_refused() {
    let peers = select(&[
        ("0.0.0.0-0", "192.0.2.2", 1),
        ("10.50.0.0-16", "192.0.2.3", 2),
        ("10.50.1.128-25", "192.0.2.4", 3),
        ("10.60.1.0-24", "192.0.2.5", 4),
    ]);

    assert!(peers.accepted.is_empty());
    assert_eq!(
        reasons(&peers),
        [
            RejectReason::OutsideNetwork,
            RejectReason::OutsideNetwork,
            RejectReason::OverlapsOwn,
            RejectReason::OutsideNetwork
        ]
    );
}

#[test]
fn a_public_ip_that_reaches_nobody_is_refused() {
    let peers = select(&[
        ("10.50.2.0-24", "0.0.0.0", 1),
        ("10.50.3.0-24", "127.0.0.1", 2),
        ("10.50.4.0-24", "224.0.0.1", 3),
        ("10.50.5.0-24", "255.255.255.255", 4),
        ("10.50.6.0-24", "192.0.2.1", 5),
    ]);

    assert!(peers.accepted.is_empty());
    assert_eq!(
        reasons(&peers)
            .iter()
            .filter(|reason| **reason == RejectReason::BadPublicIp)
            .count(),
        4
    );
    assert_eq!(reasons(&peers).last(), Some(&RejectReason::OwnPublicIp));
}

#[test]
fn a_dual_stack_lease_is_a_peer_by_its_ipv4_part_and_an_ipv6_one_is_none() {
    let peers = select(&[
        ("10.50.2.0-24&fd50:0:0:2::-64", "192.0.2.2", 1),
        ("0.0.0.0-0&fd50:0:0:3::-64", "192.0.2.3", 2),
    ]);

    assert_eq!(peers.v4().count(), 1);
    assert_eq!(reasons(&peers), [RejectReason::WrongFamily]);
}

fn select(leases: &[(&str, &str, i64)]) -> Peers {
    let prefix = StorePrefix::default();
    let kvs = leases.iter().map(|(subnet, public_ip, revision)| KeyValue {
        key: format!("/coreos.com/network/subnets/{subnet}").into_bytes(),
        value: format!(r#"{{"PublicIP":"{public_ip}"}}"#).into_bytes(),
        create_revision: Revision(*revision),
        mod_revision: Revision(*revision),
        version: 1,
        lease: None,
    });
    let mut view = Leases::new(prefix);
    view.apply_list(&Header::default(), kvs.collect());
    let standpoint = Standpoint {
        network: "10.50.0.0/16".parse().expect("a network"),
        public_ip: Ipv4Addr::new(192, 0, 2, 1),
        own_key: b"/coreos.com/network/subnets/10.50.1.0-24",
        own_subnet: "10.50.1.0/24".parse().expect("a network"),
    };
    Peers::select(&view, &standpoint)
}

fn accepted(peers: &Peers) -> Vec<String> {
    peers
        .accepted
        .iter()
        .map(|(subnet, public_ip)| format!("{subnet} {public_ip}"))
        .collect()
}

fn reasons(peers: &Peers) -> Vec<RejectReason> {
    peers.rejected.values().map(|(_, reason)| *reason).collect()
}

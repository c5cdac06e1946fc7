mod properties;
mod support;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::support::{
    Cluster, DUAL, V4, V6, accepted, at, mac, reasons, refusals, standpoint, vxlan, vxlan_value,
};
use super::*;

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

    assert!(accepted(&peers).is_empty());
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

    assert!(accepted(&peers).is_empty());
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
fn a_lease_counts_for_the_ip_versions_that_the_network_has() {
    let value = r#"{"PublicIP":"192.0.2.2","PublicIPv6":"2001:db8::2"}"#;
    let leases = [
        ("10.50.2.0-24&fd50:0:0:2::-64", value, 1),
        ("0.0.0.0-0&fd50:0:0:3::-64", value, 2),
        ("10.50.4.0-24", value, 3),
    ];

    let places = |versions| {
        let mut cluster = Cluster::new(standpoint(&Backend::Alloc, versions, 1, 1));
        cluster.list_values(&leases, Departure::Seen, 0);
        (cluster.places(), reasons(&cluster.peers))
    };

    let v4 = ["10.50.2.0/24 192.0.2.2", "10.50.4.0/24 192.0.2.2"].map(String::from);
    let v6 = ["fd50:0:0:2::/64 2001:db8::2", "fd50:0:0:3::/64 2001:db8::2"].map(String::from);
    assert_eq!(places(V4), (v4.to_vec(), [RejectReason::WrongFamily].to_vec()));
    assert_eq!(places(V6), (v6.to_vec(), [RejectReason::WrongFamily].to_vec()));
    assert_eq!(places(DUAL), ([v4, v6].concat(), Vec::new()));
}

#[test]
fn what_stands_against_one_range_of_a_lease_leaves_the_other_alone() {
    let value = r#"{"PublicIP":"192.0.2.2","PublicIPv6":"2001:db8::2"}"#;
    let other = r#"{"PublicIP":"192.0.2.3","PublicIPv6":"2001:db8::3"}"#;
    let without_v6 = r#"{"PublicIP":"192.0.2.4"}"#;
    let mut cluster = Cluster::new(standpoint(&Backend::Alloc, DUAL, 1, 1));
    let leases = [
        ("10.50.2.0-24&fd50:0:0:2::-64", value, 1),
        ("10.50.2.128-25&fd50:0:0:3::-64", other, 2),
        ("10.50.4.0-24&fd50:0:0:4::-64", without_v6, 3),
        ("10.60.5.0-24&fd50:0:0:2::-80", other, 4),
    ];

    let first = cluster.list_values(&leases, Departure::Seen, 0);
    let refused = refusals(&cluster.peers);
    let places = cluster.places();
    let second = cluster.list_values(&leases[1..], Departure::Seen, 1);

    assert_eq!(
        refused,
        [
            Refusal::Part(IpVersion::V4, RejectReason::OverlapsPeer),
            Refusal::Part(IpVersion::V6, RejectReason::BadPublicIp),
            Refusal::Both {
                v4: RejectReason::OutsideNetwork,
                v6: RejectReason::OverlapsPeer
            },
        ]
    );
    assert_eq!(
        places,
        [
            "10.50.2.0/24 192.0.2.2",
            "10.50.4.0/24 192.0.2.4",
            "fd50:0:0:2::/64 2001:db8::2",
            "fd50:0:0:3::/64 2001:db8::3",
        ]
    );
    let public_ips = |news: PeerNews| {
        news.added
            .into_values()
            .map(|ip| ip.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(public_ips(first), ["192.0.2.2", "2001:db8::3", "192.0.2.4"]);
    assert_eq!(
        public_ips(second),
        ["192.0.2.3", "2001:db8::3"],
        "one is whole now, one has its IPv6 range"
    );
    assert_eq!(cluster.accepted().len(), 3);
}

#[test]
fn of_two_nodes_with_one_hardware_address_the_older_lease_wins_until_it_goes_or_has_another() {
    let two = vxlan_value(2, 2, 2, 2);
    let copy = vxlan_value(3, 2, 3, 2);
    let of_its_own = vxlan_value(2, 4, 2, 2);
    let both = |older| [("10.50.2.0-24", older, 1), ("10.50.3.0-24", copy.as_str(), 2)];
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));

    cluster.list_values(&both(&two), Departure::Seen, 0);
    let (older, refused) = (cluster.places(), reasons(&cluster.peers));
    let changed = cluster.list_values(&both(&of_its_own), Departure::Seen, 1);
    let after = cluster.places();
    cluster.list_values(&both(&two), Departure::Seen, 2);
    let again = cluster.places();
    cluster.list_values(&both(&two)[1..], Departure::Seen, 3);

    assert_eq!(older, ["10.50.2.0/24 192.0.2.2 02:00:00:00:00:02"]);
    assert_eq!(refused, [RejectReason::DuplicateMac]);
    assert_eq!(
        after,
        [
            "10.50.2.0/24 192.0.2.2 02:00:00:00:00:04",
            "10.50.3.0/24 192.0.2.3 02:00:00:00:00:02"
        ]
    );
    assert_eq!(changed.routes.len(), 2, "another hardware address is news");
    assert_eq!(changed.added.len(), 2);
    assert_eq!(again, older);
    assert_eq!(cluster.places(), ["10.50.3.0/24 192.0.2.3 02:00:00:00:00:02"]);
}

#[test]
fn another_nodes_hardware_address_is_told_before_an_overlap_whatever_came_first() {
    let values = [
        vxlan_value(2, 2, 2, 2),
        vxlan_value(3, 3, 3, 3),
        vxlan_value(4, 2, 4, 2),
    ];
    let leases = [
        ("10.50.2.0-24", values[0].as_str(), 1),
        ("10.50.3.0-24", values[1].as_str(), 2),
        ("10.50.3.0-25", values[2].as_str(), 3),
    ];
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));

    cluster.list_values(&leases[1..], Departure::Seen, 0);
    let overlapping = reasons(&cluster.peers);
    cluster.list_values(&leases, Departure::Seen, 1);

    assert_eq!(overlapping, [RejectReason::OverlapsPeer]);
    assert_eq!(reasons(&cluster.peers), [RejectReason::DuplicateMac]);
}

#[test]
fn a_hardware_address_counts_in_each_ip_version_by_itself() {
    let two = vxlan_value(2, 2, 2, 3);
    let three = vxlan_value(3, 3, 3, 3);
    let mut cluster = Cluster::new(standpoint(&vxlan(), DUAL, 1, 1));

    cluster.list_values(
        &[
            ("10.50.2.0-24&fd50:0:0:2::-64", two.as_str(), 1),
            ("10.50.3.0-24&fd50:0:0:3::-64", three.as_str(), 2),
        ],
        Departure::Seen,
        0,
    );

    assert_eq!(
        cluster.places(),
        [
            "10.50.2.0/24 192.0.2.2 02:00:00:00:00:02",
            "10.50.3.0/24 192.0.2.3 02:00:00:00:00:03",
            "fd50:0:0:2::/64 2001:db8::2 02:00:00:00:00:03",
        ]
    );
    assert_eq!(
        refusals(&cluster.peers),
        [Refusal::Part(IpVersion::V6, RejectReason::DuplicateMac)]
    );
}

#[test]
fn one_node_may_hold_several_leases_with_its_hardware_address() {
    let value = vxlan_value(2, 2, 2, 2);
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));

    cluster.list_values(
        &[
            ("10.50.2.0-24", value.as_str(), 1),
            ("10.50.3.0-24", value.as_str(), 2),
        ],
        Departure::Seen,
        0,
    );

    assert_eq!(cluster.accepted().len(), 2);
}

#[test]
fn a_lease_without_a_usable_hardware_address_is_refused() {
    let own = vxlan_value(2, 1, 2, 1);
    let group =
        r#"{"PublicIP":"192.0.2.3","BackendType":"vxlan","BackendData":{"VtepMAC":"01:00:5e:00:00:01"}}"#;
    let none = r#"{"PublicIP":"192.0.2.4","BackendType":"vxlan"}"#;
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));

    cluster.list_values(
        &[
            ("10.50.2.0-24", own.as_str(), 1),
            ("10.50.3.0-24", group, 2),
            ("10.50.4.0-24", none, 3),
        ],
        Departure::Seen,
        0,
    );

    assert!(cluster.places().is_empty());
    assert_eq!(
        reasons(&cluster.peers),
        [
            RejectReason::OwnMac,
            RejectReason::BadBackendData,
            RejectReason::BadBackendData
        ]
    );
}

#[test]
fn a_lease_with_the_hardware_address_of_a_stale_peer_ends_its_time() {
    let (two, copy) = (vxlan_value(2, 2, 2, 2), vxlan_value(3, 2, 3, 2));
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));
    cluster.list_values(&[("10.50.2.0-24", &two, 5)], Departure::Seen, 0);
    cluster.list_values(&[], Departure::Unseen, 100);
    let stale = cluster.peers.stale().count();

    cluster.list_values(&[("10.50.3.0-24", &copy, 7)], Departure::Seen, 101);

    assert_eq!(stale, 1);
    assert_eq!(cluster.places(), ["10.50.3.0/24 192.0.2.3 02:00:00:00:00:02"]);
}

#[test]
fn a_stale_peer_whose_hardware_address_this_node_gets_is_none_any_more() {
    let three = vxlan_value(3, 3, 3, 3);
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));
    cluster.list_values(&[("10.50.2.0-24", &three, 5)], Departure::Seen, 0);
    cluster.list_values(&[], Departure::Unseen, 100);
    let own = cluster.standpoint.ranges.get_mut(&IpVersion::V4).unwrap();
    own.vtep = Some(mac(3));

    let news = cluster.judge_all(101);

    assert_eq!(news.removed.len(), 1);
    assert!(cluster.places().is_empty());
}

#[test]
fn a_stale_peer_is_known_to_be_of_a_node_by_any_of_its_addresses() {
    let v6_alone = r#"{"PublicIPv6":"2001:db8::2"}"#;
    let both = r#"{"PublicIP":"192.0.2.2","PublicIPv6":"2001:db8::2"}"#;
    let mut cluster = Cluster::new(standpoint(&Backend::Alloc, DUAL, 1, 1));
    cluster.list_values(&[("0.0.0.0-0&fd50:0:0:2::-64", v6_alone, 5)], Departure::Seen, 0);
    cluster.list_values(&[], Departure::Unseen, 100);
    let stale = cluster.peers.stale().count();

    cluster.list_values(&[("10.50.3.0-24", both, 6)], Departure::Seen, 101);

    assert_eq!(stale, 1);
    assert_eq!(cluster.places(), ["10.50.3.0/24 192.0.2.2"]);
}

#[test]
fn a_peer_whose_hardware_address_changed_while_nobody_judged_has_no_grace() {
    let (before, after) = (vxlan_value(2, 2, 2, 2), vxlan_value(2, 3, 2, 2));
    let mut cluster = Cluster::new(standpoint(&vxlan(), V4, 1, 1));
    cluster.list_values(&[("10.50.2.0-24", &before, 5)], Departure::Seen, 0);
    cluster.take(&[("10.50.2.0-24", &after, 6)], Departure::Seen);
    let changes = cluster.leases.take_changes();
    let backend = &cluster.standpoint.backend;
    cluster
        .peers
        .note_departures(&changes, &cluster.leases, backend, at(1));

    let news = cluster.list_values(&[], Departure::Unseen, 2);

    assert!(news.stale.is_empty() && cluster.places().is_empty());
}

#[test]
fn a_lease_of_another_backend_is_no_peer_and_one_without_a_type_is() {
    let values = [
        ("10.50.2.0-24", r#"{"PublicIP":"192.0.2.2"}"#),
        ("10.50.3.0-24", r#"{"PublicIP":"192.0.2.3","BackendType":"udp"}"#),
        (
            "10.50.4.0-24",
            r#"{"PublicIP":"192.0.2.4","BackendType":"vxlan","BackendData":{"VNI":1}}"#,
        ),
        (
            "10.50.5.0-24",
            r#"{"PublicIP":"192.0.2.5","BackendType":"","BackendData":[1,"2",{}]}"#,
        ),
    ];
    let values = values.map(|(subnet, value)| (subnet, value, 2));
    let mut cluster = Cluster::of(&[]);

    cluster.list_values(&values, Departure::Seen, 0);

    assert_eq!(
        cluster.accepted(),
        [
            "10.50.2.0-24 192.0.2.2",
            "10.50.3.0-24 192.0.2.3",
            "10.50.5.0-24 192.0.2.5"
        ]
    );
    assert_eq!(reasons(&cluster.peers), [RejectReason::ForeignBackend]);
}

#[test]
fn a_peer_whose_lease_vanished_unseen_is_kept_for_the_grace_time_and_not_longer() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5), ("10.50.3.0-24", "192.0.2.3", 6)]);

    let vanished = cluster.list(&[], Departure::Unseen, 100);
    let before_the_end = cluster.wait_until(119);
    let at_the_end = cluster.wait_until(120);

    assert_eq!(vanished.stale.len(), 2);
    assert!(vanished.routes.is_empty() && before_the_end == PeerNews::default());
    assert_eq!(at_the_end.removed.len(), 2);
    assert!(cluster.accepted().is_empty());
}

#[test]
fn a_peer_whose_end_was_seen_goes_at_once() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);

    let news = cluster.list(&[], Departure::Seen, 100);

    assert_eq!(news.removed.len(), 1);
    assert!(news.stale.is_empty() && cluster.accepted().is_empty());
}

#[test]
fn a_stale_peer_that_writes_its_lease_again_is_a_peer_as_before_and_nobody_is_told() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
    cluster.list(&[], Departure::Unseen, 100);

    let news = cluster.list(&[("10.50.2.0-24", "192.0.2.2", 2)], Departure::Seen, 110);

    assert_eq!(news, PeerNews::default());
    assert_eq!(cluster.wait_until(200), PeerNews::default());
    assert_eq!(cluster.accepted(), ["10.50.2.0-24 192.0.2.2"]);
}

#[test]
fn any_lease_against_a_stale_peer_ends_its_time() {
    for (subnet, public_ip) in [
        ("10.50.2.0-24", "192.0.2.9"),
        ("10.50.2.64-26", "192.0.2.9"),
        ("10.50.0.0-20", "192.0.2.9"),
        // It cannot be used, but somebody says that the subnet is theirs.
        ("10.50.2.0-25", "127.0.0.1"),
        // The node has another subnet now.
        ("10.50.8.0-24", "192.0.2.2"),
    ] {
        let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
        cluster.list(&[], Departure::Unseen, 100);

        cluster.list(&[(subnet, public_ip, 7)], Departure::Seen, 101);

        let stale = cluster.peers.stale().count();
        let is_kept = cluster.accepted().contains(&"10.50.2.0-24 192.0.2.2".into());
        assert!(stale == 0 && !is_kept, "{subnet} {public_ip}");
    }
}

#[test]
fn junk_and_other_subnets_leave_a_stale_peer_alone() {
    let mut cluster = Cluster::of(&[("10.50.2.0-24", "192.0.2.2", 5)]);
    cluster.list(&[], Departure::Unseen, 100);

    cluster.list(
        &[("0.0.0.0-0", "192.0.2.9", 7), ("10.50.3.0-24", "192.0.2.3", 8)],
        Departure::Seen,
        101,
    );

    assert_eq!(
        cluster.accepted(),
        ["10.50.2.0-24 192.0.2.2", "10.50.3.0-24 192.0.2.3"]
    );
}

fn select(leases: &[(&str, &str, i64)]) -> Peers {
    Cluster::of(leases).peers
}

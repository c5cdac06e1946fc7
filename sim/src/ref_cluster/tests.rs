use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, Revision, WatchEvent};

use super::fixture::{self, N1, N2, N3, after, connected};
use super::{RefCluster, Write, parse_subnet};
use crate::node_id::NodeId;
use crate::scenario::Model;

#[test]
fn a_connected_node_has_to_know_a_lease_after_the_propagation_time() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));

    assert!(!cluster.must_know(N1, ADDRESS, N2, after(101)));
    assert!(cluster.must_know(N1, ADDRESS, N2, after(103)));
    assert!(!cluster.must_know(N1, ADDRESS, N1, after(103)));
}

#[test]
fn a_node_without_the_store_keeps_what_it_had_to_know_and_learns_nothing() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    cluster.set_connected(N1, false, after(110));
    cluster.observe(&delete(), after(120));
    cluster.observe(&put(N3), after(121));

    assert!(!cluster.must_know(N1, ADDRESS, N3, after(500)));

    cluster.set_connected(N1, true, after(500));

    assert!(!cluster.must_know(N1, ADDRESS, N3, after(510)));
    assert!(cluster.must_know(N1, ADDRESS, N3, after(560)));
}

#[test]
fn a_restarted_node_knows_nothing_at_first() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));

    cluster.forget(N1, Model::Selvedge, after(200));
    cluster.set_connected(N1, true, after(200));

    assert!(!cluster.must_know(N1, ADDRESS, N2, after(230)));
    assert!(cluster.must_know(N1, ADDRESS, N2, after(250)));
}

#[test]
fn a_node_may_send_by_a_lease_that_it_has_seen_until_it_has_to_know_of_its_end() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));

    assert!(!cluster.may_send(N1, ADDRESS, N2.public_ip(), after(101)));

    cluster.see(N1, Revision(5));
    cluster.observe(&delete(), after(110));

    assert!(cluster.may_send(N1, ADDRESS, N2.public_ip(), after(111)));
    assert!(!cluster.may_send(N1, ADDRESS, N3.public_ip(), after(111)));
    assert!(!cluster.may_send(N1, ADDRESS, N2.public_ip(), after(113)));
}

#[test]
fn a_node_has_to_carry_once_its_lease_is_known_and_its_tunnel_at_rest() {
    let mut cluster = connected();
    cluster.observe(&put(N1), after(100));

    assert!(!cluster.must_carry(N1, after(101)));
    assert!(cluster.must_carry(N1, after(103)));

    cluster.disturb(N1, after(103));

    assert!(!cluster.must_carry(N1, after(110)));
    assert!(cluster.must_carry(N1, after(150)));
}

#[test]
fn a_node_that_missed_a_change_has_to_know_it_once_it_has_a_list_or_should_have_one() {
    let deaf = |model| {
        let mut cluster = connected();
        cluster.lose_change(N1, model, Revision(5), after(100));
        cluster.observe(&put(N2), after(100));
        cluster
    };
    let knows = |cluster: &RefCluster, second| cluster.must_know(N1, ADDRESS, N2, after(second));
    let mut ours = deaf(Model::Selvedge);
    let flannels = deaf(Model::Flannel);

    assert_eq!(
        [110, 590, 600].map(|second| knows(&ours, second)),
        [false, false, true]
    );
    assert!(!knows(&flannels, 600));

    ours.list(N1, Revision(4), after(120));
    assert!(!knows(&ours, 130));
    ours.list(N1, Revision(5), after(130));
    assert!(knows(&ours, 130));
}

#[test]
fn a_fenced_node_need_not_carry_before_it_could_renew_its_lease() {
    let mut cluster = connected();
    cluster.observe(&put(N1), after(100));
    cluster.set_renewable(N1, false, after(100));
    cluster.fence(N1);

    assert!(!cluster.must_carry(N1, after(500)));
    cluster.set_renewable(N1, true, after(500));
    assert!(!cluster.must_carry(N1, after(530)));
    assert!(cluster.must_carry(N1, after(550)));
}

#[test]
fn of_two_keys_of_a_subnet_the_older_one_that_can_be_read_counts() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    let doubled = fixture::put_later("10.5.1.0-24&fd99:0:0:7::-64", STRANGER);

    cluster.observe(&doubled, after(110));
    assert!(cluster.must_know(N1, ADDRESS, N2, after(200)));

    cluster.observe(&fixture::put("10.5.1.0-24", "spoilt"), after(200));
    assert_eq!(
        cluster.leases().map(|(_, owner)| owner).next(),
        Some(Ipv4Addr::new(203, 0, 113, 77))
    );
    assert!(cluster.has_strangers());
}

#[test]
fn a_renewal_changes_nothing_and_another_owner_does() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    cluster.observe(&put(N2), after(200));

    assert!(cluster.must_know(N1, ADDRESS, N2, after(200)));

    cluster.observe(&put(N3), after(300));

    assert!(!cluster.must_know(N1, ADDRESS, N2, after(300)));
    let taken = cluster.taken_by_other(N2, subnet());
    assert_eq!(taken, Some((N3.public_ip(), after(300))));
    assert_eq!(cluster.taken_by_other(N3, subnet()), None);
}

#[test]
fn after_a_wipe_a_node_may_keep_its_peers_for_the_grace_time_and_no_longer() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    cluster.see(N1, Revision(5));

    cluster.restart_history(&[], after(200));
    cluster.set_connected(N1, true, after(201));

    assert!(cluster.may_keep(N1, subnet(), N2.public_ip(), after(250)));
    assert!(cluster.may_keep(N1, subnet(), N2.public_ip(), after(365)));
    assert!(!cluster.may_keep(N1, subnet(), N2.public_ip(), after(367)));
    assert!(!cluster.may_keep(N1, subnet(), N3.public_ip(), after(250)));
    assert!(!cluster.may_send(N1, ADDRESS, N2.public_ip(), after(367)));
}

#[test]
fn the_grace_time_stands_while_the_store_is_away() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    cluster.see(N1, Revision(5));

    cluster.restart_history(&[], after(200));
    cluster.set_connected(N1, true, after(201));
    cluster.set_connected(N1, false, after(296));
    cluster.set_connected(N1, true, after(900));

    // It had to follow the store for 50 seconds before the second absence, and has to again from 945 on.
    assert!(cluster.may_keep(N1, subnet(), N2.public_ip(), after(1_014)));
    assert!(!cluster.may_keep(N1, subnet(), N2.public_ip(), after(1_016)));
}

#[test]
fn flannel_keeps_nobody() {
    let mut cluster = connected();
    cluster.forget(N1, Model::Flannel, Instant::ZERO);
    cluster.set_connected(N1, true, Instant::ZERO);
    cluster.observe(&put(N2), after(100));
    cluster.see(N1, Revision(5));

    cluster.restart_history(&[], after(200));
    cluster.set_connected(N1, true, after(201));

    assert!(!cluster.may_send(N1, ADDRESS, N2.public_ip(), after(250)));
}

#[test]
fn a_lease_that_ended_in_an_absence_may_be_kept_only_if_the_absence_was_long() {
    for (hours, may_keep) in [(2, true), (0, false)] {
        let mut cluster = connected();
        cluster.observe(&put(N2), after(100));
        cluster.see(N1, Revision(5));
        let back = 200 + hours * 3600;

        cluster.set_connected(N1, false, after(110));
        cluster.observe(&delete(), after(120));
        cluster.set_connected(N1, true, after(back));

        let kept = cluster.may_keep(N1, subnet(), N2.public_ip(), after(back + 60));
        assert_eq!(kept, may_keep, "{hours}");
        assert!(!cluster.may_keep(N1, subnet(), N2.public_ip(), after(back + 166)));
    }
}

#[test]
fn a_lease_that_ended_under_a_nodes_eyes_may_not_be_kept() {
    let mut cluster = connected();
    cluster.observe(&put(N2), after(100));
    cluster.see(N1, Revision(5));

    cluster.observe(&delete(), after(200));
    cluster.restart_history(&[], after(230));
    cluster.set_connected(N1, true, after(231));

    assert!(!cluster.may_send(N1, ADDRESS, N2.public_ip(), after(232)));
}

#[test]
fn a_lease_against_a_peer_that_a_node_had_to_see_ends_its_time() {
    for (subnet_of_other, owner) in [("10.5.1.128-25", N3), ("10.5.9.0-24", N2)] {
        let mut cluster = connected();
        cluster.observe(&put(N2), after(100));
        cluster.see(N1, Revision(5));
        cluster.restart_history(&[], after(200));
        cluster.set_connected(N1, true, after(201));

        fixture::lease(&mut cluster, subnet_of_other, owner, after(250));

        assert!(cluster.may_keep(N1, subnet(), N2.public_ip(), after(251)));
        assert!(!cluster.may_keep(N1, subnet(), N2.public_ip(), after(253)));
    }
}

#[test]
fn junk_and_stray_keys_are_no_leases() {
    let mut cluster = connected();

    let stray = cluster.observe(&fixture::put("hello", ""), after(1));
    cluster.expect_junk(b"/net/subnets/hello".to_vec());
    let junk = cluster.observe(&fixture::put("hello", ""), after(2));

    assert_eq!((stray, junk), (Write::Stray, Write::Junk));
    assert_eq!(cluster.leases().count(), 0);
}

#[test]
fn a_key_with_host_bits_or_anything_else_is_no_subnet() {
    assert_eq!(parse_subnet("10.5.1.0-24"), Some(subnet()));
    for text in ["10.5.1.7-24", "10.5.1.0-33", "10.5.1.0", "10.5.1.0-24/x", ""] {
        assert_eq!(parse_subnet(text), None, "{text}");
    }
}

const STRANGER: &str = r#"{"PublicIP":"203.0.113.77","PublicIPv6":null}"#;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);

fn put(owner: NodeId) -> WatchEvent {
    let value = format!(r#"{{"PublicIP":"{}","PublicIPv6":null}}"#, owner.public_ip());
    fixture::put("10.5.1.0-24", &value)
}

fn delete() -> WatchEvent {
    WatchEvent::Delete {
        key: b"/net/subnets/10.5.1.0-24".to_vec(),
        mod_revision: Revision(6),
    }
}

fn subnet() -> Ipv4Net {
    "10.5.1.0/24".parse().unwrap()
}

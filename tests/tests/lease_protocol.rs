//! The lease protocol step by step: engines against the store's model, with answers lost at chosen places.

use std::time::Duration;

use selvedge_engine::{
    EtcdLeaseId, ExitReason, KernelEvent, KernelObject, LeasePolicy, LinkName, OnExpiry, OnLoss,
    PreviousSubnet, RejectReason, Revision, Setup, StoreRequest,
};
use selvedge_tests::engine_and_store::{Bench, Fate, setup};

/// Has room for 10.50.1.0/24, 10.50.2.0/24 and 10.50.3.0/24.
const THREE_SUBNETS: &str = r#"{"Network":"10.50.0.0/22"}"#;
const CONFIG: &str = r#"{"Network":"10.50.0.0/16"}"#;

#[test]
fn a_new_node_takes_a_free_subnet_and_says_where_it_is() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);

    bench.settle();

    let leases = bench.leases();
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].1, r#"{"PublicIP":"192.0.2.1","PublicIPv6":null}"#);
    assert_eq!(bench.subnet(node).as_ref(), Some(&leases[0].0));
    assert!(bench.node(node).said("ready"));
}

#[test]
fn nodes_learn_each_other_and_forget_who_left() {
    let mut bench = Bench::new(CONFIG);
    let nodes = [bench.add([192, 0, 2, 1]), bench.add([192, 0, 2, 2])];
    bench.settle();
    let other = bench.subnet(nodes[1]).expect("the second node holds a subnet");
    assert_eq!(bench.node(nodes[0]).peers(), [format!("{other} 192.0.2.2")]);

    bench.shut_down(nodes[1]);
    bench.delete(&format!("subnets/{other}"));
    bench.settle();

    assert!(bench.node(nodes[0]).peers().is_empty());
}

#[test]
fn nodes_that_start_together_all_get_different_subnets() {
    let mut bench = Bench::new(r#"{"Network":"10.50.0.0/22","SubnetLen":26}"#);
    let nodes: Vec<_> = (1..=15).map(|last| bench.add([192, 0, 2, last])).collect();

    bench.run_for(Duration::from_mins(2));

    let mut subnets: Vec<_> = nodes.iter().filter_map(|node| bench.subnet(*node)).collect();
    subnets.sort();
    subnets.dedup();
    assert_eq!(subnets.len(), 15, "of 16 subnets the first is left out");
}

#[test]
fn a_restarted_node_takes_over_its_lease_without_writing() {
    let mut bench = Bench::new(CONFIG);
    let first = bench.add([192, 0, 2, 1]);
    bench.settle();
    bench.shut_down(first);
    let revision = bench.store.header().revision;

    let second = bench.add([192, 0, 2, 1]);
    bench.settle();

    assert_eq!(bench.subnet(second), bench.subnet(first));
    assert_eq!(bench.store.header().revision, revision, "nothing was written");
    assert!(bench.node(second).said("own lease found"));
}

#[test]
fn a_node_whose_lease_is_gone_takes_its_previous_subnet() {
    let mut bench = Bench::new(CONFIG);

    let node = bench.add_with(returning_with("10.50.77.0/24"));
    bench.settle();

    assert_eq!(bench.subnet(node).as_deref(), Some("10.50.77.0-24"));
}

#[test]
fn a_previous_subnet_that_another_holds_is_left_alone() {
    let mut bench = Bench::new(CONFIG);
    bench.put("subnets/10.50.77.0-24", r#"{"PublicIP":"192.0.2.9"}"#);

    let node = bench.add_with(returning_with("10.50.77.0/24"));
    bench.settle();

    assert!(bench.subnet(node).is_some_and(|subnet| subnet != "10.50.77.0-24"));
    assert!(
        bench
            .leases()
            .iter()
            .any(|(key, value)| key == "10.50.77.0-24" && value.contains("192.0.2.9"))
    );
}

#[test]
fn a_lease_outside_the_network_is_given_up_for_one_inside() {
    let mut bench = Bench::new(CONFIG);
    bench.put("subnets/10.4.1.0-24", r#"{"PublicIP":"192.0.2.1"}"#);

    let node = bench.add([192, 0, 2, 1]);
    bench.settle();

    assert!(
        bench
            .subnet(node)
            .is_some_and(|subnet| subnet.starts_with("10.50."))
    );
    assert_eq!(bench.leases().len(), 1);
}

#[test]
fn a_reservation_is_honoured_and_stays_without_etcd_lease() {
    let mut bench = Bench::new(CONFIG);
    bench.put("subnets/10.50.8.0-24", r#"{"PublicIP":"192.0.2.1"}"#);

    let node = bench.add([192, 0, 2, 1]);
    bench.run_for(Duration::from_hours(50));

    assert_eq!(bench.subnet(node).as_deref(), Some("10.50.8.0-24"));
    assert_eq!(
        bench
            .store
            .get(b"/coreos.com/network/subnets/10.50.8.0-24")
            .and_then(|kv| kv.lease),
        None
    );
    assert!(bench.store.leases().is_empty());
}

#[test]
fn the_lease_outlives_its_time_to_live_and_wakes_nobody() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let revision = bench.store.header().revision;

    bench.run_for(Duration::from_hours(24 * 7));

    assert_eq!(bench.store.header().revision, revision);
    assert_eq!(bench.leases().len(), 1);
    let requests = bench.node(node).requests.len();
    assert!(
        requests < 7 * 24 * 12 + 100,
        "a list every five minutes, two requests a day: {requests}"
    );
}

#[test]
fn a_renewal_touches_no_key_that_became_anothers() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let lost = bench.subnet(node).expect("a subnet is held");
    bench.break_watches(node);
    bench.node(node).fates.extend([Fate::Lost; 4]);
    bench.delete(&format!("subnets/{lost}"));
    bench.put(&format!("subnets/{lost}"), r#"{"PublicIP":"192.0.2.9"}"#);

    bench.run_for(Duration::from_hours(24));

    let leases = bench.leases();
    assert!(
        leases
            .iter()
            .any(|(key, value)| *key == lost && value.contains("192.0.2.9"))
    );
    assert!(bench.subnet(node).is_some_and(|subnet| subnet != lost));
}

#[test]
fn a_deleted_key_is_taken_again_at_once() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node).expect("a subnet is held");

    bench.delete(&format!("subnets/{subnet}"));
    bench.run_for(Duration::from_secs(1));

    assert_eq!(bench.leases()[0].0, subnet);
    assert!(bench.node(node).said("lost the lease"));
    assert!(bench.node(node).exit.is_none());
}

#[test]
fn the_etcd_lease_of_a_deleted_key_is_given_back() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node).expect("the node holds a subnet");

    bench.delete(&format!("subnets/{subnet}"));
    bench.run_for(Duration::from_secs(5));

    assert_eq!(bench.subnet(node), Some(subnet));
    assert_eq!(bench.leases().len(), 1);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_lease_that_an_operator_turns_into_a_reservation_and_back_leaves_no_etcd_lease_behind() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node).expect("the node holds a subnet");
    let (key, value) = (format!("subnets/{subnet}"), bench.leases()[0].1.clone());
    let full_key = format!("/coreos.com/network/{key}").into_bytes();

    bench.put(&key, &value);
    bench.run_for(Duration::from_hours(50));
    assert_eq!(bench.subnet(node).as_ref(), Some(&subnet));
    assert!(bench.store.leases().is_empty(), "its own was given back");
    assert_eq!(bench.store.get(&full_key).and_then(|kv| kv.lease), None);

    let operators = EtcdLeaseId(77);
    let grant = StoreRequest::LeaseGrant {
        id: operators,
        ttl_seconds: 86_400,
    };
    bench.store.handle(&grant, bench.now).expect("the store grants");
    bench
        .store
        .put(&full_key, value.as_bytes(), Some(operators))
        .expect("the store accepts a put");
    bench.run_for(Duration::from_hours(50));
    assert_eq!(bench.subnet(node).as_ref(), Some(&subnet));
    assert_eq!(bench.store.leases(), [operators], "renewed, not replaced");
}

#[test]
fn a_node_told_to_reallocate_takes_another_subnet_than_the_lost_one() {
    let mut bench = Bench::new(r#"{"Network":"10.50.0.0/28","SubnetLen":30}"#);
    let node = bench.add_with(with_policy(OnLoss::Reallocate, OnExpiry::Keep));
    bench.settle();
    let lost = bench.subnet(node).expect("a subnet is held");

    bench.delete(&format!("subnets/{lost}"));
    bench.run_for(Duration::from_secs(1));

    assert!(bench.subnet(node).is_some_and(|subnet| subnet != lost));
    assert_eq!(bench.leases().len(), 1);
}

#[test]
fn a_node_told_to_reallocate_takes_the_lost_subnet_again_if_no_other_is_free() {
    let only = "10.50.1.0-24";
    let mut bench = Bench::new(
        r#"{"Network":"10.50.0.0/16","SubnetLen":24,"SubnetMin":"10.50.1.0","SubnetMax":"10.50.1.0"}"#,
    );
    let node = bench.add_with(with_policy(OnLoss::Reallocate, OnExpiry::Keep));
    bench.settle();
    let lost = bench.subnet(node);
    assert_eq!(lost.as_deref(), Some(only));

    bench.delete(&format!("subnets/{only}"));
    bench.run_for(Duration::from_secs(1));

    assert_eq!(bench.subnet(node), lost);
    assert_eq!(bench.leases().len(), 1);
}

#[test]
fn a_node_told_to_exit_ends_when_its_lease_is_lost() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add_with(with_policy(OnLoss::Exit, OnExpiry::Keep));
    bench.settle();
    let lost = bench.subnet(node).expect("a subnet is held");

    bench.delete(&format!("subnets/{lost}"));
    bench.settle();

    assert!(matches!(
        bench.node(node).exit,
        Some(ExitReason::LeaseLost { .. })
    ));
}

#[test]
fn by_default_an_outage_beyond_the_lease_stops_no_traffic() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node);
    bench.node(node).fates.extend([Fate::Lost; 10_000]);

    bench.run_for(Duration::from_hours(30));

    assert_eq!(bench.subnet(node), subnet);
}

#[test]
fn a_fenced_node_stops_before_its_lease_ends_and_comes_back_with_the_store() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add_with(with_policy(OnLoss::Reclaim, OnExpiry::Fence));
    bench.settle();
    let subnet = bench.subnet(node);
    bench.break_watches(node);
    bench.cut_off(node);

    bench.run_for(Duration::from_mins(24 * 60 - 14));
    assert_eq!(bench.subnet(node), None, "14 minutes before the end");
    assert!(
        bench
            .node(node)
            .kernel
            .iter()
            .all(|object| matches!(object, KernelObject::SubnetFile(_)))
    );

    bench.run_for(Duration::from_hours(2));
    bench.reconnect(node);
    bench.run_for(Duration::from_mins(1));
    assert_eq!(bench.subnet(node), subnet);
}

#[test]
fn a_grant_whose_answer_is_lost_leaves_no_etcd_lease_behind() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench
        .node(node)
        .fates
        .extend([Fate::Answered, Fate::Answered, Fate::AnswerLost]);

    bench.run_for(Duration::from_secs(10));

    assert!(bench.subnet(node).is_some());
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_write_whose_answer_is_lost_is_read_back_and_not_repeated() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench
        .node(node)
        .fates
        .extend([Fate::Answered, Fate::Answered, Fate::Answered, Fate::AnswerLost]);

    bench.run_for(Duration::from_secs(10));

    assert_eq!(bench.leases().len(), 1);
    assert_eq!(bench.subnet(node), Some(bench.leases()[0].0.clone()));
    let writes = bench
        .node(node)
        .requests
        .iter()
        .filter(|request| matches!(request, StoreRequest::Txn(_)));
    assert_eq!(writes.count(), 1);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_choice_that_grew_stale_on_its_way_is_refused_and_made_anew() {
    let mut bench = Bench::new(r#"{"Network":"10.50.0.0/22","SubnetLen":24}"#);
    let slow = bench.add([192, 0, 2, 1]);
    bench
        .node(slow)
        .fates
        .extend([Fate::Answered, Fate::Answered, Fate::Answered, Fate::HeldBack]);
    bench.settle();

    bench.put("subnets/10.50.0.0-23", r#"{"PublicIP":"192.0.2.8"}"#);
    bench.put("subnets/10.50.2.0-23", r#"{"PublicIP":"192.0.2.9"}"#);
    bench.release(slow);
    bench.run_for(Duration::from_secs(30));

    assert_eq!(bench.subnet(slow), None, "larger subnets fill the network now");
    assert!(bench.node(slow).said("no free subnet"));
}

#[test]
fn a_subnet_that_was_just_released_is_taken_last() {
    let mut bench = Bench::new(THREE_SUBNETS);
    bench.put("subnets/10.50.1.0-24", r#"{"PublicIP":"192.0.2.8"}"#);
    let node = bench.add_with(with_policy(OnLoss::Reallocate, OnExpiry::Keep));
    bench.settle();
    let own = bench.subnet(node).expect("a subnet is held");

    // Now two are free: one that was released under the node's eyes, and one that nobody ever had.
    bench.delete("subnets/10.50.1.0-24");
    bench.settle();
    bench.delete(&format!("subnets/{own}"));
    bench.run_for(Duration::from_secs(1));

    let next = bench.subnet(node).expect("a subnet is held");
    assert!(next != own && next != "10.50.1.0-24", "{next}");
}

#[test]
fn a_subnet_that_becomes_free_is_taken_at_once_by_a_node_that_waits_for_one() {
    let mut bench = Bench::new(THREE_SUBNETS);
    for number in 1..=3 {
        bench.put(
            &format!("subnets/10.50.{number}.0-24"),
            r#"{"PublicIP":"192.0.2.8"}"#,
        );
    }
    let node = bench.add([192, 0, 2, 1]);
    bench.run_for(Duration::from_mins(5));
    assert_eq!(bench.subnet(node), None);

    bench.delete("subnets/10.50.2.0-24");
    bench.run_for(Duration::from_millis(600));

    assert_eq!(bench.subnet(node).as_deref(), Some("10.50.2.0-24"));
}

#[test]
fn a_lease_of_another_backend_is_no_peer_and_its_subnet_is_taken() {
    let mut bench = Bench::new(THREE_SUBNETS);
    for subnet in ["10.50.1.0-24", "10.50.3.0-24"] {
        let value = r#"{"PublicIP":"192.0.2.9","BackendType":"vxlan","BackendData":[1,2]}"#;
        bench.put(&format!("subnets/{subnet}"), value);
    }

    let node = bench.add([192, 0, 2, 1]);
    bench.settle();

    assert_eq!(bench.subnet(node).as_deref(), Some("10.50.2.0-24"));
    let status = bench.node(node).engine.status();
    assert!(status.peers.is_empty());
    assert_eq!(status.rejected.get(&RejectReason::ForeignBackend), Some(&2));
}

#[test]
fn junk_under_the_prefix_is_counted_and_removes_nothing() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.add([192, 0, 2, 2]);
    bench.settle();
    let peers = bench.node(node).peers();

    bench.put("subnets/hello", "world");
    bench.put("subnets/10.50.99.0-24", "no record");
    bench.put("subnets/0.0.0.0-0", r#"{"PublicIP":"192.0.2.66"}"#);
    bench.put("subnets/10.50.98.0-24", r#"{"PublicIP":"0.0.0.0"}"#);
    bench.settle();

    assert_eq!(bench.node(node).peers(), peers);
    let rejected = bench.node(node).engine.status().rejected;
    let names: Vec<_> = rejected.keys().map(|reason| reason.name()).collect();
    assert_eq!(
        names,
        ["bad_key", "bad_value", "outside_network", "bad_public_ip"]
    );
}

#[test]
fn a_lease_over_the_own_subnet_takes_nothing_away() {
    let mut bench = Bench::new(CONFIG);
    let nodes = [bench.add([192, 0, 2, 1]), bench.add([192, 0, 2, 2])];
    bench.settle();
    let own = bench.subnet(nodes[0]).expect("a subnet is held");
    let half = own.replace("-24", "-25");

    bench.put(&format!("subnets/{half}"), r#"{"PublicIP":"192.0.2.66"}"#);
    bench.settle();

    assert_eq!(bench.subnet(nodes[0]), Some(own.clone()));
    assert_eq!(
        bench.node(nodes[1]).peers(),
        [format!("{own} 192.0.2.1")],
        "the older lease stands"
    );
}

#[test]
fn a_compacted_watch_is_followed_by_a_list_that_finds_every_change() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.put("subnets/10.50.9.0-24", r#"{"PublicIP":"192.0.2.9"}"#);
    bench.put("subnets/10.50.10.0-24", r#"{"PublicIP":"192.0.2.10"}"#);
    bench.settle();
    bench.break_watches(node);

    bench.put("subnets/10.50.9.0-24", r#"{"PublicIP":"192.0.2.19"}"#);
    bench.delete("subnets/10.50.10.0-24");
    let newest = bench.store.header().revision;
    bench.store.compact(newest).expect("the store compacts");
    bench.run_for(Duration::from_secs(5));

    assert_eq!(bench.node(node).peers(), ["10.50.9.0-24 192.0.2.19"]);
}

#[test]
fn a_deletion_that_compaction_swallowed_is_noticed_all_the_same() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.put("subnets/10.50.9.0-24", r#"{"PublicIP":"192.0.2.9"}"#);
    bench.settle();
    bench.break_watches(node);

    bench.delete("subnets/10.50.9.0-24");
    let newest = bench.store.header().revision;
    bench.store.compact(newest).expect("the store compacts");
    bench.run_for(Duration::from_secs(5));

    assert!(bench.node(node).peers().is_empty());
}

#[test]
fn a_wiped_store_gets_every_lease_back() {
    let mut bench = Bench::new(CONFIG);
    let nodes = [bench.add([192, 0, 2, 1]), bench.add([192, 0, 2, 2])];
    bench.settle();
    let before = nodes.map(|node| bench.subnet(node));

    bench.store.wipe(2);
    bench.put("config", CONFIG);
    for node in nodes {
        bench.break_watches(node);
    }
    bench.run_for(Duration::from_mins(1));

    assert_eq!(nodes.map(|node| bench.subnet(node)), before);
    assert_eq!(bench.leases().len(), 2);
    assert!(bench.node(nodes[0]).said("starting over"));
}

/// However often the other's key was written since, among them as often as gives it the very revision of our write.
#[test]
fn a_backup_that_gives_the_subnet_to_another_is_believed_although_its_history_grew_on() {
    for rewrites in 0..6 {
        let mut bench = Bench::new(CONFIG);
        bench.put("subnets/10.50.77.0-24", r#"{"PublicIP":"192.0.2.9"}"#);
        let backup = bench.store.snapshot();
        bench.delete("subnets/10.50.77.0-24");
        let node = bench.add_with(returning_with("10.50.77.0/24"));
        bench.settle();
        assert_eq!(bench.subnet(node).as_deref(), Some("10.50.77.0-24"));

        bench.cut_off(node);
        bench.store.restore(backup, bench.now);
        for _ in 0..rewrites {
            bench.put("subnets/10.50.77.0-24", r#"{"PublicIP":"192.0.2.9"}"#);
        }
        for _ in 0..20 {
            bench.put("config", CONFIG);
        }
        bench.reconnect(node);
        bench.run_for(Duration::from_mins(1));

        let subnet = bench.subnet(node);
        assert!(
            subnet.is_some_and(|subnet| subnet != "10.50.77.0-24"),
            "after {rewrites} rewrites"
        );
        let kept = |(key, value): &(String, String)| key == "10.50.77.0-24" && value.contains("192.0.2.9");
        assert!(bench.leases().iter().any(kept));
    }
}

#[test]
fn a_config_that_is_missing_or_wrong_is_waited_for() {
    let mut bench = Bench::new(r#"{"Network":"10.50.0.0/30"}"#);
    let node = bench.add([192, 0, 2, 1]);
    bench.run_for(Duration::from_secs(5));
    assert!(
        bench
            .node(node)
            .said("network config at /coreos.com/network/config is invalid")
    );

    bench.delete("config");
    bench.run_for(Duration::from_secs(40));
    assert!(
        bench
            .node(node)
            .said("no network config at /coreos.com/network/config")
    );

    bench.put("config", CONFIG);
    bench.run_for(Duration::from_secs(40));
    assert!(bench.subnet(node).is_some());
}

#[test]
fn a_config_that_changes_while_it_is_served_is_told_and_not_used() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node);

    bench.put("config", r#"{ "network": "10.50.0.0/16" }"#);
    bench.settle();
    assert!(!bench.node(node).said("the old one stays"), "it means the same");

    for (text, told) in [
        (r#"{"Network":"10.60.0.0/16"}"#, "changed: restart this node"),
        (r#"{"Network":"10.60.0.0"}"#, "is invalid now"),
    ] {
        bench.put("config", text);
        bench.settle();
        assert!(bench.node(node).said(told), "{told}");
    }
    bench.delete("config");
    bench.settle();
    assert!(bench.node(node).said("was deleted"));
    assert_eq!(bench.subnet(node), subnet);
}

#[test]
fn a_config_that_changed_while_the_store_was_away_is_noticed() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    bench.cut_off(node);

    bench.put("config", r#"{"Network":"10.60.0.0/16"}"#);
    bench.run_for(Duration::from_secs(20));
    bench.reconnect(node);
    bench.run_for(Duration::from_mins(1));

    assert!(bench.node(node).said("changed: restart this node"));
}

#[test]
fn dual_stack_nodes_share_no_subnet_of_either_family() {
    let mut bench = Bench::new(
        r#"{"Network":"10.50.0.0/22","SubnetLen":25,"EnableIPv6":true,"IPv6Network":"fd50::/61"}"#,
    );
    bench.put("subnets/10.50.1.0-24", r#"{"PublicIP":"192.0.2.99"}"#);
    let nodes: Vec<_> = (1..=5).map(|last| bench.add([192, 0, 2, last])).collect();

    bench.run_for(Duration::from_mins(1));

    let subnets: Vec<_> = nodes
        .iter()
        .filter_map(|node| bench.node(*node).engine.status().subnet)
        .collect();
    assert_eq!(subnets.len(), 5);
    for (index, one) in subnets.iter().enumerate() {
        for other in &subnets[index + 1..] {
            assert!(!one.overlaps(other), "{one} and {other}");
        }
    }
}

#[test]
fn stopping_revokes_the_etcd_lease_that_nothing_hangs_on() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench
        .node(node)
        .fates
        .extend([Fate::Answered, Fate::Answered, Fate::Answered, Fate::HeldBack]);
    bench.settle();
    assert_eq!(bench.store.leases().len(), 1, "an etcd lease was granted");

    bench.shut_down(node);

    assert_eq!(bench.node(node).exit, Some(ExitReason::Shutdown));
    assert_eq!(bench.store.leases(), Vec::<EtcdLeaseId>::new());
}

#[test]
fn stopping_leaves_the_lease() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();

    bench.shut_down(node);

    assert_eq!(bench.leases().len(), 1);
    assert_eq!(bench.store.leases().len(), 1);
}

#[test]
fn a_tunnel_device_that_vanishes_is_made_again_with_all_that_hung_on_it() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    bench.node(node).kernel.clear();

    bench.kernel_event(node, KernelEvent::LinkVanished(LinkName("flannel0".to_owned())));
    bench.settle();

    let made: Vec<_> = bench.node(node).kernel.iter().map(kind).collect();
    assert_eq!(made, ["link", "sysctl", "address", "route"]);
}

#[test]
fn everything_seen_is_at_or_below_the_stores_revision() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);

    bench.settle();

    let seen = bench.node(node).engine.status().revision;
    assert!(seen > Revision(0) && seen <= bench.store.header().revision);
}

fn with_policy(on_loss: OnLoss, on_expiry: OnExpiry) -> Setup {
    Setup {
        lease_policy: LeasePolicy { on_loss, on_expiry },
        ..setup([192, 0, 2, 1])
    }
}

fn returning_with(subnet: &str) -> Setup {
    let previous = PreviousSubnet {
        v4: subnet.parse().ok(),
        v6: None,
    };
    Setup {
        previous,
        ..setup([192, 0, 2, 1])
    }
}

const fn kind(object: &KernelObject) -> &'static str {
    match object {
        KernelObject::Socket(_) => "socket",
        KernelObject::Link(_) => "link",
        KernelObject::Sysctl(_) => "sysctl",
        KernelObject::Address(_) => "address",
        KernelObject::Ruleset(_) => "ruleset",
        KernelObject::Member(_) => "member",
        KernelObject::FdbEntry(_) => "forwarding entry",
        KernelObject::Neighbour(_) => "neighbour",
        KernelObject::Route(_) => "route",
        KernelObject::SubnetFile(_) => "subnet file",
    }
}

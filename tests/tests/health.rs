//! What a node says about itself to those who watch over it: whether it is ready, and what fails.

use std::time::Duration;

use ipnet::IpNet;
use selvedge_engine::{
    ConfigProblem, FailingObject, Health, Instant, KernelErrorKind, LeasePolicy, ObjectKind, Obstacle,
    OnExpiry, OnLoss, Owner, Reachability, RulesetName, Setup,
};
use selvedge_sim::{Foreign, ForeignRoute};
use selvedge_tests::engine_and_store::{Bench, setup};

const CONFIG: &str = r#"{"Network":"10.50.0.0/16"}"#;
const HOST_GW: &str = r#"{"Network":"10.50.0.0/16","Backend":{"Type":"host-gw"}}"#;
/// Has room for 10.50.1.0/24, 10.50.2.0/24 and 10.50.3.0/24.
const THREE_SUBNETS: &str = r#"{"Network":"10.50.0.0/22"}"#;

#[test]
fn a_node_says_what_it_waits_for_until_it_is_ready() {
    let mut bench = Bench::new(r#"{"Network":"10.50.0.0/30"}"#);
    bench.delete("config");
    let node = bench.add([192, 0, 2, 1]);
    assert_eq!(
        told(&mut bench, node),
        [
            "looking at the network config and the node",
            "etcd has not answered yet"
        ]
    );

    bench.run_for(Duration::from_secs(5));
    assert_eq!(
        told(&mut bench, node),
        ["no network config at /coreos.com/network/config"]
    );
    bench.put("config", r#"{"Network":"10.50.0.0/30"}"#);
    bench.run_for(Duration::from_secs(40));
    let invalid = told(&mut bench, node);
    bench.put("config", CONFIG);
    bench.run_for(Duration::from_secs(40));

    assert_eq!(invalid.len(), 1);
    assert!(
        invalid[0].starts_with("network config at /coreos.com/network/config is invalid: "),
        "{invalid:?}"
    );
    let ready = health(&mut bench, node);
    assert_eq!(ready.obstacles, []);
    assert_eq!(ready.config_problem, None);
    assert_eq!(ready.store, Reachability::Reached);
    assert_eq!(ready.desired.get(&ObjectKind::Socket), Some(&1));
}

#[test]
fn a_config_that_is_not_used_is_a_problem_and_no_obstacle() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();

    bench.put("config", r#"{"Network":"10.60.0.0/16"}"#);
    bench.settle();

    let changed = health(&mut bench, node);
    assert_eq!(changed.obstacles, []);
    assert_eq!(
        changed.config_problem.as_ref().map(ConfigProblem::name),
        Some("unused")
    );
    bench.put("config", CONFIG);
    bench.settle();
    assert_eq!(health(&mut bench, node).config_problem, None);
}

#[test]
fn a_node_without_a_subnet_says_why() {
    let mut bench = Bench::new(THREE_SUBNETS);
    for number in 1..=3 {
        let key = format!("subnets/10.50.{number}.0-24");
        bench.put(&key, r#"{"PublicIP":"192.0.2.8"}"#);
    }
    let node = bench.add([192, 0, 2, 1]);

    bench.run_for(Duration::from_mins(1));

    assert_eq!(told(&mut bench, node), ["no subnet is free"]);
    bench.delete("subnets/10.50.2.0-24");
    bench.run_for(Duration::from_secs(1));
    assert_eq!(health(&mut bench, node).obstacles, []);
}

#[test]
fn without_the_store_a_node_is_ready_as_long_as_its_lease_lasts() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node).expect("a subnet");
    let until = health(&mut bench, node).lease_until.expect("it ends");
    bench.cut_off(node);

    bench.run_for(Duration::from_hours(23));
    let before = health(&mut bench, node);
    bench.run_for(Duration::from_hours(2));

    assert_eq!(until.saturating_since(Instant::ZERO), Duration::from_hours(24));
    assert_eq!((before.obstacles, before.store), (Vec::new(), Reachability::Lost));
    assert_eq!(
        told(&mut bench, node),
        [
            format!("the lease of {subnet} has ended and could not be renewed; carrying it all the same"),
            "etcd does not answer".to_owned(),
        ]
    );
    bench.reconnect(node);
    bench.run_for(Duration::from_mins(1));
    assert_eq!(health(&mut bench, node).obstacles, []);
}

#[test]
fn a_fenced_node_is_not_ready() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add_with(Setup {
        lease_policy: LeasePolicy {
            on_loss: OnLoss::Reclaim,
            on_expiry: OnExpiry::Fence,
        },
        ..setup([192, 0, 2, 1])
    });
    bench.settle();
    bench.cut_off(node);

    bench.run_for(Duration::from_mins(24 * 60 - 14));

    let obstacles = health(&mut bench, node).obstacles;
    assert_eq!(obstacles, [Obstacle::Fenced, Obstacle::StoreLost]);
}

#[test]
fn a_lost_lease_is_an_obstacle_until_it_is_taken_again() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let subnet = bench.subnet(node).expect("a subnet");

    bench.delete(&format!("subnets/{subnet}"));
    bench.settle();

    assert_eq!(
        told(&mut bench, node),
        [format!(
            "the lease of {subnet} is lost; taking one again, carrying it meanwhile"
        )]
    );
    bench.run_for(Duration::from_secs(1));
    assert_eq!(health(&mut bench, node).obstacles, []);
}

#[test]
fn what_fails_for_one_peer_is_told_with_its_owner_and_keeps_nobody_from_being_ready() {
    let mut bench = Bench::new(HOST_GW);
    let node = bench.add([192, 0, 2, 1]);
    bench.settle();
    let net: IpNet = "10.50.77.0/24".parse().expect("a network");
    let foreign = Foreign::Route(ForeignRoute::blackhole(net));
    bench.node(node).linux.occupy(foreign.clone());

    for number in [77, 78] {
        let key = format!("subnets/10.50.{number}.0-24");
        let value = format!(r#"{{"PublicIP":"192.0.2.{number}","BackendType":"host-gw"}}"#);
        bench.put(&key, &value);
    }
    bench.run_for(Duration::from_mins(1));

    let failing = health(&mut bench, node);
    let [
        FailingObject {
            object,
            owner,
            error,
            attempts,
            retry_at,
        },
    ] = &failing.failing[..]
    else {
        panic!("one object fails: {failing:?}");
    };
    assert_eq!(object.kind(), ObjectKind::Route);
    assert_eq!((*owner, error.kind), (Owner::Peer(net), KernelErrorKind::Taken));
    assert!((3..=20).contains(attempts), "{attempts}");
    assert!(retry_at.is_some_and(|at| at > bench.now));
    assert_eq!(failing.obstacles, []);
    assert_eq!(failing.desired.get(&ObjectKind::Route), Some(&2));
    assert_eq!(
        bench.node(node).linux.daemon_routes().len(),
        1,
        "the other peer's"
    );

    bench.node(node).linux.vacate(&foreign);
    bench.run_for(Duration::from_secs(31));
    assert_eq!(health(&mut bench, node).failing, []);
    assert_eq!(bench.node(node).linux.daemon_routes().len(), 2);
}

#[test]
fn a_node_whose_own_object_fails_is_not_ready_and_says_which() {
    let mut bench = Bench::new(CONFIG);
    let node = bench.add([192, 0, 2, 1]);
    let port = Foreign::Port(8285);
    bench.node(node).linux.occupy(port.clone());

    bench.settle();

    let told = told(&mut bench, node);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("cannot set up UDP socket 192.0.2.1:8285: "),
        "{told:?}"
    );
    assert!(told[1].ends_with("objects are being set up"), "{told:?}");
    bench.node(node).linux.vacate(&port);
    bench.run_for(Duration::from_secs(2));
    assert_eq!(health(&mut bench, node).obstacles, []);
}

#[test]
fn the_rulesets_that_are_wanted_are_known() {
    let mut bench = Bench::new(HOST_GW);
    let node = bench.add([192, 0, 2, 1]);

    bench.settle();

    assert!(
        health(&mut bench, node)
            .rulesets
            .contains(&RulesetName::Membership)
    );
}

fn health(bench: &mut Bench, node: usize) -> Health {
    let now = bench.now;
    bench.node(node).engine.health(now)
}

fn told(bench: &mut Bench, node: usize) -> Vec<String> {
    let obstacles = health(bench, node).obstacles;
    obstacles.iter().map(ToString::to_string).collect()
}

//! Peers whose lease vanished while nobody could see it go.

use std::fs;
use std::path::Path;
use std::time::Duration;

use selvedge_sim::{Cluster, Report, Scenario};

#[test]
fn a_wiped_store_costs_no_packet_between_nodes_that_come_back_in_time() {
    let scenario = scenario("wiped_store");

    let with_grace = run(&scenario, scenario.peer_grace);
    let without = run(&scenario, Duration::ZERO);

    assert_eq!(dropped(&with_grace), 0);
    assert!(dropped(&without) > 50, "{}", dropped(&without));
    assert_eq!(with_grace.leases(), without.leases());
}

#[test]
fn an_outage_longer_than_the_leases_costs_no_packet() {
    let scenario = scenario("outlived_leases");

    let with_grace = run(&scenario, scenario.peer_grace);
    let without = run(&scenario, Duration::ZERO);

    assert_eq!(dropped(&with_grace), 0);
    assert!(dropped(&without) > 2, "{}", dropped(&without));
}

#[test]
fn a_node_that_never_comes_back_is_a_stale_peer_for_the_grace_time_and_then_gone() {
    let report = Cluster::new(1)
        .nodes(3)
        .crash_at(second(50), 3)
        .wipe_store_at(second(60))
        .check_at(second(150), "stale", |view| {
            let status = view.status(1).ok_or("n1 runs")?;
            expect(status.stale.len() == 1 && status.peers.len() == 2)
        })
        .check_at(second(240), "gone", |view| {
            let status = view.status(1).ok_or("n1 runs")?;
            expect(status.stale.is_empty() && status.peers.len() == 1)
        })
        .run_for(second(300));

    report.assert_ok();
    assert!(report.timeline().contains("forwarding to 2 peers for up to 120s"));
}

#[test]
fn a_stale_peer_outlives_an_outage_that_follows_the_wipe() {
    let report = Cluster::new(1)
        .nodes(2)
        .store_cut_at(second(55), [2], selvedge_sim::StoreWay::Both)
        .wipe_store_at(second(60))
        .store_down_at(second(80))
        .check_at(second(890), "stale", |view| {
            let status = view.status(1).ok_or("n1 runs")?;
            expect(status.stale.len() == 1)
        })
        .heal_at(second(900))
        .run_for(second(1_000));

    report.assert_ok();
    assert_eq!(dropped(&report), 0);
}

fn run(scenario: &Scenario, grace: Duration) -> Report {
    let report = Cluster::of(scenario.clone()).peer_grace(grace).run();
    report.assert_ok();
    report
}

/// Returns how many packets nodes dropped because they could not know better.
fn dropped(report: &Report) -> u64 {
    report.statistics().probes.excused
}

fn scenario(name: &str) -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios/stale_peers");
    let text = fs::read_to_string(folder.join(format!("{name}.toml"))).expect("the scenario is there");
    Scenario::parse(&text).expect("a scenario")
}

fn expect(holds: bool) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| "it does not".to_owned())
}

const fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

use std::time::Duration;

use selvedge_engine::Instant;

use super::*;
use crate::cluster::Cluster;
use crate::fault::{Fault, NodeFault, StoreFault};
use crate::probability::Probability;
use crate::violation::Invariant;

#[test]
fn two_faults_that_fail_together_are_all_that_is_left() {
    let scenario = failing(|scenario| crash_after_wipe(scenario).is_some());

    let shrunk = scenario.shrink(500, crash_after_wipe).unwrap();

    let Scenario { nodes, faults, .. } = &shrunk.scenario;
    assert_eq!((nodes.len(), faults.len()), (1, 2), "{}", shrunk.scenario);
    assert!(shrunk.runs < 200, "{}", shrunk.runs);
    let usual = Scenario::new(scenario.seed, 1, shrunk.scenario.duration);
    assert_eq!(
        Scenario {
            faults: Vec::new(),
            ..shrunk.scenario
        },
        usual
    );
}

#[test]
fn what_it_takes_to_fail_is_kept() {
    let is_bad = |scenario: &Scenario| {
        let is_lossy = scenario.links.loss > Probability::ZERO;
        (is_lossy && scenario.nodes.len() >= 4).then(|| violation(Invariant::Delivery))
    };
    let scenario = failing(|scenario| is_bad(scenario).is_some());

    let shrunk = scenario.shrink(500, is_bad).unwrap().scenario;

    assert_eq!(shrunk.nodes.len(), 4);
    assert_eq!(shrunk.faults, []);
    assert_eq!(shrunk.links.loss, scenario.links.loss);
    assert_eq!(
        shrunk.links.jitter,
        Scenario::new(0, 1, shrunk.duration).links.jitter
    );
}

#[test]
fn another_invariant_does_not_count() {
    let breaks = |scenario: &Scenario| {
        let is_first = scenario.faults.len() > 3;
        Some(violation(if is_first {
            Invariant::SingleOwner
        } else {
            Invariant::AtRest
        }))
    };
    let scenario = failing(|scenario| scenario.faults.len() > 10);

    let shrunk = scenario.shrink(500, breaks).unwrap();

    assert_eq!(shrunk.scenario.faults.len(), 4);
    assert_eq!(shrunk.violation.invariant, Invariant::SingleOwner);
}

#[test]
fn the_number_of_runs_is_bounded_and_shrinking_again_gives_the_same() {
    let scenario = failing(|scenario| crash_after_wipe(scenario).is_some());
    let mut runs = 0;

    let first = scenario.shrink(20, |scenario| {
        runs += 1;
        crash_after_wipe(scenario)
    });
    let second = scenario.shrink(20, crash_after_wipe);

    assert_eq!(runs, 20);
    assert_eq!(first, second);
    assert_eq!(scenario.shrink(20, |_| None), None);
}

#[test]
fn a_cluster_without_room_shrinks_to_one_node_too_many() {
    // Three subnets: whoever comes fourth goes without.
    let mut scenario = Scenario::generate(3, 7, Duration::from_mins(4));
    scenario.config = r#"{"Network":"10.5.0.0/28"}"#.to_owned();
    let run = |scenario: &Scenario| Cluster::of(scenario.clone()).run().violation().cloned();

    let shrunk = scenario.shrink(300, run).unwrap();

    assert_eq!(shrunk.violation.invariant, Invariant::AtRest);
    assert_eq!(shrunk.scenario.nodes.len(), 4, "{}", shrunk.scenario);
    assert_eq!(shrunk.scenario.faults, []);
    assert!(
        shrunk.scenario.to_string().lines().count() <= 6,
        "{}",
        shrunk.scenario
    );
}

fn crash_after_wipe(scenario: &Scenario) -> Option<Violation> {
    let wiped_at = at(scenario, |fault| matches!(fault, Fault::Store(StoreFault::Wipe)))?;
    let is_crash = |fault: &Fault| {
        matches!(
            fault,
            Fault::Node {
                fault: NodeFault::Crash { .. },
                ..
            }
        )
    };
    let later = scenario.faults.iter().filter(|timed| timed.at > wiped_at);
    let mut crashes = later.filter(|timed| is_crash(&timed.fault));
    crashes.next().map(|_| violation(Invariant::SingleOwner))
}

fn at(scenario: &Scenario, is_meant: impl Fn(&Fault) -> bool) -> Option<Duration> {
    let timed = scenario.faults.iter().find(|timed| is_meant(&timed.fault))?;
    Some(timed.at)
}

fn violation(invariant: Invariant) -> Violation {
    Violation {
        invariant,
        at: Instant::ZERO + Duration::from_mins(9),
        nodes: Vec::new(),
        text: "as asked".to_owned(),
    }
}

/// Returns a generated scenario that fails.
fn failing(fails: impl Fn(&Scenario) -> bool) -> Scenario {
    (0..1000)
        .map(|seed| Scenario::generate(seed, 10, Duration::from_mins(10)))
        .find(|scenario| fails(scenario) && scenario.faults.len() > 10)
        .expect("one of many fails")
}

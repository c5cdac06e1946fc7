//! A run is a function of its scenario.

use std::num::NonZero;
use std::process::Command;
use std::time::Duration;

use selvedge_sim::{Campaign, Cluster, Profile, Report, Scenario};

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 0..10 {
        let (one, two) = (run(seed), run(seed));

        assert_eq!(one.trace_hash(), two.trace_hash(), "seed {seed}");
        assert_eq!(one.statistics(), two.statistics(), "seed {seed}");
        assert_eq!(one.timeline(), two.timeline(), "seed {seed}");
    }
}

#[test]
fn different_seeds_make_different_runs() {
    let mut hashes: Vec<u64> = (0..20).map(|seed| run(seed).trace_hash()).collect();
    hashes.sort_unstable();
    hashes.dedup();

    assert_eq!(hashes.len(), 20);
}

#[test]
fn every_event_of_two_runs_is_the_same() {
    let scenario = Scenario::generate(3, 5, Duration::from_mins(4));
    let (one, two) = (kept(&scenario), kept(&scenario));

    let first_difference = one.trace().iter().zip(two.trace()).find(|(one, two)| one != two);

    assert_eq!(first_difference, None);
    assert_eq!(one.trace().len(), two.trace().len());
}

#[test]
fn keeping_the_trace_does_not_change_the_run() {
    let scenario = Scenario::generate(4, 5, Duration::from_mins(4));

    let hash = Cluster::of(scenario.clone()).run().trace_hash();

    assert_eq!(kept(&scenario).trace_hash(), hash);
}

#[test]
fn the_number_of_threads_does_not_change_the_runs() {
    let campaign = |jobs| Campaign {
        first_seed: 100,
        seeds: 8,
        nodes: 4,
        duration: Duration::from_mins(3),
        jobs: NonZero::new(jobs).unwrap(),
        model: None,
        profile: Profile::default(),
    };

    let (one, four) = (campaign(1).run(), campaign(4).run());

    assert_eq!(one.trace_hash, four.trace_hash);
    assert_eq!(one.statistics, four.statistics);
}

#[test]
fn another_process_makes_the_same_runs() {
    let here = run(7).trace_hash();

    let this_binary = std::env::current_exe().unwrap();
    let output = Command::new(this_binary)
        .args([
            "--ignored",
            "--exact",
            "print_a_hash_for_another_process",
            "--nocapture",
        ])
        .output()
        .unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(&format!("hash {here:016x}")), "{printed}");
}

#[test]
#[ignore = "run by another_process_makes_the_same_runs"]
fn print_a_hash_for_another_process() {
    println!("hash {:016x}", run(7).trace_hash());
}

fn run(seed: u64) -> Report {
    Cluster::of(Scenario::generate(seed, 6, Duration::from_mins(4))).run()
}

fn kept(scenario: &Scenario) -> Report {
    Cluster::of(scenario.clone()).keep_trace().run()
}

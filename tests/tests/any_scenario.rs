//! Whatever scenario is drawn, every invariant holds; one that breaks any is shrunk and kept as a file.

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use selvedge_sim::{Cluster, Report, Scenario};

#[test]
fn any_scenario_holds_every_invariant() {
    for_all(32, 1..=7, |scenario| {
        verdict(&Cluster::of(scenario.clone()).run())
    });
}

#[test]
fn any_scenario_is_the_same_run_with_engines_restored_from_snapshots() {
    for_all(12, 2..=4, |scenario| {
        let kept = Cluster::of(scenario.clone()).run();
        let restored = Cluster::of(scenario.clone()).restore_engines().run();
        match kept.check_replay(&restored) {
            Some(difference) => Err(difference.to_string()),
            None => verdict(&kept),
        }
    });
}

#[test]
fn a_scenario_that_breaks_an_invariant_is_kept_as_a_small_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("any-scenario");

    let kept = first_failure(50, 1..=9, &folder, |scenario| {
        if scenario.nodes.len() < 4 {
            return Ok(());
        }
        Err("four are too many\nin this house".to_owned())
    });

    let file = kept.expect("some scenario has four nodes");
    let text = fs::read_to_string(file).expect("the file is there");
    let smallest = Scenario::parse(&text).expect("a scenario is in it");
    assert_eq!((smallest.nodes.len(), smallest.faults.len()), (4, 0), "{text}");
    assert!(
        text.starts_with("# four are too many\n# in this house\n"),
        "{text}"
    );
}

type Outcome = Result<(), String>;

fn verdict(report: &Report) -> Outcome {
    report
        .violation()
        .map_or(Ok(()), |violation| Err(violation.to_string()))
}

/// Passes if all scenarios drawn do.
fn for_all(cases: u32, nodes: RangeInclusive<u32>, check: impl Fn(&Scenario) -> Outcome) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sim-failures");
    if let Some(file) = first_failure(cases, nodes, &folder, check) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        panic!("{file} (belongs below tests/scenarios once it is mended):\n{text}");
    }
}

/// Draws scenarios until one fails, shrinks that and returns the file that it was written to.
fn first_failure(
    cases: u32,
    nodes: RangeInclusive<u32>,
    folder: &Path,
    check: impl Fn(&Scenario) -> Outcome,
) -> Option<String> {
    let config = Config {
        cases,
        // The file says more than a seed would.
        failure_persistence: None,
        ..Config::default()
    };
    let drawn = Scenario::strategy(nodes, Duration::from_mins(4));
    let outcome =
        TestRunner::new(config).run(&drawn, |scenario| check(&scenario).map_err(TestCaseError::fail));
    match outcome {
        Ok(()) => None,
        Err(TestError::Abort(reason)) => panic!("no scenario can be drawn: {reason}"),
        Err(TestError::Fail(reason, scenario)) => {
            let file = folder.join(format!("property-seed-{}.toml", scenario.seed));
            let comment = reason.message().replace('\n', "\n# ");
            fs::create_dir_all(folder).expect("the folder can be made");
            fs::write(&file, format!("# {comment}\n\n{scenario}")).expect("the file can be written");
            Some(file.display().to_string())
        }
    }
}

//! The README says what the program does.

use std::collections::BTreeSet;
use std::process::Command;

use selvedge_sim::{Cluster, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_selvedge-under-test");
const README: &str = include_str!("../../README.md");

#[test]
fn every_flag_of_the_daemon_is_in_the_readme_and_no_other() {
    let help = help(&["run", "--help"]);

    let flags: BTreeSet<&str> = help
        .lines()
        .filter_map(|line| flag(line.trim_start()))
        .filter(|name| !matches!(*name, "--help" | "--version"))
        .collect();

    let (_, table) = README.split_once("### Flags").expect("a chapter about flags");
    let (table, _) = table.split_once("###").expect("an end of it");
    let rows = table.lines().filter_map(|row| row.strip_prefix("| `"));
    let described: BTreeSet<&str> = rows
        .flat_map(|row| row.split('|').next().unwrap_or_default().split(", "))
        .filter_map(flag)
        .collect();
    assert_eq!(described, flags);
}

#[test]
fn every_command_of_the_lab_is_in_the_readme() {
    let help = help(&["lab", "--help"]);
    let (_, commands) = help.split_once("Commands:").expect("a list of commands");

    for command in commands.lines().filter_map(|line| line.strip_prefix("  ")) {
        let name = command.split_whitespace().next().unwrap_or_default();
        let described = README.contains(&format!("lab {name}")) || README.contains(&format!("make {name}"));
        assert!(
            described || matches!(name, "" | "help") || name.starts_with('-'),
            "{name}"
        );
    }
}

#[test]
fn the_scenario_file_in_the_readme_runs_and_has_the_faults_that_it_tells_of() {
    let mut blocks = README
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0));
    let file = blocks
        .find(|block| block.contains("scenario = 1"))
        .expect("a scenario file");

    let scenario = Scenario::parse(file).expect("it can be read");
    let faults: Vec<String> = scenario
        .faults
        .iter()
        .map(|timed| timed.fault.to_string())
        .collect();
    let report = Cluster::of(scenario).run();

    assert_eq!(faults, ["one-way partition: n2 not heard by n1", "n3 crashes"]);
    report.assert_ok();
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn flag(text: &str) -> Option<&str> {
    let text = text.trim_start_matches('`');
    let end = text
        .find(|c: char| c != '-' && !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let name = text.get(..end)?;
    (name.starts_with("--") && name.len() > 2).then_some(name)
}

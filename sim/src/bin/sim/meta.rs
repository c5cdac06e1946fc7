//! `sim meta`: whether a run is the same in every process.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::{env, fs, process};

use clap::Args;
use selvedge_sim::Cluster;

use crate::outcome::{Failure, Outcome, Verdict};
use crate::subject::FileOrSeed;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    subject: FileOrSeed,
}

pub(crate) fn meta(options: &Options) -> Outcome {
    let scenario = options.subject.scenario()?;
    let hashes = [0, 1].map(|_| Cluster::of(scenario.clone()).run().trace_hash());
    let file = env::temp_dir().join(format!("sim-meta-{}.toml", process::id()));
    fs::write(&file, scenario.to_string()).map_err(|error| Failure::of_file(&file, error))?;
    let traces = trace(&file).and_then(|first| Ok((first, trace(&file)?)));
    fs::remove_file(&file).map_err(|error| Failure::of_file(&file, error))?;
    let (first, second) = traces?;
    let differences = [
        difference_of_hashes(hashes),
        difference(&first, &second),
        difference_of_processes(&first, hashes[0]),
    ];
    if let Some(difference) = differences.into_iter().flatten().next() {
        eprint!("{difference}");
        return Ok(Verdict::Bad);
    }
    writeln!(
        io::stdout().lock(),
        "the same in two processes: {} events, trace hash {:016x}",
        first.lines().count().saturating_sub(1),
        hashes[0],
    )?;
    Ok(Verdict::Good)
}

/// Runs the scenario in a process of its own and returns every event.
fn trace(file: &Path) -> Result<String, Failure> {
    let program = env::current_exe()?;
    let output = Command::new(program)
        .args(["replay", "--trace"])
        .arg(file)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn difference_of_hashes([one, other]: [u64; 2]) -> Option<String> {
    (one != other)
        .then(|| format!("two runs in one process differ: trace hash {one:016x} and {other:016x}\n"))
}

fn difference_of_processes(trace: &str, hash: u64) -> Option<String> {
    let last = trace.lines().last().unwrap_or_default();
    let expected = format!("trace hash {hash:016x}");
    (last != expected).then(|| format!("two processes differ: here {expected}, there {last}\n"))
}

/// Returns the first line in which two traces differ, with the lines before it.
fn difference(one: &str, other: &str) -> Option<String> {
    let mut others = other.lines();
    let mut ones = one.lines();
    let mut before: Vec<&str> = Vec::new();
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return None,
            (Some(line), Some(same)) if line == same => before.push(line),
            (line, other) => return Some(told(&before, line, other)),
        }
    }
}

fn told(before: &[&str], one: Option<&str>, other: Option<&str>) -> String {
    let mut text = format!("two processes differ at line {}:\n", before.len() + 1);
    let context = before
        .get(before.len().saturating_sub(CONTEXT)..)
        .unwrap_or_default();
    let lines = context.iter().map(|line| (' ', *line));
    let end = "(the end)";
    let differing = [('-', one.unwrap_or(end)), ('+', other.unwrap_or(end))];
    for (mark, line) in lines.chain(differing) {
        writeln!(text, "{mark} {line}").expect("a text takes text");
    }
    text
}

/// How many lines before a difference are shown.
const CONTEXT: usize = 10;

#[cfg(test)]
mod tests {
    use selvedge_sim::Scenario;

    use super::*;

    #[test]
    fn the_first_difference_is_shown_with_what_was_before() {
        let told = difference("a\nb\nc\nd\n", "a\nb\nx\nd\n");

        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            told.as_deref(),
            Some("two processes differ at line 3:\n  a\n  b\n- c\n+ x\n")
        );
        assert_eq!(
            difference("a\n", "a\nb\n").as_deref(),
            Some("two processes differ at line 2:\n  a\n- (the end)\n+ b\n")
        );
    }

    #[test]
    fn a_scenario_leaves_the_same_hash_in_one_process() {
        let scenario = Scenario::new(1, 2, std::time::Duration::from_mins(1));
        let hashes = [0, 1].map(|_| Cluster::of(scenario.clone()).run().trace_hash());

        assert_eq!(difference_of_hashes(hashes), None);
        assert!(difference_of_hashes([1, 2]).is_some());
        assert!(difference_of_processes("trace hash 0000000000000001", 1).is_none());
        assert!(difference_of_processes("", 1).is_some());
    }
}

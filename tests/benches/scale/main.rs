//! What the simulator and the control plane have to stand, goal by goal: `make bench-sim`.
//!
//! Prints a table, and writes the same as JSON to the file that is given as the argument.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark speaks to people, and may panic"
)]

mod allocations;
mod clusters;
mod control;
mod goal;
mod growth;
mod joining;
mod stopwatch;

use std::path::PathBuf;
use std::{env, fs};

use goal::Goal;
use serde_json::json;

fn main() {
    let file = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let goals: Vec<Goal> = [
        clusters::campaign(),
        clusters::thousand_engines(),
        clusters::ten_thousand_nodes(),
        clusters::requests_at_rest(),
    ]
    .into_iter()
    .chain(control::cost_of_a_change())
    .chain(joining::join())
    .collect();
    let growth = growth::by_nodes();

    goal::print(&goals);
    growth::print(&growth);
    if let Some(file) = file.map(PathBuf::from) {
        let goals: Vec<_> = goals.iter().map(Goal::to_json).collect();
        let growth: Vec<_> = growth.iter().copied().map(growth::Row::to_json).collect();
        fs::write(
            &file,
            format!("{:#}\n", json!({ "goals": goals, "growth": growth })),
        )
        .unwrap();
        println!("\nwritten to {}", file.display());
    }
}

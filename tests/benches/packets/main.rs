//! What the pure parts of the data path cost for each packet, and what a changed lease costs: `make bench-packets`.
//!
//! Prints nanoseconds and, where valgrind is installed, instructions, and writes the same as JSON to the file that is
//! given as the argument. Instructions are the same on a busy machine; nanoseconds are not.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark speaks to people, and may panic"
)]

mod cut;
mod forward;
#[path = "../scale/goal.rs"]
mod goal;
mod instructions;
mod merge;
mod nanoseconds;
#[path = "../scale/stopwatch.rs"]
mod stopwatch;
mod tcp;
mod work;

use std::path::PathBuf;
use std::{env, fs};

use goal::Goal;
use serde_json::json;
use work::Kind;

/// Names the mode that `instructions` runs this program in: a kind of work and how many passes.
const LOOP: &str = "--loop";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [mode, kind, passes] = &arguments[..]
        && mode == LOOP
    {
        let mut work = Kind::named(kind).unwrap().prepare();
        return (0..passes.parse().unwrap()).for_each(|_| work.pass());
    }
    let file = arguments.iter().find(|argument| !argument.starts_with("--"));
    measure_all(file.map(PathBuf::from));
}

/// What a packet costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    kind: Kind,
    nanoseconds: f64,
    instructions: Option<f64>,
}

fn measure_all(file: Option<PathBuf>) {
    let costs = Kind::ALL.map(|kind| Cost {
        kind,
        nanoseconds: nanoseconds::per_packet(kind),
        instructions: instructions::per_packet(kind),
    });
    print(&costs);
    let goals = goals(&costs);
    println!();
    goal::print(&goals);
    if let Some(file) = file {
        let goals: Vec<_> = goals.iter().map(Goal::to_json).collect();
        let costs: Vec<_> = costs.into_iter().map(Cost::to_json).collect();
        let text = format!("{:#}\n", json!({ "goals": goals, "costs": costs }));
        fs::write(&file, text).unwrap();
        println!("\nwritten to {}", file.display());
    }
}

fn print(costs: &[Cost]) {
    println!(
        "{:<40} {:>10} {:>13}",
        "for each packet or change", "ns", "instructions"
    );
    for cost in costs {
        let instructions = cost
            .instructions
            .map_or_else(|| "no valgrind".to_owned(), |count| format!("{count:.1}"));
        println!(
            "{:<40} {:>10.1} {instructions:>13}",
            cost.kind.description(),
            cost.nanoseconds
        );
    }
}

fn goals(costs: &[Cost]) -> Vec<Goal> {
    let nanoseconds = |kind| costs.iter().find(|cost| cost.kind == kind).unwrap().nanoseconds;
    let (few, many) = (nanoseconds(Kind::Forward1000), nanoseconds(Kind::Forward100000));
    vec![
        Goal {
            name: "forwarding decision among 1,000 subnets".to_owned(),
            figure: few,
            limit: 25.0,
            unit: "ns",
            remark: String::new(),
        },
        Goal {
            name: "forwarding decision, 100,000 subnets : 1,000".to_owned(),
            figure: many / few,
            limit: 2.0,
            unit: "times",
            remark: format!("{many:.1} ns"),
        },
    ]
}

impl Cost {
    fn to_json(self) -> serde_json::Value {
        json!({
            "what": self.kind.name(),
            "nanoseconds": self.nanoseconds,
            "instructions": self.instructions,
        })
    }
}

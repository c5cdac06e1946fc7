//! What it costs when somebody changes a node behind the daemon's back: `make chaos`.
//!
//! For each backend two nodes come up and everything that can be changed is changed, round by round, while a hundred
//! pings a second run. The short form of one round is among the tests.

#![expect(clippy::print_stdout, reason = "a benchmark speaks to people")]

mod row;

use std::fs;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use selvedge_tests::backend::Backend;
use selvedge_tests::chaos;
use selvedge_tests::requirement;
use serde_json::Value;

use row::Row;

/// Changes each kind of object behind the daemon's back; needs root and etcd.
#[derive(Debug, Parser)]
struct Options {
    /// The daemon.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// How often everything is changed.
    #[arg(long, default_value = "3", value_name = "N")]
    rounds: NonZeroU32,
    /// Writes the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let needed = ["root", "tun", "ip", "bridge", "etcd"];
    if let Some(missing) = needed.into_iter().find_map(requirement::missing) {
        eprintln!("NOT MEASURED: {missing}");
        return ExitCode::FAILURE;
    }
    let backends = [
        Backend::Udp,
        Backend::Vxlan,
        Backend::VxlanDirect,
        Backend::HostGw,
    ];
    let rows: Vec<Row> = backends
        .into_iter()
        .flat_map(|backend| measure(&options, backend))
        .collect();

    println!("\n{}", row::head(options.rounds));
    for row in &rows {
        println!("{row}");
    }
    if let Some(file) = &options.json {
        let json: Value = rows.iter().map(Row::to_json).collect();
        if let Err(error) = fs::write(file, format!("{json:#}\n")) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
        println!("\nwritten to {}", file.display());
    }
    let late = rows.iter().filter(|row| !row.is_in_time()).count();
    if late > 0 {
        println!("FAILED: {late} kinds of change were not mended in time");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options, backend: Backend) -> Vec<Row> {
    println!("{backend}");
    let program = options.program.to_string_lossy();
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..options.rounds.get() {
        let costs = chaos::measure("chaos", backend, &program, |cost| println!("  {cost}"));
        for cost in costs {
            match rows.iter_mut().find(|row| row.tampering() == cost.tampering) {
                Some(row) => row.add(cost),
                None => rows.push(Row::new(cost)),
            }
        }
    }
    rows
}

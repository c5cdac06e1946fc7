//! Runs simulated clusters from the command line.

mod evidence;
mod failures;
mod many;
mod meta;
mod outcome;
mod replay;
mod revision;
mod run;
mod shrink;
mod subject;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use outcome::Outcome;

/// Simulated clusters: whole overlay networks in one process, with faults, in no time.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario, generated or from a file, and print its timeline.
    Run(run::Options),
    /// Run many generated scenarios and print one line about all of them.
    Many(many::Options),
    /// Run again what is in a file, a scenario or what `selvedge run --record FILE` recorded, and print its timeline.
    Replay(replay::Options),
    /// Make a failing scenario as small as it gets while the same invariant breaks.
    Shrink(shrink::Options),
    /// Run the same scenario in two processes and compare every event.
    Meta(meta::Options),
}

impl Command {
    fn execute(self) -> Outcome {
        match self {
            Self::Run(options) => run::run(&options),
            Self::Many(options) => many::many(&options),
            Self::Replay(options) => replay::replay(&options),
            Self::Shrink(options) => shrink::shrink(&options),
            Self::Meta(options) => meta::meta(&options),
        }
    }
}

fn main() -> ExitCode {
    outcome::exit_code(Cli::parse().command.execute())
}

//! `sim shrink`: a failing scenario, made small.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::evidence::{replay, write_scenario};
use crate::failures::{RUNS, breaks};
use crate::outcome::{Outcome, Verdict};
use crate::subject::FileOrSeed;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    subject: FileOrSeed,
    /// In how many runs at most.
    #[arg(long, default_value_t = RUNS)]
    runs: u32,
    /// The file for what is left; it is printed unless given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn shrink(options: &Options) -> Outcome {
    let scenario = options.subject.scenario()?;
    let Some(shrunk) = scenario.shrink(options.runs, breaks) else {
        eprintln!("nothing breaks: there is nothing to shrink");
        return Ok(Verdict::Bad);
    };
    eprintln!("{}\nshrunk in {} runs", shrunk.violation, shrunk.runs);
    if let Some(file) = &options.output {
        write_scenario(file, &shrunk.scenario, &shrunk.violation)?;
        eprintln!("again: {}", replay(file));
    } else {
        write!(io::stdout().lock(), "{}", shrunk.scenario)?;
    }
    Ok(Verdict::Good)
}

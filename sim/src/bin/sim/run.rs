//! `sim run`: one scenario.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use selvedge_sim::{Cluster, Report, Scenario};

use crate::failures::Failures;
use crate::outcome::{Outcome, Verdict};
use crate::subject::Generated;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The file that holds the scenario.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "minutes", "profile"])]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    generated: Generated,
    #[command(flatten)]
    failures: Failures,
    /// Print every event instead of the timeline.
    #[arg(long)]
    trace: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let scenario = options.generated.or_in(options.scenario.as_deref())?;
    let report = tell(scenario, options.trace)?;
    if let Some(violation) = report.violation() {
        let saved = options.failures.save(report.scenario(), violation)?;
        eprint!("{saved}{}", options.failures.save_shrunk(report.scenario())?);
    }
    Ok(Verdict::good_if(report.is_ok()))
}

/// Runs a scenario and prints its timeline, or its trace, and what broke.
pub(crate) fn tell(scenario: Scenario, trace: bool) -> io::Result<Report> {
    let mut cluster = Cluster::of(scenario);
    if trace {
        cluster = cluster.keep_trace();
    }
    let report = cluster.run();
    let mut out = io::BufWriter::new(io::stdout().lock());
    if trace {
        for line in report.trace() {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "trace hash {:016x}", report.trace_hash())?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    if !report.is_ok() {
        eprintln!("\n{}", report.failure());
    }
    Ok(report)
}

//! `sim run`: one scenario.

use std::io::{self, Write};

use clap::Args;
use selvedge_sim::{Cluster, Scenario};

use crate::outcome::{Outcome, Verdict};
use crate::subject::Subject;

#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    subject: Subject,
    /// Print every event instead of the timeline.
    #[arg(long)]
    trace: bool,
}

pub(crate) fn run(options: &Options) -> Outcome {
    let scenario = options.subject.scenario()?;
    let verdict = tell(scenario, options.trace)?;
    if verdict == Verdict::Bad {
        eprintln!("again: {}", options.subject);
    }
    Ok(verdict)
}

/// Runs a scenario and prints its timeline, or its trace, and what broke.
pub(crate) fn tell(scenario: Scenario, trace: bool) -> Outcome {
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
    Ok(Verdict::good_if(report.is_ok()))
}

//! `sim run`: one scenario.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use selvedge_sim::{Cluster, Report, Scenario};

use crate::evidence::SIM;
use crate::failures::{Failures, Shrinking};
use crate::outcome::{Failure, Outcome, Verdict};
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
    #[command(flatten)]
    show: Show,
}

/// What a run leaves behind.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// Print every event instead of the timeline; of a recording, every input and every action as well.
    #[arg(long)]
    pub(crate) trace: bool,
    /// Write the run of a scenario as a page for a browser: a lane per node, faults, leases, messages and probes.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write all datagrams of the underlay as a capture file for tcpdump and Wireshark.
    #[arg(long, value_name = "FILE")]
    pub(crate) pcap: Option<PathBuf>,
}

impl Show {
    /// Refuses to write files about something that is no scenario.
    pub(crate) fn refuse_files(&self, why: &str) -> Result<(), Failure> {
        let wanted = [(&self.report, "page"), (&self.pcap, "packets")];
        let found = wanted
            .into_iter()
            .find_map(|(file, what)| Some((file.as_ref()?, what)));
        found.map_or(Ok(()), |(file, what)| {
            Err(Failure::of_file(
                file,
                format!("a recording has no {what}: {why}"),
            ))
        })
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    let scenario = options.generated.or_in(options.scenario.as_deref())?;
    let report = tell(scenario, &options.show, &as_typed())?;
    if let Some(violation) = report.violation() {
        let saved = options
            .failures
            .save(report.scenario(), violation, Shrinking::Wanted)?;
        eprint!("{saved}");
    }
    Ok(Verdict::good_if(report.is_ok()))
}

/// Runs a scenario and prints its timeline, or its trace, and what broke; `again` is the command that does so.
pub(crate) fn tell(scenario: Scenario, show: &Show, again: &str) -> Result<Report, Failure> {
    let mut cluster = Cluster::of(scenario);
    if show.trace {
        cluster = cluster.keep_trace();
    }
    if show.report.is_some() {
        cluster = cluster.keep_timeline();
    }
    if show.pcap.is_some() {
        cluster = cluster.capture();
    }
    let report = cluster.run();
    write_pcap(&report, show)?;
    write_page(&report, show, again)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if show.trace {
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

fn write_pcap(report: &Report, show: &Show) -> Result<(), Failure> {
    let (Some(file), Some(pcap)) = (&show.pcap, report.pcap()) else {
        return Ok(());
    };
    fs::write(file, pcap).map_err(|error| Failure::of_file(file, error))
}

fn write_page(report: &Report, show: &Show, again: &str) -> Result<(), Failure> {
    let page = report.timeline_page(again);
    let (Some(file), Some(page)) = (&show.report, page) else {
        return Ok(());
    };
    fs::write(file, page).map_err(|error| Failure::of_file(file, error))
}

/// Returns the command that is running, as one types it.
fn as_typed() -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=".contains(letter);
    let words = std::env::args().skip(1).map(|word| {
        if word.chars().all(is_plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    format!("{} {}", SIM, words.collect::<Vec<_>>().join(" "))
}

//! Runs simulated clusters from the command line.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use selvedge_engine::Recording;
use selvedge_sim::{Campaign, CampaignReport, Cluster, Replay, ReplayDetail, Scenario};

/// Simulated clusters: whole overlay networks in one process, with faults, in no time.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one generated scenario and print its timeline.
    Run {
        #[command(flatten)]
        subject: Subject,
        /// Print every event instead of the timeline.
        #[arg(long)]
        trace: bool,
    },
    /// Run many generated scenarios and print one line about all of them.
    Many {
        /// How many.
        #[arg(long)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first_seed: u64,
        #[command(flatten)]
        size: Size,
        /// On how many threads; as many as there are cores unless given.
        #[arg(long)]
        jobs: Option<NonZero<usize>>,
    },
    /// Run again what `selvedge run --record FILE` recorded, and print its timeline.
    Replay {
        /// The recording.
        file: PathBuf,
        /// Print every input and every action as well.
        #[arg(long)]
        trace: bool,
    },
}

#[derive(Args, Clone, Copy, Debug)]
struct Size {
    /// How many nodes a cluster has.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: u32,
    /// How many minutes pass in a cluster.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: u64,
}

impl Size {
    const fn duration(self) -> Duration {
        Duration::from_mins(self.minutes)
    }
}

/// A scenario as the command line describes it; it prints as the command that runs it again.
#[derive(Args, Clone, Debug)]
struct Subject {
    /// Where all randomness comes from.
    #[arg(long)]
    seed: u64,
    #[command(flatten)]
    size: Size,
    /// The network config, JSON, instead of the generated one.
    #[arg(long)]
    config: Option<String>,
}

impl Subject {
    fn scenario(&self) -> Scenario {
        let mut scenario = Scenario::generate(self.seed, self.size.nodes, self.size.duration());
        if let Some(config) = &self.config {
            scenario.config.clone_from(config);
        }
        scenario
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, size, config } = self;
        let Size { nodes, minutes } = size;
        write!(
            f,
            "cargo run --release --bin sim -- run --seed {seed} --nodes {nodes} --minutes {minutes}"
        )?;
        match config {
            Some(config) => write!(f, " --config '{config}'"),
            None => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { subject, trace } => run(&subject, trace),
        Command::Many {
            seeds,
            first_seed,
            size,
            jobs,
        } => many(first_seed, seeds, size, jobs.unwrap_or_else(cores)),
        Command::Replay { file, trace } => replay(&file, trace),
    };
    match outcome {
        Ok(code) => code,
        // Whoever reads has seen enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(subject: &Subject, trace: bool) -> io::Result<ExitCode> {
    let mut cluster = Cluster::of(subject.scenario());
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
    if report.is_ok() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\n{}", report.failure());
    eprintln!("again: {subject}");
    Ok(ExitCode::FAILURE)
}

fn many(first_seed: u64, seeds: u64, size: Size, jobs: NonZero<usize>) -> io::Result<ExitCode> {
    let campaign = Campaign {
        first_seed,
        seeds,
        nodes: size.nodes,
        duration: size.duration(),
        jobs,
    };
    let (report, took) = timed(|| campaign.run());
    let CampaignReport {
        failures,
        statistics,
        trace_hash,
    } = report;
    let mut out = io::stdout().lock();
    for (seed, violation) in &failures {
        let again = Subject {
            seed: *seed,
            size,
            config: None,
        };
        writeln!(out, "seed {seed}: {violation}\n  again: {again}")?;
    }
    writeln!(
        out,
        "{} seeds of {} nodes: {:.1} hours simulated in {:.1} s, {} events; probes: {}; {} failed; hash {trace_hash:016x}",
        seeds,
        size.nodes,
        statistics.simulated.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        statistics.events,
        statistics.probes,
        failures.len(),
    )?;
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn replay(file: &Path, trace: bool) -> io::Result<ExitCode> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Ok(refuse(file, &error.to_string())),
    };
    if Recording::recognizes(&text) {
        return replay_recording(file, &text, trace);
    }
    Ok(refuse(file, "line 1: not the beginning of a recording"))
}

fn replay_recording(file: &Path, text: &str, trace: bool) -> io::Result<ExitCode> {
    let detail = if trace {
        ReplayDetail::Everything
    } else {
        ReplayDetail::Events
    };
    match Replay::run(text, detail) {
        Ok(replay) => {
            write!(io::stdout().lock(), "{replay}")?;
            Ok(if replay.is_identical() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Err(error) => Ok(refuse(file, &error.to_string())),
    }
}

fn refuse(file: &Path, problem: &str) -> ExitCode {
    eprintln!("{}: {problem}", file.display());
    ExitCode::FAILURE
}

fn cores() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long it took is shown to people and decides nothing"
)]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

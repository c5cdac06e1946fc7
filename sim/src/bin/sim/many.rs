//! `sim many`: a campaign of generated scenarios.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::num::NonZero;
use std::time::Duration;

use clap::Args;
use selvedge_sim::{Campaign, CampaignReport, Defect, Model};

use crate::failures::{Failures, Shrinking};
use crate::outcome::{Outcome, Verdict};
use crate::subject::{Kind, Size};

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How many.
    #[arg(long)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    kind: Kind,
    /// On how many threads; as many as there are cores unless given.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// Print what each kind of fault cost.
    #[arg(long)]
    table: bool,
    /// Print how often each mark was hit: what has to happen at least once, so that silence means something.
    #[arg(long)]
    marks: bool,
    /// Fail if a mark was never hit.
    #[arg(long)]
    require_marks: bool,
    #[command(flatten)]
    kept: Failures,
}

pub(crate) fn many(options: &Options) -> Outcome {
    let Options {
        seeds,
        first_seed,
        size,
        kind,
        jobs,
        table,
        marks,
        require_marks,
        kept,
    } = options;
    let campaign = Campaign {
        first_seed: *first_seed,
        seeds: *seeds,
        nodes: size.nodes,
        duration: size.duration(),
        jobs: jobs.unwrap_or_else(cores),
        model: kind.model,
        profile: kind.profile,
    };
    let (report, took) = timed(|| campaign.run());
    let CampaignReport {
        failures,
        statistics,
        trace_hash,
        defects,
    } = report;
    let mut out = io::stdout().lock();
    let mut shrunk = BTreeSet::new();
    for (seed, violation) in &failures {
        let scenario = kind.generate(*seed, *size);
        let shrinking = if shrunk.insert(violation.invariant) {
            Shrinking::Wanted
        } else {
            Shrinking::Needless
        };
        let saved = kept.save(&scenario, violation, shrinking)?;
        write!(out, "seed {seed}: {violation}\n{saved}")?;
    }
    if kind.model == Some(Model::Flannel) {
        write_defects(&mut out, &defects)?;
    }
    if *table {
        writeln!(out, "{}", statistics.faults)?;
    }
    if *marks {
        writeln!(out, "{}", statistics.marks)?;
    }
    let missing = if *require_marks {
        statistics.marks.missing()
    } else {
        Vec::new()
    };
    for mark in &missing {
        writeln!(out, "never hit: {mark}")?;
    }
    writeln!(
        out,
        "{} seeds of {} nodes: {:.1} hours simulated in {:.1} s, {} events; probes: {}; {}; {} failed; hash {trace_hash:016x}",
        seeds,
        size.nodes,
        statistics.simulated.as_secs_f64() / 3600.0,
        took.as_secs_f64(),
        statistics.events,
        statistics.probes,
        statistics.liveness,
        failures.len(),
    )?;
    Ok(Verdict::good_if(failures.is_empty() && missing.is_empty()))
}

/// Prints a line for each known defect of flannel that showed.
fn write_defects(out: &mut impl Write, defects: &BTreeMap<Option<Defect>, Vec<u64>>) -> io::Result<()> {
    writeln!(out, "first seed   seeds   defect")?;
    for (defect, seeds) in defects {
        let first = seeds.first().copied().unwrap_or_default();
        let name = defect.map_or_else(|| "none that is known".to_owned(), |defect| defect.to_string());
        writeln!(out, "{first:>10} {:>7}   {name}", seeds.len())?;
    }
    Ok(())
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

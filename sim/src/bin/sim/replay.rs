//! `sim replay`: what a file holds, run again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_engine::Recording;
use selvedge_sim::{Replay, ReplayDetail, Scenario};

use crate::outcome::{Failure, Outcome, Verdict};
use crate::run;
use crate::subject::read_text;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The scenario or the recording.
    file: PathBuf,
    /// Print every event of a scenario, every input and every action of a recording.
    #[arg(long)]
    trace: bool,
}

pub(crate) fn replay(options: &Options) -> Outcome {
    let Options { file, trace } = options;
    let text = read_text(file)?;
    if Recording::recognizes(&text) {
        return replay_recording(file, &text, *trace);
    }
    if Scenario::recognizes(&text) {
        let scenario = Scenario::parse(&text).map_err(|error| Failure::of_file(file, error))?;
        return Ok(Verdict::good_if(run::tell(scenario, *trace)?.is_ok()));
    }
    let problem = "line 1: not the beginning of a recording, nor of a scenario (`scenario = 1`)";
    Err(Failure::of_file(file, problem))
}

fn replay_recording(file: &Path, text: &str, trace: bool) -> Outcome {
    let detail = if trace {
        ReplayDetail::Everything
    } else {
        ReplayDetail::Events
    };
    let replay = Replay::run(text, detail).map_err(|error| Failure::of_file(file, error))?;
    write!(io::stdout().lock(), "{replay}")?;
    Ok(Verdict::good_if(replay.is_identical()))
}

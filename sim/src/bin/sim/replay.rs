//! `sim replay`: what a file holds, run again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_engine::Recording;
use selvedge_sim::{Replay, ReplayDetail, Scenario};

use crate::evidence;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::run::{self, Show};
use crate::subject::read_text;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The scenario or the recording.
    file: PathBuf,
    #[command(flatten)]
    show: Show,
}

pub(crate) fn replay(options: &Options) -> Outcome {
    let Options { file, show } = options;
    let text = read_text(file)?;
    if Recording::recognizes(&text) {
        show.refuse_files("it tells of the decisions of one node alone")?;
        return replay_recording(file, &text, show.trace);
    }
    if Scenario::recognizes(&text) {
        let scenario = Scenario::parse(&text).map_err(|error| Failure::of_file(file, error))?;
        let report = run::tell(scenario, show, &evidence::replay(file))?;
        return Ok(Verdict::good_if(report.is_ok()));
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

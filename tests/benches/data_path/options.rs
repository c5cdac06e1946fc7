//! The command line of the benchmark.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;

use crate::case::Case;

/// Measures how fast pods' packets travel, side by side; needs root.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The daemon to measure.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: PathBuf,
    /// How often each case is measured, for medians.
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) rounds: NonZeroU32,
    /// How long each measurement takes.
    #[arg(long, default_value = "4", value_name = "N")]
    pub(crate) seconds: NonZeroU32,
    /// Measures these cases alone.
    #[arg(long, value_enum, value_name = "CASE")]
    pub(crate) only: Vec<Case>,
    /// Measures these levels of offloads alone: `none`, `all`, ...
    #[arg(long = "level", value_name = "LABEL")]
    pub(crate) levels: Vec<String>,
    /// Writes the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Returns the cases to be measured, in the order of the table.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let chosen = |case: &Case| self.only.is_empty() || self.only.contains(case);
        Case::ALL.into_iter().filter(chosen).collect()
    }
}

//! The scenario that a command is about.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use selvedge_sim::{Model, Profile, Scenario};

use crate::outcome::Failure;

/// How large a generated cluster is.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How many nodes a cluster has.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) nodes: u32,
    /// How many minutes pass in a cluster.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) minutes: u64,
}

impl Size {
    pub(crate) const fn duration(self) -> Duration {
        Duration::from_mins(self.minutes)
    }
}

/// What is generated, and for whom.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// Which daemon every node runs, `selvedge` or `flannel`, instead of what the scenario says.
    #[arg(long, value_parser = parse_model)]
    pub(crate) model: Option<Model>,
    /// What the scenarios are about: `usual`, or `leases` with little room and much contention.
    #[arg(long, default_value = "usual", value_parser = parse_profile)]
    pub(crate) profile: Profile,
}

impl Kind {
    /// Generates a scenario of this kind.
    pub(crate) fn generate(self, seed: u64, size: Size) -> Scenario {
        let scenario = self.profile.generate(seed, size.nodes, size.duration());
        scenario.all_run(self.model)
    }
}

fn parse_model(text: &str) -> Result<Model, String> {
    let models = [Model::Selvedge, Model::Flannel];
    let found = models.into_iter().find(|model| model.to_string() == text);
    found.ok_or_else(|| "it is `selvedge` or `flannel`".to_owned())
}

fn parse_profile(text: &str) -> Result<Profile, String> {
    let profiles = [Profile::Usual, Profile::Leases];
    let found = profiles.into_iter().find(|profile| profile.to_string() == text);
    found.ok_or_else(|| "it is `usual` or `leases`".to_owned())
}

/// A generated scenario, or what is said about one in a file.
#[derive(Args, Clone, Debug)]
pub(crate) struct Generated {
    /// The seed that the scenario is generated from.
    #[arg(long, required_unless_present = "scenario", conflicts_with = "scenario")]
    seed: Option<u64>,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    kind: Kind,
    /// How many nodes there are besides that nobody runs: their leases are in the store from the start.
    #[arg(long, default_value_t = 0, conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(0..=50_000))]
    hollow: u32,
    /// The network config, JSON, instead of the generated one.
    #[arg(long, conflicts_with = "scenario")]
    config: Option<String>,
}

impl Generated {
    /// Returns the scenario in the file, if there is one, or the generated one.
    pub(crate) fn or_in(&self, file: Option<&Path>) -> Result<Scenario, Failure> {
        if let Some(file) = file {
            return Ok(read(file)?.all_run(self.kind.model));
        }
        let scenario = self.kind.generate(self.seed.unwrap_or_default(), self.size);
        let mut scenario = scenario.with_hollow(self.hollow);
        if let Some(config) = &self.config {
            scenario.config.clone_from(config);
        }
        Ok(scenario)
    }
}

/// A scenario in a file, or a generated one.
#[derive(Args, Clone, Debug)]
pub(crate) struct FileOrSeed {
    /// The file that holds the scenario.
    #[arg(value_name = "FILE", conflicts_with_all = ["nodes", "minutes", "profile"])]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    generated: Generated,
}

impl FileOrSeed {
    pub(crate) fn scenario(&self) -> Result<Scenario, Failure> {
        self.generated.or_in(self.scenario.as_deref())
    }
}

/// Reads the scenario in a file.
pub(crate) fn read(file: &Path) -> Result<Scenario, Failure> {
    let text = read_text(file)?;
    Scenario::parse(&text).map_err(|error| Failure::of_file(file, error))
}

/// Reads a file.
pub(crate) fn read_text(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::of_file(file, error))
}

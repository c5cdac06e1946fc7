//! The scenario that a command is about.

use std::fmt;
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
    /// Which daemon every node runs.
    #[arg(long, default_value = "selvedge", value_parser = parse_model)]
    pub(crate) model: Model,
    /// What the scenarios are about: `usual`, or `leases` with little room and much contention.
    #[arg(long, default_value = "usual", value_parser = parse_profile)]
    pub(crate) profile: Profile,
}

impl Kind {
    /// Lets every node run the daemon, unless that is the usual one.
    fn choose_model(self, scenario: &mut Scenario) {
        if self.model == Model::default() {
            return;
        }
        for plan in &mut scenario.nodes {
            plan.model = self.model;
        }
    }
}

impl fmt::Display for Kind {
    /// Prints the options that are not as usual.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, profile } = *self;
        if model != Model::default() {
            write!(f, " --model {model}")?;
        }
        if profile != Profile::default() {
            write!(f, " --profile {profile}")?;
        }
        Ok(())
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

/// A scenario as the command line describes it; it prints as the command that runs it again.
#[derive(Args, Clone, Debug)]
pub(crate) struct Subject {
    /// The seed that the scenario is generated from.
    #[arg(long, required_unless_present = "scenario")]
    seed: Option<u64>,
    /// The file that holds the scenario.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "nodes", "minutes", "config", "profile"])]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    kind: Kind,
    /// The network config, JSON, instead of the generated one.
    #[arg(long)]
    config: Option<String>,
}

impl Subject {
    /// Describes a scenario that is all generated.
    pub(crate) const fn generated(seed: u64, size: Size, kind: Kind) -> Self {
        Self {
            seed: Some(seed),
            scenario: None,
            size,
            kind,
            config: None,
        }
    }

    pub(crate) fn scenario(&self) -> Result<Scenario, Failure> {
        if let Some(file) = &self.scenario {
            let mut scenario = read(file)?;
            self.kind.choose_model(&mut scenario);
            return Ok(scenario);
        }
        let seed = self.seed.unwrap_or_default();
        let mut scenario = self
            .kind
            .profile
            .generate(seed, self.size.nodes, self.size.duration());
        self.kind.choose_model(&mut scenario);
        if let Some(config) = &self.config {
            scenario.config.clone_from(config);
        }
        Ok(scenario)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            scenario,
            size,
            kind,
            config,
        } = self;
        f.write_str("cargo run --release --bin sim -- run")?;
        if let Some(file) = scenario {
            return write!(f, " --scenario {}{kind}", file.display());
        }
        let Size { nodes, minutes } = size;
        let seed = seed.unwrap_or_default();
        write!(f, " --seed {seed} --nodes {nodes} --minutes {minutes}{kind}")?;
        match config {
            Some(config) => write!(f, " --config '{config}'"),
            None => Ok(()),
        }
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

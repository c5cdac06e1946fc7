//! Failing scenarios, kept as files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_sim::{Cluster, Scenario, Violation};

use crate::outcome::Failure;

/// Where failing scenarios go.
#[derive(Args, Clone, Debug)]
pub(crate) struct Failures {
    /// The directory for failing scenarios, as they were and shrunk.
    #[arg(long, value_name = "DIR", default_value = "target/sim-failures")]
    save: PathBuf,
}

impl Failures {
    /// Writes a failing scenario and returns the line that says how to run it again.
    pub(crate) fn save(&self, scenario: &Scenario, violation: &Violation) -> Result<String, Failure> {
        let file = self.file(scenario, violation, "");
        write(&file, scenario, violation)?;
        Ok(format!("again: {}\n", replay(&file)))
    }

    /// Shrinks a failing scenario, writes what is left and returns the line that says how to run it.
    pub(crate) fn save_shrunk(&self, scenario: &Scenario) -> Result<String, Failure> {
        let Some(shrunk) = scenario.shrink(RUNS, breaks) else {
            return Ok(String::new());
        };
        let file = self.file(scenario, &shrunk.violation, "-shrunk");
        write(&file, &shrunk.scenario, &shrunk.violation)?;
        Ok(format!("shrunk in {} runs: {}\n", shrunk.runs, replay(&file)))
    }

    fn file(&self, scenario: &Scenario, violation: &Violation, suffix: &str) -> PathBuf {
        let invariant = violation.invariant.to_string().replace(' ', "-");
        self.save
            .join(format!("seed-{}-{invariant}{suffix}.toml", scenario.seed))
    }
}

/// How many runs a scenario is shrunk in, unless said otherwise.
pub(crate) const RUNS: u32 = 500;

/// Runs a scenario and returns what it breaks.
pub(crate) fn breaks(scenario: &Scenario) -> Option<Violation> {
    Cluster::of(scenario.clone()).run().violation().cloned()
}

/// Writes a scenario below a comment that says what it breaks.
pub(crate) fn write(file: &Path, scenario: &Scenario, violation: &Violation) -> Result<(), Failure> {
    let comment = violation.to_string().replace('\n', "\n# ");
    let text = format!("# {comment}\n\n{scenario}");
    file.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| Failure::of_file(file, error))
}

/// How one runs this program.
pub(crate) const SIM: &str = "cargo run --release --bin sim --";

/// Returns the command that runs a file again.
pub(crate) fn replay(file: &Path) -> String {
    format!("{SIM} replay {}", file.display())
}

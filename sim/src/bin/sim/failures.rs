//! Failing scenarios, kept as files.

use std::path::PathBuf;

use clap::Args;
use selvedge_sim::{Cluster, Scenario, Violation};

use crate::evidence::{Evidence, replay};
use crate::outcome::Failure;

/// Where failing scenarios go.
#[derive(Args, Clone, Debug)]
pub(crate) struct Failures {
    /// The directory for failing scenarios, as they were and shrunk, each with a report and its last packets.
    #[arg(long, value_name = "DIR", default_value = "target/sim-failures")]
    save: PathBuf,
}

/// Whether a failing scenario is made small as well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shrinking {
    Wanted,
    /// One like it was shrunk already.
    Needless,
}

impl Failures {
    /// Keeps a failing scenario, and returns the lines that say how to run it again and where its report is.
    pub(crate) fn save(
        &self,
        scenario: &Scenario,
        violation: &Violation,
        shrinking: Shrinking,
    ) -> Result<String, Failure> {
        let shrunk = match shrinking {
            Shrinking::Wanted => scenario.shrink(RUNS, breaks),
            Shrinking::Needless => None,
        };
        let whole = self.evidence(scenario, violation, "");
        let small = shrunk.map(|shrunk| (self.evidence(scenario, &shrunk.violation, "-shrunk"), shrunk));
        whole.write(scenario, violation, small.as_ref().map(|(evidence, _)| evidence))?;
        let mut told = format!(
            "again: {}\nreport: {}\npackets: {}\n",
            replay(&whole.scenario()),
            whole.story().display(),
            whole.packets().display(),
        );
        if let Some((evidence, shrunk)) = small {
            evidence.write(&shrunk.scenario, &shrunk.violation, None)?;
            let again = replay(&evidence.scenario());
            told = format!("{told}shrunk in {} runs: {again}\n", shrunk.runs);
        }
        Ok(told)
    }

    fn evidence(&self, scenario: &Scenario, violation: &Violation, suffix: &str) -> Evidence {
        let invariant = violation.invariant.to_string().replace(' ', "-");
        let name = format!("seed-{}-{invariant}{suffix}", scenario.seed);
        Evidence::new(self.save.join(name))
    }
}

/// How many runs a scenario is shrunk in, unless said otherwise.
pub(crate) const RUNS: u32 = 500;

/// Runs a scenario and returns what it breaks.
pub(crate) fn breaks(scenario: &Scenario) -> Option<Violation> {
    Cluster::of(scenario.clone()).run().violation().cloned()
}

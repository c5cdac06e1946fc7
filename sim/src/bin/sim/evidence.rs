//! What is kept of a failing run: `NAME.toml`, the scenario; `NAME.txt`, what broke; `NAME.pcap`, its last packets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_sim::{Cluster, Report, Scenario, Violation};

use crate::outcome::Failure;
use crate::revision::revision;

/// The files about one failing run, by their name without an extension.
#[derive(Debug)]
pub(crate) struct Evidence(PathBuf);

impl Evidence {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Returns the scenario's file.
    pub(crate) fn scenario(&self) -> PathBuf {
        self.0.with_added_extension("toml")
    }

    /// Returns the file that says what broke.
    pub(crate) fn story(&self) -> PathBuf {
        self.0.with_added_extension("txt")
    }

    /// Returns the file with the last packets.
    pub(crate) fn packets(&self) -> PathBuf {
        self.0.with_added_extension("pcap")
    }

    /// Writes all three. The scenario is run once more for that, with everything kept that a campaign does without.
    pub(crate) fn write(
        &self,
        scenario: &Scenario,
        violation: &Violation,
        shrunk: Option<&Self>,
    ) -> Result<(), Failure> {
        write_scenario(&self.scenario(), scenario, violation)?;
        let cluster = Cluster::of(scenario.clone()).keep_trace();
        let report = cluster.capture_last(CAPTURED).run();
        let story = self.tell(&report, violation, shrunk);
        write(&self.story(), story.as_bytes())?;
        write(&self.packets(), &report.pcap().unwrap_or_default())
    }

    fn tell(&self, report: &Report, violation: &Violation, shrunk: Option<&Self>) -> String {
        let story = if report.is_ok() {
            let again = self.scenario();
            format!(
                "{violation}\n\nOne run alone shows nothing; `{SIM} meta {}` compares two.\n",
                again.display()
            )
        } else {
            report.failure()
        };
        let scenario = self.scenario();
        let mut lines = vec![("again", replay(&scenario))];
        if let Some(shrunk) = shrunk {
            lines.push(("shrunk", shrunk.scenario().display().to_string()));
        }
        let packets = format!(
            "{} (the last {CAPTURED:?}, {} datagrams)",
            self.packets().display(),
            report.captured()
        );
        lines.push(("packets", packets));
        lines.extend(revision().map(|revision| ("revision", revision)));
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(name, value)| format!("{name:8}  {value}\n"))
            .collect();
        format!("{story}{}", lines.concat())
    }
}

/// Writes a scenario below a comment that says what it breaks.
pub(crate) fn write_scenario(file: &Path, scenario: &Scenario, violation: &Violation) -> Result<(), Failure> {
    let comment = violation.to_string().replace('\n', "\n# ");
    write(file, format!("# {comment}\n\n{scenario}").as_bytes())
}

fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    file.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(file, content))
        .map_err(|error| Failure::of_file(file, error))
}

/// How one runs this program.
pub(crate) const SIM: &str = "cargo run --release --bin sim --";
/// The time before the end whose packets are kept.
const CAPTURED: Duration = Duration::from_secs(10);

/// Returns the command that runs a file again.
pub(crate) fn replay(file: &Path) -> String {
    format!("{SIM} replay {}", file.display())
}

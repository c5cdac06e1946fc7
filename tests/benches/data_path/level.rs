//! Levels of offloads: with what flags the daemon is measured.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::trouble::Trouble;

/// How much of the segmentation work a daemon leaves to the kernel.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Level {
    pub(crate) label: &'static str,
    /// What `selvedge run` is given.
    pub(crate) flags: &'static [&'static str],
}

/// What is measured, the last of them as the daemon runs by default.
const LEVELS: [Level; 4] = [
    Level {
        label: "none",
        flags: &["--offload=none"],
    },
    Level {
        label: "udp-gso,udp-gro",
        flags: &["--offload=udp-gso,udp-gro"],
    },
    Level {
        label: "tso,udp-gso,udp-gro",
        flags: &["--offload=tso,udp-gso,udp-gro"],
    },
    Level {
        label: "all",
        flags: &["--offload=all"],
    },
];

/// A daemon that knows no levels.
const WITHOUT_FLAG: Level = Level {
    label: "no flag",
    flags: &[],
};

/// Returns the levels that the daemon accepts among those that were asked for (none means all), and says which it
/// refuses; if it refuses all, the only level is to give it no flag.
pub(crate) fn usable(program: &Path, asked: &[String]) -> Result<Vec<Level>, Trouble> {
    for label in asked {
        if !LEVELS.iter().any(|level| level.label == label.as_str()) {
            return Err(Trouble::with("--level", format!("there is no level `{label}`")));
        }
    }
    let mut usable = Vec::new();
    for level in LEVELS {
        if !asked.is_empty() && !asked.iter().any(|label| label == level.label) {
            continue;
        }
        match refusal(program, level)? {
            None => usable.push(level),
            Some(reason) => println!("left out: level {}: {reason}", level.label),
        }
    }
    if usable.is_empty() {
        usable.push(WITHOUT_FLAG);
    }
    Ok(usable)
}

/// Tells why the daemon does not accept a level's flags, if it does not.
fn refusal(program: &Path, level: Level) -> Result<Option<String>, Trouble> {
    let output = Command::new(program)
        .arg("run")
        .args(level.flags)
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Trouble::with(&program.display().to_string(), error))?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(said.lines().next().unwrap_or("it is refused").to_owned()))
}

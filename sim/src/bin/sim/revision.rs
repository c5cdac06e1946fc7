//! Which program this is.

use std::process::Command;

/// Returns the git revision that the program was built from, as far as it is known.
///
/// A build that sets `SELVEDGE_REVISION` knows it; otherwise git tells where the sources are now, if they and it are there.
pub(crate) fn revision() -> Option<String> {
    if let Some(revision) = option_env!("SELVEDGE_REVISION").filter(|revision| !revision.is_empty()) {
        return Some(revision.to_owned());
    }
    let output = Command::new("git")
        .args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "describe",
            "--always",
            "--dirty",
        ])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let now = String::from_utf8(output.stdout).ok()?;
    Some(format!("{}, as the sources are now", now.trim()))
}

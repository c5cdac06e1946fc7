//! How many instructions a packet takes, counted by valgrind.

use std::env::current_exe;
use std::process::{Command, Stdio};

use crate::LOOP;
use crate::work::Kind;

/// The difference between them leaves out what comes before and after the loop.
const FEW_PASSES: u32 = 1;
const MANY_PASSES: u32 = 21;

/// Returns the number for each packet, unless valgrind is not there.
pub(crate) fn per_packet(kind: Kind) -> Option<f64> {
    let packets = (MANY_PASSES - FEW_PASSES) * kind.prepare().packets();
    let loops = count(kind, MANY_PASSES)? - count(kind, FEW_PASSES)?;
    Some(loops / f64::from(packets))
}

/// Counts the instructions of this whole program that makes so many passes.
fn count(kind: Kind, passes: u32) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(current_exe().unwrap())
        .args([LOOP, kind.name(), &passes.to_string()])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.unwrap_or_else(|| panic!("valgrind failed: {said}"));
    count.trim().parse().ok()
}

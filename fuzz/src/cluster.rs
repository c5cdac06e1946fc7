//! Whole clusters: whatever goes wrong, every invariant holds.

use selvedge_sim::{Cluster, Scenario};

/// Runs the scenario that the bytes stand for, with every checker on.
///
/// # Panics
///
/// If an invariant breaks; the message has the scenario as a file that `sim replay` and `sim shrink` take.
pub fn cluster(data: &[u8]) {
    let report = Cluster::of(Scenario::from_bytes(data)).run();
    assert!(report.is_ok(), "{}\n{}", report.failure(), report.scenario());
}

//! Making a failing scenario small, so that what is left is what it takes to fail.

mod attempts;
mod minimize;
mod nodes;
mod options;
#[cfg(any(test, feature = "proptest"))]
mod smaller;
#[cfg(test)]
mod tests;
mod times;

use crate::scenario::Scenario;
use crate::violation::Violation;
use attempts::Attempts;

/// A scenario that cannot be made much smaller without ceasing to fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The scenario.
    pub scenario: Scenario,
    /// What it breaks: the same invariant as the scenario that it was made from.
    pub violation: Violation,
    /// How many runs it took.
    pub runs: u32,
}

impl Scenario {
    /// Makes the scenario as small as it gets in at most so many runs: it drops faults and nodes (delta debugging, by
    /// Zeller and Hildebrandt), lets options be as usual, and shortens times, as long as the same invariant breaks.
    ///
    /// `run` runs a scenario and tells what it breaks. Returns `None` if this one breaks nothing.
    pub fn shrink(&self, most_runs: u32, run: impl FnMut(&Self) -> Option<Violation>) -> Option<Shrunk> {
        let mut attempts = Attempts::begin(self.clone(), most_runs, run)?;
        while attempts.make_progress(pass) {}
        Some(attempts.finish())
    }
}

/// Tries every way to make the scenario smaller, the most effective first.
fn pass(attempts: &mut Attempts<'_>) {
    times::cut_the_end(attempts);
    nodes::drop_faults(attempts);
    nodes::drop_nodes(attempts);
    nodes::drop_names(attempts);
    options::make_usual(attempts);
    times::shorten(attempts);
}

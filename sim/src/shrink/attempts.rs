//! Attempts to make a scenario smaller: which worked, and how many are left.

use crate::scenario::Scenario;
use crate::shrink::Shrunk;
use crate::violation::{Invariant, Violation};

type Run<'a> = Box<dyn FnMut(&Scenario) -> Option<Violation> + 'a>;

pub(super) struct Attempts<'a> {
    best: Scenario,
    violation: Violation,
    runs: u32,
    most_runs: u32,
    run: Run<'a>,
}

impl<'a> Attempts<'a> {
    /// Runs the scenario; `None` if it breaks nothing.
    pub(super) fn begin(
        scenario: Scenario,
        most_runs: u32,
        mut run: impl FnMut(&Scenario) -> Option<Violation> + 'a,
    ) -> Option<Self> {
        let violation = run(&scenario)?;
        Some(Self {
            best: scenario,
            violation,
            runs: 1,
            most_runs,
            run: Box::new(run),
        })
    }

    /// Returns the smallest scenario so far.
    pub(super) const fn best(&self) -> &Scenario {
        &self.best
    }

    /// Returns what the smallest scenario so far breaks.
    pub(super) const fn violation(&self) -> &Violation {
        &self.violation
    }

    /// Runs a smaller scenario and keeps it if it breaks the same invariant; tells whether it does.
    pub(super) fn keeps_failing(&mut self, smaller: Scenario) -> bool {
        if self.runs >= self.most_runs || smaller == self.best {
            return false;
        }
        self.runs += 1;
        match (self.run)(&smaller) {
            Some(violation) if violation.invariant == self.invariant() => {
                self.best = smaller;
                self.violation = violation;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Does something to the smallest scenario so far, and keeps the result if it breaks the same invariant.
    pub(super) fn keeps_failing_with(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut smaller = self.best.clone();
        change(&mut smaller);
        self.keeps_failing(smaller)
    }

    /// Tells whether a pass changed anything and another may.
    pub(super) fn make_progress(&mut self, pass: impl FnOnce(&mut Self)) -> bool {
        let before = self.best.clone();
        pass(self);
        self.best != before && self.runs < self.most_runs
    }

    pub(super) fn finish(self) -> Shrunk {
        Shrunk {
            scenario: self.best,
            violation: self.violation,
            runs: self.runs,
        }
    }

    const fn invariant(&self) -> Invariant {
        self.violation.invariant
    }
}

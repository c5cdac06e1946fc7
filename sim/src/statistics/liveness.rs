//! What became of cores that healed for good.

use std::fmt;
use std::time::Duration;

use super::Spread;

/// What became of the cores that healed while everything else stayed broken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LivenessStatistics {
    /// How long they took to come to rest.
    pub rest: Spread<Duration>,
    /// How many could not, with an excuse.
    pub excused: u64,
}

impl LivenessStatistics {
    pub(crate) fn note_rest(&mut self, took: Duration) {
        self.rest.record(took);
    }

    pub(crate) const fn note_excuse(&mut self) {
        self.excused += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rest.add(&other.rest);
        self.excused += other.excused;
    }
}

impl fmt::Display for LivenessStatistics {
    /// Prints `200 cores at rest, after 8s at the latest, 3 excused`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores at rest", self.rest.count())?;
        if let Some(worst) = self.rest.worst() {
            write!(f, ", after {worst:.1?} at the latest")?;
        }
        write!(f, ", {} excused", self.excused)
    }
}

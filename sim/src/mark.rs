//! Marks: what has to happen at least once in a campaign, so that its silence means something.
//!
//! They are counted from what engines tell, what the store answers and what checkers see; no engine knows of them.

mod situation;

use std::collections::BTreeMap;
use std::fmt;

use selvedge_engine::{DropReason, RejectReason};

use crate::fault::FaultKind;
use crate::scenario::Scenario;
pub use situation::Situation;

/// Something that has to happen at least once in a campaign.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    /// A situation that a node came into.
    Situation(Situation),
    /// A record in the store was refused for this reason.
    Rejected(RejectReason),
    /// A packet was dropped for this reason.
    Dropped(DropReason),
    /// A fault of this kind began.
    Fault(FaultKind),
}

impl Mark {
    /// Returns every mark that a campaign of generated scenarios has to hit.
    pub fn all() -> Vec<Self> {
        let situations = Situation::ALL.map(Self::Situation);
        let rejected = RejectReason::ALL.into_iter().filter(|reason| is_written(*reason));
        let dropped = DropReason::ALL.into_iter().filter(|reason| can_occur(*reason));
        let faults = Scenario::drawn_fault_kinds().into_iter().map(Self::Fault);
        situations
            .into_iter()
            .chain(rejected.map(Self::Rejected))
            .chain(dropped.map(Self::Dropped))
            .chain(faults)
            .collect()
    }
}

/// How often each mark was hit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks(BTreeMap<Mark, u64>);

impl Marks {
    /// Returns how often a mark was hit.
    pub fn hits(&self, mark: &Mark) -> u64 {
        self.0.get(mark).copied().unwrap_or_default()
    }

    /// Returns the marks that were never hit, of those that have to be.
    pub fn missing(&self) -> Vec<Mark> {
        let mut all = Mark::all();
        all.retain(|mark| self.hits(mark) == 0);
        all
    }

    pub(crate) fn hit(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mark, hits) in &other.0 {
            *self.0.entry(mark.clone()).or_default() += hits;
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Situation(situation) => write!(f, "{situation}"),
            Self::Rejected(reason) => write!(f, "record rejected: {}", reason.name()),
            Self::Dropped(reason) => write!(f, "packet dropped: {}", reason.name()),
            Self::Fault(kind) => write!(f, "fault: {kind}"),
        }
    }
}

impl fmt::Display for Marks {
    /// Prints a line for each mark that has to be hit, with its number of hits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>9}   mark", "hits")?;
        for mark in Mark::all() {
            writeln!(f, "{:>9}   {mark}", self.hits(&mark))?;
        }
        Ok(())
    }
}

/// Tells whether nodes, operators and strangers of the simulator write such records: none has the device of another.
const fn is_written(reason: RejectReason) -> bool {
    !matches!(reason, RejectReason::OwnMac | RejectReason::DuplicateMac)
}

/// Tells whether pods, links and forgers of the simulator make such packets.
const fn can_occur(reason: DropReason) -> bool {
    match reason {
        DropReason::Truncated
        | DropReason::NotIpv4
        | DropReason::BadHeaderLength
        | DropReason::BadTotalLength
        | DropReason::BadChecksum
        | DropReason::NoRoute
        | DropReason::NotOurs
        | DropReason::OwnSource
        | DropReason::UnknownSender
        | DropReason::ForeignSource
        | DropReason::TtlExceeded
        | DropReason::BadSource
        | DropReason::BadDestination => true,
        // Pods keep to the MTU of their interface, which the tunnel's is.
        DropReason::TooBig => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_mark_has_a_name_of_its_own() {
        let all = Mark::all();

        let names: BTreeSet<String> = all.iter().map(Mark::to_string).collect();

        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn what_was_never_hit_is_missing() {
        let fenced = Mark::Situation(Situation::Fenced);
        let mut marks = Marks::default();
        marks.hit(fenced.clone());
        let mut sum = Marks::default();

        sum.add(&marks);
        sum.add(&marks);

        assert_eq!(sum.hits(&fenced), 2);
        assert_eq!(sum.missing().len(), Mark::all().len() - 1);
        assert!(!sum.missing().contains(&fenced));
    }
}

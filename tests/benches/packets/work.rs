//! The loops that are measured.

use crate::cut::Cut;
use crate::forward::{Direction, Forward, Update};
use crate::merge::Merge;

/// A loop over packets, or changes, that can be run again and again.
pub(crate) trait Work {
    /// How many packets, or changes, a pass handles.
    fn packets(&self) -> u32;

    /// Handles them.
    fn pass(&mut self);
}

/// A loop that is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Forward10,
    Forward1000,
    Forward100000,
    Inbound1000,
    Inbound100000,
    Update1000,
    Update100000,
    Cut,
    Merge,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Forward10,
        Self::Forward1000,
        Self::Forward100000,
        Self::Inbound1000,
        Self::Inbound100000,
        Self::Update1000,
        Self::Update100000,
        Self::Cut,
        Self::Merge,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forward10 => "forward-10",
            Self::Forward1000 => "forward-1000",
            Self::Forward100000 => "forward-100000",
            Self::Inbound1000 => "inbound-1000",
            Self::Inbound100000 => "inbound-100000",
            Self::Update1000 => "update-1000",
            Self::Update100000 => "update-100000",
            Self::Cut => "cut",
            Self::Merge => "merge",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Forward10 => "forwarding decision, 10 subnets",
            Self::Forward1000 => "forwarding decision, 1,000 subnets",
            Self::Forward100000 => "forwarding decision, 100,000 subnets",
            Self::Inbound1000 => "inbound decision, 1,000 subnets",
            Self::Inbound100000 => "inbound decision, 100,000 subnets",
            Self::Update1000 => "a lease changed among 1,000",
            Self::Update100000 => "a lease changed among 100,000",
            Self::Cut => "cut from a TCP super-packet of 48",
            Self::Merge => "merged into a TCP super-packet of 48",
        }
    }

    /// Makes all that the loop needs, and makes sure that the loop does what it is measured for.
    pub(crate) fn prepare(self) -> Box<dyn Work> {
        match self {
            Self::Forward10 => Box::new(Forward::among(10, Direction::Outbound)),
            Self::Forward1000 => Box::new(Forward::among(1_000, Direction::Outbound)),
            Self::Forward100000 => Box::new(Forward::among(100_000, Direction::Outbound)),
            Self::Inbound1000 => Box::new(Forward::among(1_000, Direction::Inbound)),
            Self::Inbound100000 => Box::new(Forward::among(100_000, Direction::Inbound)),
            Self::Update1000 => Box::new(Update::among(1_000)),
            Self::Update100000 => Box::new(Update::among(100_000)),
            Self::Cut => Box::new(Cut::new()),
            Self::Merge => Box::new(Merge::new()),
        }
    }
}

//! The known defects of flanneld, and what shows that one of them is behind a broken invariant.

use std::fmt;

use super::Death;

/// A known defect of flanneld; the names are those of control-plane.md, 13.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Defect {
    /// W1: a record that cannot be read takes away every route.
    RoutesDropped,
    /// W2: in dual stack two nodes get the same IPv4 subnet.
    EqualIpv4,
    /// W2b: an unconditional put replaces the live lease of another node.
    BlindPut,
    /// W4: a reservation becomes a lease that ends.
    ReservationLost,
    /// W5: a lost lease ends the daemon, and nobody starts it again.
    LeaseLost,
    /// W6: a lost create race ends the daemon.
    CreateRaceLost,
    /// W7: a lease without IPv6 part crashes a daemon in dual stack.
    MixedKeys,
    /// W8: the list after a compaction hides what changed.
    ChangeHidden,
    /// W9: a failed first read leaves a node without watch or renewal.
    NeverWatches,
    /// W12: after the store became another, a watch waits for a revision that lies in the future.
    Deaf,
    /// Packets and records are taken from anyone (backends.md, 3.6).
    TakesAnything,
    /// What happens to the tunnel device is not looked at (backends.md, 3.4).
    NoRepair,
    /// An error while a subnet is acquired ends the daemon (control-plane.md, 4).
    GivesUp,
}

impl Defect {
    /// Returns the defect that a death shows.
    pub(crate) const fn of_death(death: &Death) -> Self {
        match death {
            Death::LostCreateRace(_) => Self::CreateRaceLost,
            Death::Crashed => Self::MixedKeys,
            Death::LeaseRevoked => Self::LeaseLost,
            Death::OutOfSubnets | Death::Store(_) | Death::UnfitNetwork | Death::Kernel(_) => Self::GivesUp,
        }
    }

    /// Returns its name in control-plane.md, or that of the section of backends.md.
    pub const fn id(self) -> &'static str {
        match self {
            Self::RoutesDropped => "W1",
            Self::EqualIpv4 => "W2",
            Self::BlindPut => "W2b",
            Self::ReservationLost => "W4",
            Self::LeaseLost => "W5",
            Self::CreateRaceLost => "W6",
            Self::MixedKeys => "W7",
            Self::ChangeHidden => "W8",
            Self::NeverWatches => "W9",
            Self::Deaf => "W12",
            Self::TakesAnything => "B3.6",
            Self::NoRepair => "B3.4",
            Self::GivesUp => "C4",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::RoutesDropped => "an unreadable record takes away every route",
            Self::EqualIpv4 => "two nodes get one IPv4 subnet in dual stack",
            Self::BlindPut => "an unconditional put replaces another's live lease",
            Self::ReservationLost => "a reservation becomes a lease that ends",
            Self::LeaseLost => "a lost lease ends the daemon for good",
            Self::CreateRaceLost => "a lost create race ends the daemon",
            Self::MixedKeys => "a lease without IPv6 part crashes the daemon",
            Self::ChangeHidden => "the list after a compaction hides changes",
            Self::NeverWatches => "a failed first read leaves no watch",
            Self::Deaf => "deaf after the store became another",
            Self::TakesAnything => "takes packets and records from anyone",
            Self::NoRepair => "does not repair its tunnel",
            Self::GivesUp => "ends on any error while it acquires a subnet",
        };
        write!(f, "{}: {text}", self.id())
    }
}

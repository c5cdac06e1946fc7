//! How a store behaves that is up.

use std::time::Duration;

use selvedge_engine::{StoreError, StoreErrorKind};

use super::unavailable;
use crate::fault::StoreFault;

/// How a store behaves that is up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mood {
    /// Why it refuses everything, if it does.
    pub(crate) refusal: Option<Refusal>,
    /// Whether it refuses every write.
    pub(crate) is_full: bool,
    /// Whether it says of every etcd lease that is to be kept alive that there is none.
    pub(crate) disowns_leases: bool,
    /// The longest time that it grants an etcd lease for.
    longest_ttl: Option<Duration>,
}

/// Why a store refuses everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    NoLeader,
    Unauthorized,
}

impl Mood {
    /// Returns how the store behaves while these faults last.
    pub(crate) fn of<'a>(faults: impl Iterator<Item = &'a StoreFault>) -> Self {
        let mut mood = Self::default();
        for fault in faults {
            match fault {
                StoreFault::NoLeader => mood.refusal = Some(Refusal::NoLeader),
                StoreFault::Unauthorized => mood.refusal = mood.refusal.or(Some(Refusal::Unauthorized)),
                StoreFault::Full => mood.is_full = true,
                StoreFault::DisownLeases => mood.disowns_leases = true,
                StoreFault::GrantLess(ttl) => {
                    mood.longest_ttl = Some(mood.longest_ttl.map_or(*ttl, |longest| longest.min(*ttl)));
                }
                StoreFault::Cut { .. }
                | StoreFault::Down
                | StoreFault::Slow(_)
                | StoreFault::LagWatches { .. }
                | StoreFault::Repeat { .. }
                | StoreFault::BreakConfig(_)
                | StoreFault::HalveSubnets
                | StoreFault::Restore
                | StoreFault::Wipe
                | StoreFault::Compaction
                | StoreFault::CutWatches { .. }
                | StoreFault::LoseChange { .. }
                | StoreFault::LoseWrite { .. }
                | StoreFault::DeleteLease { .. }
                | StoreFault::RevokeLease { .. }
                | StoreFault::SpoilLease { .. }
                | StoreFault::StealLease { .. }
                | StoreFault::DoubleLease { .. }
                | StoreFault::AdmitStranger
                | StoreFault::EndReservation { .. }
                | StoreFault::Reserve { .. }
                | StoreFault::WriteJunk(_) => {}
            }
        }
        mood
    }

    pub(super) fn has_leader(self) -> bool {
        self.refusal != Some(Refusal::NoLeader)
    }

    /// Returns for how many seconds an etcd lease is granted that was asked for so many.
    pub(super) fn granted(self, asked: i64) -> i64 {
        let longest = self.longest_ttl.map(|ttl| i64::try_from(ttl.as_secs()));
        asked.min(longest.and_then(Result::ok).unwrap_or(i64::MAX))
    }
}

impl Refusal {
    /// Returns what etcd says.
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::NoLeader => unavailable("etcdserver: no leader"),
            Self::Unauthorized => StoreError {
                kind: StoreErrorKind::Auth,
                message: "etcdserver: authentication failed, invalid user ID or password".to_owned(),
            },
        }
    }
}

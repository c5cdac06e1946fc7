//! Why a record is no peer, as a whole or in part.

use serde::{Deserialize, Serialize};

use crate::kernel::IpVersion;
use crate::reject_reason::RejectReason;

/// What of a record is refused, and why.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Refusal {
    /// All of it that counts, for one reason.
    Whole(RejectReason),
    /// One of its two ranges; the other is a peer.
    Part(IpVersion, RejectReason),
    /// Both of its ranges, each for a reason of its own.
    Both {
        /// Why that of IPv4.
        v4: RejectReason,
        /// Why that of IPv6.
        v6: RejectReason,
    },
}

/// What became of a range; nothing if the lease has none that counts.
pub(super) type Verdict = Option<Result<(), RejectReason>>;

impl Refusal {
    /// Sums up what became of a lease's ranges.
    pub(super) fn of(v4: Verdict, v6: Verdict) -> Option<Self> {
        match (v4, v6) {
            (None | Some(Ok(())), None | Some(Ok(()))) => None,
            (Some(Err(v4)), Some(Err(v6))) if v4 != v6 => Some(Self::Both { v4, v6 }),
            (Some(Err(reason)), None | Some(Err(_))) | (None, Some(Err(reason))) => Some(Self::Whole(reason)),
            (Some(Err(reason)), Some(Ok(()))) => Some(Self::Part(IpVersion::V4, reason)),
            (Some(Ok(())), Some(Err(reason))) => Some(Self::Part(IpVersion::V6, reason)),
        }
    }

    /// Returns the reasons, with the IP version that each is about if it is not about the whole.
    pub(crate) fn reasons(self) -> impl Iterator<Item = (Option<IpVersion>, RejectReason)> {
        let (first, second) = match self {
            Self::Whole(reason) => ((None, reason), None),
            Self::Part(version, reason) => ((Some(version), reason), None),
            Self::Both { v4, v6 } => ((Some(IpVersion::V4), v4), Some((Some(IpVersion::V6), v6))),
        };
        core::iter::once(first).chain(second)
    }
}

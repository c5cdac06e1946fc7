//! What becomes of a call: the hook through which tests make the store misbehave.

use std::fmt;
use std::time::Duration;

/// A call of a client, by method.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Call {
    /// `KV.Range`.
    Range,
    /// `KV.Put`.
    Put,
    /// `KV.DeleteRange`.
    DeleteRange,
    /// `KV.Txn`.
    Txn,
    /// `KV.Compact`.
    Compact,
    /// `Lease.LeaseGrant`.
    LeaseGrant,
    /// `Lease.LeaseRevoke`.
    LeaseRevoke,
    /// One message on the stream of `Lease.LeaseKeepAlive`.
    LeaseKeepAlive,
    /// `Lease.LeaseTimeToLive`.
    LeaseTimeToLive,
    /// `Lease.LeaseLeases`.
    LeaseLeases,
    /// The opening of one watch on the stream of `Watch.Watch`.
    Watch,
    /// Any call of the maintenance and cluster services.
    Maintenance,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fate {
    /// It is carried out and answered.
    #[default]
    Answer,
    /// It is carried out at once and answered later.
    Delay(Duration),
    /// It is carried out, but its answer is lost: the client hears `Unavailable`.
    LoseAnswer,
    /// It is not carried out: the client hears `Unavailable`, as from a member without a leader.
    Refuse,
    /// It is not carried out: the client hears `PermissionDenied`.
    Deny,
}

/// Decides the fate of each call.
pub(super) struct FateHook(Box<dyn FnMut(Call) -> Fate + Send>);

impl FateHook {
    pub(super) fn new(hook: impl FnMut(Call) -> Fate + Send + 'static) -> Self {
        Self(Box::new(hook))
    }

    pub(super) fn decide(&mut self, call: Call) -> Fate {
        (self.0)(call)
    }
}

impl Default for FateHook {
    fn default() -> Self {
        Self::new(|_| Fate::Answer)
    }
}

impl fmt::Debug for FateHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FateHook")
    }
}

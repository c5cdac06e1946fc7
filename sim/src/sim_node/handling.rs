//! How the driver treats daemons of ours.

use crate::sabotage::Sabotage;

/// How every daemon of ours is treated; the usual way is that of the host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Handling {
    /// How it misbehaves.
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) continuity: Continuity,
}

/// Whether a daemon keeps its engine.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Continuity {
    /// From its start to its end.
    #[default]
    Kept,
    /// Before some inputs it goes on with one that is restored from a snapshot, which has to make no difference.
    Restored,
}

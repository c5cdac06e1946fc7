//! How much the engine holds.

use crate::store::Revision;

/// How much an engine holds in memory, in numbers that cost nothing to read.
///
/// Each follows from what the cluster holds: no input makes them grow without a lease in the store behind it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Holdings {
    /// The revision up to which the node knows every change.
    pub revision: Revision,
    /// Records below the leases' prefix, junk among them.
    pub leases: usize,
    /// Ranges of leases that the node forwards to, and peers that it keeps without one; a lease of both IP versions has two.
    pub peers: usize,
    /// Those peers that it keeps without a lease for a while.
    pub stale_peers: usize,
    /// Records that the node refuses.
    pub rejected: usize,
    /// Kernel objects that are wanted, that are there, and whose making failed.
    pub kernel_objects: usize,
    /// Kernel operations under way.
    pub kernel_operations: usize,
}

//! What holds while a worker carries what it woke up for.

use selvedge_engine::{Forwarder, ForwardingTable, Instant};

use super::TransportCounters;

/// What a worker decides by from waking up to waiting again, and where it counts.
pub(super) struct WakeUp<'a> {
    pub(super) forwarder: &'a mut Forwarder,
    pub(super) table: Option<&'a ForwardingTable>,
    pub(super) counters: &'a mut TransportCounters,
    pub(super) now: Instant,
}

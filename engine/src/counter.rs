//! Counters of what became of packets.

use crate::drop_reason::DropReason;

/// What one forwarder did with its packets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PacketCounters {
    /// Packets sent to other nodes.
    pub sent: u64,
    /// Packets handed to the kernel.
    pub delivered: u64,
    /// ICMP errors made.
    pub icmp_errors: u64,
    /// Packets that passed although no lease covers their sender or source ([`crate::Membership::Log`]).
    pub passed_unproven: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl PacketCounters {
    /// Returns how many packets were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        DropReason::ALL
            .iter()
            .zip(self.dropped)
            .find(|(candidate, _)| **candidate == reason)
            .map_or(0, |(_, count)| count)
    }
}

//! Counters of what became of packets.

use crate::drop_reason::DropReason;

/// What one forwarder did with its packets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PacketCounters {
    /// Packets sent to other nodes.
    pub sent: u64,
    /// Their bytes, without those of the tunnel.
    pub sent_bytes: u64,
    /// Packets handed to the kernel.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// ICMP errors made.
    pub icmp_errors: u64,
    /// Packets that passed although no lease covers their sender or source ([`crate::Membership::Log`]).
    pub passed_unproven: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl PacketCounters {
    /// Makes counters at zero.
    pub const fn new() -> Self {
        Self {
            sent: 0,
            sent_bytes: 0,
            delivered: 0,
            delivered_bytes: 0,
            icmp_errors: 0,
            passed_unproven: 0,
            dropped: [0; DropReason::ALL.len()],
        }
    }

    /// Returns how many packets were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Adds what another forwarder counted.
    pub fn add(&mut self, other: &Self) {
        self.sent = self.sent.wrapping_add(other.sent);
        self.sent_bytes = self.sent_bytes.wrapping_add(other.sent_bytes);
        self.delivered = self.delivered.wrapping_add(other.delivered);
        self.delivered_bytes = self.delivered_bytes.wrapping_add(other.delivered_bytes);
        self.icmp_errors = self.icmp_errors.wrapping_add(other.icmp_errors);
        self.passed_unproven = self.passed_unproven.wrapping_add(other.passed_unproven);
        for (count, more) in self.dropped.iter_mut().zip(other.dropped) {
            *count = count.wrapping_add(more);
        }
    }

    /// Counts packets sent.
    pub(crate) fn count_sent(&mut self, packets: usize, bytes: usize) {
        self.sent = self.sent.wrapping_add(wide(packets));
        self.sent_bytes = self.sent_bytes.wrapping_add(wide(bytes));
    }

    /// Counts a packet handed to the kernel.
    pub(crate) fn count_delivered(&mut self, bytes: usize) {
        self.delivered = self.delivered.wrapping_add(1);
        self.delivered_bytes = self.delivered_bytes.wrapping_add(wide(bytes));
    }

    /// Counts a packet dropped for a reason.
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count = count.wrapping_add(1);
        }
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_counter_of_its_own() {
        let mut counters = PacketCounters::default();

        for (times, reason) in DropReason::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                counters.count_drop(reason);
            }
        }

        let counts = DropReason::ALL.map(|reason| counters.dropped(reason));
        assert_eq!(counts, core::array::from_fn(|times| times as u64 + 1));
    }
}

//! The counters of a forwarder add up to the packets that it saw.

use std::collections::BTreeMap;

use selvedge_engine::{DropReason, Inbound, Outbound, PacketCounters};

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// What a forwarder said about each packet, counted from outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tally {
    seen: u64,
    sent: u64,
    delivered: u64,
    icmp_errors: u64,
    dropped: BTreeMap<DropReason, u64>,
}

impl Tally {
    pub(crate) fn count_outbound(&mut self, outbound: &Outbound<'_>) {
        self.seen += 1;
        match outbound {
            Outbound::Send(_) => self.sent += 1,
            Outbound::Reply { reason, .. } => self.count_reply(*reason),
            Outbound::Drop(reason) => self.count_drop(*reason),
        }
    }

    pub(crate) fn count_inbound(&mut self, inbound: &Inbound<'_>) {
        self.seen += 1;
        match inbound {
            Inbound::Deliver => self.delivered += 1,
            Inbound::Reply { reason, .. } => self.count_reply(*reason),
            Inbound::Drop(reason) => self.count_drop(*reason),
        }
    }

    /// Checks the forwarder's own counters.
    pub(crate) fn check(&self, node: NodeId, counters: &PacketCounters) -> Verdict {
        let dropped: u64 = DropReason::ALL
            .iter()
            .map(|reason| counters.dropped(*reason))
            .sum();
        let same_drops = DropReason::ALL
            .iter()
            .all(|reason| counters.dropped(*reason) == self.dropped.get(reason).copied().unwrap_or_default());
        let adds_up = counters.sent + counters.delivered + dropped == self.seen;
        let same = counters.sent == self.sent
            && counters.delivered == self.delivered
            && counters.icmp_errors == self.icmp_errors;
        if same && same_drops && adds_up {
            return Ok(());
        }
        let text = format!("{node} counted {counters:?}, but saw {self:?}");
        Err(Finding::new(Invariant::Counters, [node], text))
    }

    fn count_reply(&mut self, reason: DropReason) {
        self.icmp_errors += 1;
        self.count_drop(reason);
    }

    fn count_drop(&mut self, reason: DropReason) {
        *self.dropped.entry(reason).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId::new(1);

    #[test]
    fn equal_counts_pass_and_a_packet_more_or_less_does_not() {
        let mut tally = Tally::default();
        tally.count_outbound(&Outbound::Send("198.18.0.2:8285".parse().unwrap()));
        tally.count_inbound(&Inbound::Deliver);
        let mut good = PacketCounters::default();
        (good.sent, good.delivered) = (1, 1);

        assert_eq!(tally.check(N1, &good), Ok(()));
        assert!(tally.check(N1, &PacketCounters::default()).is_err());
        tally.count_outbound(&Outbound::Drop(DropReason::NoRoute));
        assert!(tally.check(N1, &good).is_err());
    }
}

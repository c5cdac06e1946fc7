//! How much happened in a run.

mod fault_table;
mod liveness;
mod spread;

use std::fmt;
use std::time::Duration;

use crate::mark::Marks;
use crate::probe::{Probe, ProbeFate, ProbeKind};
pub use fault_table::{FaultStatistics, FaultTable};
pub use liveness::LivenessStatistics;
pub use spread::Spread;

/// What a run amounted to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// How much time passed in the cluster.
    pub simulated: Duration,
    /// How many lines the trace has.
    pub events: u64,
    /// How many requests and watches nodes sent to the store.
    pub store_requests: u64,
    /// How many daemons were started.
    pub starts: u64,
    /// How many changes that a watch never told a list of all leases did.
    pub repairs: u64,
    /// What became of the probes.
    pub probes: ProbeStatistics,
    /// What each kind of fault cost.
    pub faults: FaultTable,
    /// What happened that has to happen in a campaign.
    pub marks: Marks,
    /// What became of cores that healed for good.
    pub liveness: LivenessStatistics,
}

impl Statistics {
    /// Adds another run.
    pub(crate) fn add(&mut self, other: &Self) {
        self.simulated += other.simulated;
        self.events += other.events;
        self.store_requests += other.store_requests;
        self.starts += other.starts;
        self.repairs += other.repairs;
        self.probes.add(&other.probes);
        self.faults.add(&other.faults);
        self.marks.add(&other.marks);
        self.liveness.add(&other.liveness);
    }
}

/// What became of the packets between pods.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProbeStatistics {
    /// Sent by pods.
    pub sent: u64,
    /// Received by the pod they were for.
    pub delivered: u64,
    /// Copies that the underlay made, and that arrived as well.
    pub repeated: u64,
    /// Lost by chance on a link.
    pub lost_by_chance: u64,
    /// Lost on a link that was cut.
    pub lost_on_cut_links: u64,
    /// Lost for want of room: a full queue, or a path too narrow for them.
    pub lost_to_limits: u64,
    /// Damaged by the underlay.
    pub damaged: u64,
    /// Dropped because they came from an address that is not their sender's.
    pub disowned: u64,
    /// Sent to a node whose daemon was down or stood still for too long.
    pub unheard: u64,
    /// Dropped by a node that could not know better: it had just started, or was cut off.
    pub excused: u64,
    /// Pings that were answered.
    pub pings_answered: u64,
    /// The longest time that an answered ping took.
    pub slowest_ping: Duration,
    /// ICMP errors that pods received.
    pub icmp_errors: u64,
}

impl ProbeStatistics {
    pub(crate) fn count(&mut self, probe: &Probe) {
        self.sent += 1;
        self.repeated += u64::from(probe.arrivals.saturating_sub(1));
        match probe.fate {
            Some(ProbeFate::Delivered) => self.delivered += 1,
            Some(ProbeFate::LostByChance) => self.lost_by_chance += 1,
            Some(ProbeFate::LostOnCutLink) => self.lost_on_cut_links += 1,
            Some(ProbeFate::LostToLimits) => self.lost_to_limits += 1,
            Some(ProbeFate::Damaged) => self.damaged += 1,
            Some(ProbeFate::Disowned) => self.disowned += 1,
            Some(ProbeFate::NobodyListened) => self.unheard += 1,
            Some(ProbeFate::Excused) => self.excused += 1,
            None => {}
        }
    }

    pub(crate) fn count_answer(&mut self, kind: ProbeKind, now: selvedge_engine::Instant) {
        let ProbeKind::Pong { asked_at } = kind else {
            return;
        };
        self.pings_answered += 1;
        self.slowest_ping = self.slowest_ping.max(now.saturating_since(asked_at));
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.repeated += other.repeated;
        self.lost_by_chance += other.lost_by_chance;
        self.lost_on_cut_links += other.lost_on_cut_links;
        self.lost_to_limits += other.lost_to_limits;
        self.damaged += other.damaged;
        self.disowned += other.disowned;
        self.unheard += other.unheard;
        self.excused += other.excused;
        self.pings_answered += other.pings_answered;
        self.slowest_ping = self.slowest_ping.max(other.slowest_ping);
        self.icmp_errors += other.icmp_errors;
    }

    /// Returns what was added since `earlier`.
    pub(crate) const fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            delivered: self.delivered - earlier.delivered,
            repeated: self.repeated - earlier.repeated,
            lost_by_chance: self.lost_by_chance - earlier.lost_by_chance,
            lost_on_cut_links: self.lost_on_cut_links - earlier.lost_on_cut_links,
            lost_to_limits: self.lost_to_limits - earlier.lost_to_limits,
            damaged: self.damaged - earlier.damaged,
            disowned: self.disowned - earlier.disowned,
            unheard: self.unheard - earlier.unheard,
            excused: self.excused - earlier.excused,
            pings_answered: self.pings_answered - earlier.pings_answered,
            slowest_ping: self.slowest_ping,
            icmp_errors: self.icmp_errors - earlier.icmp_errors,
        }
    }
}

impl fmt::Display for ProbeStatistics {
    /// Prints `120 sent, 118 delivered, 2 lost by chance`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} delivered", self.sent, self.delivered)?;
        let losses = [
            (self.repeated, "arrived twice"),
            (self.lost_by_chance, "lost by chance"),
            (self.lost_on_cut_links, "lost on cut links"),
            (self.lost_to_limits, "too much or too large for links"),
            (self.damaged, "damaged"),
            (self.disowned, "from an address that is not their sender's"),
            (self.unheard, "sent to a daemon that was down"),
            (self.excused, "dropped by nodes that could not know better"),
        ];
        for (count, what) in losses.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::tests::probe;

    #[test]
    fn only_what_happened_is_printed() {
        let mut probes = ProbeStatistics::default();
        for fate in [
            ProbeFate::Delivered,
            ProbeFate::LostByChance,
            ProbeFate::Delivered,
        ] {
            probes.count(&Probe {
                fate: Some(fate),
                arrivals: 1,
                ..probe(1)
            });
        }

        assert_eq!(probes.to_string(), "3 sent, 2 delivered, 1 lost by chance");
        assert_eq!(probes.since(&probes.clone()).sent, 0);
    }
}

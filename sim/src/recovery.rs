//! How long a cluster takes to get over faults, and what it loses until then.

use selvedge_engine::Instant;

use crate::fault::{Fault, FaultKind};
use crate::probe::{Probe, ProbeFate};
use crate::statistics::FaultTable;

/// Follows every fault from its beginning to the recovery from it; it changes nothing about the run.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    bouts: Vec<Bout>,
    table: FaultTable,
    /// Whether something has changed since somebody last looked whether all is well.
    is_changed: bool,
}

/// Whether the cluster was well when a fault began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Health {
    /// All running nodes forwarded as the leases say.
    Well,
    Ill,
}

/// A fault and what follows from it.
#[derive(Debug)]
struct Bout {
    /// Its place in the scenario.
    index: usize,
    kind: FaultKind,
    loses_by_chance: bool,
    is_alone: bool,
    began: Instant,
    stage: Stage,
    lost: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Lasting,
    Over { since: Instant },
    Recovered { over: Instant, at: Instant },
}

impl Recoveries {
    /// Takes note that the fault at this place in the scenario begins, and how the cluster was just before.
    pub(crate) fn begin(&mut self, index: usize, fault: &Fault, before: Health, now: Instant) {
        let kind = fault.kind();
        self.table.of_run(&kind).times += 1;
        let mut is_alone = before == Health::Well;
        for other in self.bouts.iter_mut().filter(|bout| bout.is_open()) {
            is_alone = false;
            other.is_alone = false;
        }
        let stage = if fault.is_instant() {
            Stage::Over { since: now }
        } else {
            Stage::Lasting
        };
        self.bouts.push(Bout {
            index,
            kind,
            loses_by_chance: matches!(fault, Fault::Link(_)),
            is_alone,
            began: now,
            stage,
            lost: 0,
        });
        self.is_changed = true;
    }

    /// Takes note that the fault at this place in the scenario is over.
    pub(crate) fn end(&mut self, index: usize, now: Instant) {
        let lasting = self
            .bouts
            .iter_mut()
            .filter(|bout| bout.index == index && matches!(bout.stage, Stage::Lasting));
        for bout in lasting {
            bout.stage = Stage::Over { since: now };
        }
        self.is_changed = true;
    }

    /// Takes note of a change that may have made all well.
    pub(crate) const fn note_change(&mut self) {
        self.is_changed = true;
    }

    /// Tells whether it is time to look whether all is well: a recovery is awaited, and something has changed.
    pub(crate) fn wants_a_look(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
            && self
                .bouts
                .iter()
                .any(|bout| matches!(bout.stage, Stage::Over { .. }))
    }

    /// Takes note that all is well.
    pub(crate) fn recover(&mut self, now: Instant) {
        for bout in &mut self.bouts {
            if let Stage::Over { since } = bout.stage {
                bout.stage = Stage::Recovered { over: since, at: now };
            }
        }
    }

    /// Charges the faults with a probe that did not arrive.
    pub(crate) fn charge(&mut self, probe: &Probe) {
        let Some(fate) = probe.fate.filter(|fate| *fate != ProbeFate::Delivered) else {
            return;
        };
        for bout in self.bouts.iter_mut().filter(|bout| bout.explains(fate)) {
            bout.lost += u64::from(bout.contains(probe.sent_at));
        }
    }

    /// Closes what no probe can be charged to any more that was sent at this time or later.
    pub(crate) fn close(&mut self, oldest_probe: Instant) {
        let is_closed =
            |bout: &mut Bout| matches!(bout.stage, Stage::Recovered { at, .. } if at < oldest_probe);
        for bout in self.bouts.extract_if(.., is_closed) {
            bout.enter(&mut self.table);
        }
    }

    /// Closes everything, and returns what the faults of the run cost.
    pub(crate) fn finish(mut self) -> FaultTable {
        for bout in &self.bouts {
            bout.enter(&mut self.table);
        }
        self.table
    }
}

impl Bout {
    const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Lasting | Stage::Over { .. })
    }

    const fn explains(&self, fate: ProbeFate) -> bool {
        match fate {
            ProbeFate::Delivered => false,
            ProbeFate::LostByChance => self.loses_by_chance,
            ProbeFate::LostOnCutLink
            | ProbeFate::LostToLimits
            | ProbeFate::Damaged
            | ProbeFate::NobodyListened
            | ProbeFate::Excused
            | ProbeFate::Disowned => true,
        }
    }

    fn contains(&self, time: Instant) -> bool {
        let is_before_the_end = match self.stage {
            Stage::Lasting | Stage::Over { .. } => true,
            Stage::Recovered { at, .. } => time <= at,
        };
        self.began <= time && is_before_the_end
    }

    fn enter(&self, table: &mut FaultTable) {
        let line = table.of_run(&self.kind);
        line.lost += self.lost;
        let (over, at) = match self.stage {
            Stage::Lasting => return,
            Stage::Over { .. } => {
                line.unrecovered += 1;
                return;
            }
            Stage::Recovered { over, at } => (over, at),
        };
        let took = at.saturating_since(over);
        line.recovery.record(took);
        if self.is_alone {
            line.recovery_alone.record(took);
            line.lost_alone.record(self.lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::{LinkFault, StoreFault};
    use crate::node_id::NodeId;
    use crate::probability::Probability;
    use crate::probe::tests::probe;
    use crate::ref_cluster::fixture::after;

    #[test]
    fn a_fault_costs_what_is_lost_from_its_beginning_to_the_recovery_from_it() {
        let mut recoveries = Recoveries::default();
        recoveries.begin(0, &down(), Health::Well, after(10));
        recoveries.end(0, after(20));
        recoveries.recover(after(23));

        for second in [9, 10, 15, 22, 24] {
            recoveries.charge(&lost(second, ProbeFate::Excused));
        }
        recoveries.charge(&lost(16, ProbeFate::LostByChance));

        let table = recoveries.finish();
        let line = table.get(&down().kind()).unwrap();
        assert_eq!(
            (line.seeds, line.times, line.unrecovered, line.lost),
            (1, 1, 0, 3)
        );
        assert_eq!(line.recovery_alone.worst(), Some(Duration::from_secs(3)));
        assert_eq!(line.lost_alone.worst(), Some(3));
    }

    #[test]
    fn faults_that_overlap_share_the_recovery_and_none_is_alone() {
        let mut recoveries = Recoveries::default();
        recoveries.begin(0, &down(), Health::Well, after(10));
        recoveries.begin(1, &delete(), Health::Ill, after(12));
        recoveries.end(0, after(20));
        recoveries.recover(after(23));
        recoveries.begin(2, &delete(), Health::Well, after(30));
        recoveries.recover(after(31));

        let table = recoveries.finish();

        let (down, deletion) = (
            table.get(&down().kind()).unwrap(),
            table.get(&delete().kind()).unwrap(),
        );
        assert_eq!(down.recovery_alone.count(), 0);
        assert_eq!(deletion.recovery.worst(), Some(Duration::from_secs(11)));
        assert_eq!(deletion.recovery_alone.worst(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_first_fault_before_all_was_well_is_not_alone() {
        let mut recoveries = Recoveries::default();
        recoveries.begin(0, &delete(), Health::Ill, after(1));
        recoveries.recover(after(2));

        let table = recoveries.finish();

        assert_eq!(table.get(&delete().kind()).unwrap().recovery_alone.count(), 0);
    }

    #[test]
    fn chance_is_charged_to_faults_of_links() {
        let mut recoveries = Recoveries::default();
        let loss = Fault::from(LinkFault::Loss(Probability::percent(5)));
        recoveries.begin(0, &loss, Health::Well, after(10));

        recoveries.charge(&lost(12, ProbeFate::LostByChance));
        recoveries.charge(&lost(12, ProbeFate::Delivered));

        assert_eq!(recoveries.finish().get(&loss.kind()).unwrap().lost, 1);
    }

    #[test]
    fn a_look_is_wanted_after_a_change_while_a_recovery_is_awaited() {
        let mut recoveries = Recoveries::default();
        recoveries.note_change();
        let before = recoveries.wants_a_look();
        recoveries.begin(0, &delete(), Health::Well, after(1));

        let looks = [(); 2].map(|()| recoveries.wants_a_look());
        recoveries.recover(after(2));
        recoveries.note_change();

        assert_eq!((before, looks), (false, [true, false]));
        assert!(!recoveries.wants_a_look());
    }

    #[test]
    fn what_is_closed_stays_in_the_table() {
        let mut recoveries = Recoveries::default();
        recoveries.begin(0, &delete(), Health::Well, after(10));
        recoveries.recover(after(11));

        recoveries.charge(&lost(11, ProbeFate::Excused));
        recoveries.close(after(12));
        recoveries.charge(&lost(11, ProbeFate::Excused));

        assert_eq!(recoveries.finish().get(&delete().kind()).unwrap().lost, 1);
    }

    fn down() -> Fault {
        StoreFault::Down.into()
    }

    fn delete() -> Fault {
        let node = NodeId::new(1);
        StoreFault::DeleteLease { node }.into()
    }

    fn lost(second: u64, fate: ProbeFate) -> Probe {
        Probe {
            sent_at: after(second),
            fate: Some(fate),
            ..probe(1)
        }
    }
}

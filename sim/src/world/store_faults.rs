//! What goes wrong with the store.

use super::World;
use crate::checker::Verdict;
use crate::etcd_store::KeySpan;
use crate::fault::StoreFault;
use crate::ref_cluster::Hand;
use crate::store_service::{Heard, Mood};

impl World {
    pub(super) fn begin_store_fault(&mut self, index: usize, fault: &StoreFault) -> Verdict {
        match fault {
            StoreFault::Cut { .. } | StoreFault::Slow(_) => self.apply_path_faults(),
            StoreFault::LagWatches { .. } => {
                self.reference.expect_late_changes();
                self.apply_path_faults();
            }
            StoreFault::Down => self.stop_store(),
            StoreFault::NoLeader
            | StoreFault::Unauthorized
            | StoreFault::Full
            | StoreFault::GrantLess(_)
            | StoreFault::DisownLeases => return self.change_mood(),
            StoreFault::Restore => self.back_up_store(index),
            StoreFault::Wipe => return self.wipe_store(),
            StoreFault::Compaction => self.compact_store(),
            StoreFault::CutWatches { nodes } => {
                let said = self.service.cut_watches(nodes);
                self.say_all(said);
                self.interrupt(nodes);
            }
            StoreFault::LoseChange { node } => self.expect_loss(*node),
            StoreFault::LoseWrite { node, fate } => self.expect_silence(*node, *fate),
            StoreFault::Repeat { .. } => {}
            StoreFault::BreakConfig(_)
            | StoreFault::HalveSubnets
            | StoreFault::DeleteLease { .. }
            | StoreFault::RevokeLease { .. }
            | StoreFault::SpoilLease { .. }
            | StoreFault::StealLease { .. }
            | StoreFault::DoubleLease { .. }
            | StoreFault::AdmitStranger
            | StoreFault::EndReservation { .. }
            | StoreFault::Reserve { .. }
            | StoreFault::WriteJunk(_) => return self.operate(fault),
        }
        Ok(())
    }

    pub(super) fn end_store_fault(&mut self, index: usize, fault: &StoreFault) -> Verdict {
        match fault {
            StoreFault::Cut { .. } | StoreFault::Slow(_) | StoreFault::LagWatches { .. } => {
                self.apply_path_faults();
            }
            StoreFault::Down => return self.start_store(),
            StoreFault::NoLeader
            | StoreFault::Unauthorized
            | StoreFault::Full
            | StoreFault::GrantLess(_)
            | StoreFault::DisownLeases => return self.change_mood(),
            StoreFault::BreakConfig(_) | StoreFault::HalveSubnets => return self.operate(fault),
            StoreFault::Restore => return self.restore_store(index),
            StoreFault::Repeat { .. }
            | StoreFault::Wipe
            | StoreFault::Compaction
            | StoreFault::CutWatches { .. }
            | StoreFault::LoseChange { .. }
            | StoreFault::LoseWrite { .. }
            | StoreFault::DeleteLease { .. }
            | StoreFault::RevokeLease { .. }
            | StoreFault::SpoilLease { .. }
            | StoreFault::StealLease { .. }
            | StoreFault::DoubleLease { .. }
            | StoreFault::AdmitStranger
            | StoreFault::EndReservation { .. }
            | StoreFault::Reserve { .. }
            | StoreFault::WriteJunk(_) => {}
        }
        Ok(())
    }

    fn stop_store(&mut self) {
        self.service.stop();
        for id in self.scenario.node_ids() {
            self.disconnect(id);
        }
        self.note_connections();
    }

    fn start_store(&mut self) -> Verdict {
        let is_down = self
            .lasting_store_faults()
            .any(|fault| *fault == StoreFault::Down);
        if is_down {
            return Ok(());
        }
        self.service.start(self.now);
        self.note_connections();
        self.pump_store()
    }

    /// Lets the store behave as all faults that last at the moment make it.
    fn change_mood(&mut self) -> Verdict {
        let mood = Mood::of(self.lasting_store_faults());
        let said = self.service.set_mood(mood, self.now);
        self.say_all(said);
        self.note_connections();
        self.pump_store()
    }

    fn say_all(&mut self, said: Vec<Heard>) {
        for heard in said {
            if let Heard::ByNode(node, event) = heard {
                self.say(node, event);
            }
        }
    }

    fn compact_store(&mut self) {
        let revision = self.service.store.header().revision;
        match self.service.store.compact(revision) {
            Ok(()) => self.detail(None, format!("compacted up to {revision}")),
            Err(error) => self.detail(None, format!("not compacted: {error}")),
        }
    }

    /// Makes the backup that the fault at this place in the scenario restores at its end.
    fn back_up_store(&mut self, index: usize) {
        let backup = self.service.store.snapshot();
        self.backups.insert(index, backup);
    }

    fn restore_store(&mut self, index: usize) -> Verdict {
        let Some(backup) = self.backups.remove(&index) else {
            return Ok(());
        };
        self.service.restore(backup, self.now);
        self.note_another_history();
        self.write_config()
    }

    fn wipe_store(&mut self) -> Verdict {
        self.service.wipe();
        self.note_another_history();
        self.write_config()
    }

    /// Tells the model what the store holds now; every node has to notice that its history is another.
    fn note_another_history(&mut self) {
        let leases = KeySpan::from(&self.scenario.prefix.leases());
        // The newest revision of a span that is not empty: nothing to refuse.
        let kvs = self.service.store.range(&leases, None).unwrap_or_default();
        self.reference.set_hand(Hand::Operator);
        self.reference.restart_history(&kvs, self.now);
        self.reference.set_hand(Hand::Node);
        self.identities.restart_history(self.now);
        let nodes: Vec<_> = self.scenario.node_ids().collect();
        self.interrupt(&nodes);
        let revision = self.service.store.header().revision;
        self.detail(None, format!("the store continues from {revision}"));
    }
}

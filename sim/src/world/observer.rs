//! The model's regular look at the nodes.

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::node_id::NodeId;
use crate::recovery::Health;

impl World {
    /// Checks what does not show at a single event, and says in the timeline when all nodes agree.
    pub(super) fn sweep(&mut self) -> Verdict {
        self.queue.push(self.now + super::SWEEP, Event::Sweep);
        self.judge_probes()?;
        self.check_nodes_in_passing()?;
        self.note_agreement();
        self.watch_core();
        self.recoveries.note_change();
        Ok(())
    }

    fn note_agreement(&mut self) {
        let agreement = self.count_agreement();
        if agreement == self.agreement {
            return;
        }
        self.agreement = agreement;
        match agreement {
            Some(count) => self.milestone(
                None,
                format!("all {count} running nodes forward as the leases say"),
            ),
            None => self.detail(None, "nodes differ from the leases"),
        }
    }

    /// Looks whether all is well again, if a fault is over and something has changed since the last look.
    pub(super) fn look_for_recovery(&mut self) {
        if self.recoveries.wants_a_look() && self.health() == Health::Well {
            self.recoveries.recover(self.now);
        }
    }

    /// Tells whether all running nodes forward as the leases say, and have their tunnels.
    pub(super) fn health(&mut self) -> Health {
        let is_well = self.count_agreement().is_some() && self.all_carry();
        if is_well { Health::Well } else { Health::Ill }
    }

    fn all_carry(&self) -> bool {
        let mut running = self.nodes.iter().filter(|state| state.daemon.is_some());
        running.all(|state| state.linux.carries())
    }

    /// Returns how many nodes run if all of them forward as the leases say.
    fn count_agreement(&mut self) -> Option<usize> {
        let running = self.nodes.iter().filter(|state| state.daemon.is_some()).count();
        (running > 0 && self.all_agree()).then_some(running)
    }

    /// Returns the nodes whose daemon runs and that do not stand still.
    pub(super) fn awake(&self) -> Vec<NodeId> {
        self.nodes
            .iter()
            .filter(|state| state.daemon.is_some() && !self.paused.contains_key(&state.id))
            .map(|state| state.id)
            .collect()
    }
}

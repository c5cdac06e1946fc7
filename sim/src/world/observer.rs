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
    pub(super) fn health(&self) -> Health {
        let mut running = self.nodes.iter().filter(|state| state.daemon.is_some());
        let is_well = running.all(|state| state.linux.carries()) && self.count_agreement().is_some();
        if is_well { Health::Well } else { Health::Ill }
    }

    /// Returns how many nodes run if all of them forward as the leases say.
    fn count_agreement(&self) -> Option<usize> {
        let running = self.nodes.iter().filter(|state| state.daemon.is_some()).count();
        (running > 0 && self.all_agree()).then_some(running)
    }

    fn all_agree(&self) -> bool {
        self.nodes
            .iter()
            .filter_map(|state| Some((state.id, state.daemon.as_ref()?)))
            .all(|(id, daemon)| {
                daemon.carried().zip(daemon.peers()).is_some_and(|(own, peers)| {
                    let others = self.reference.leases().filter(|(subnet, _)| *subnet != own);
                    self.reference.subnet_held_by(id) == Some(own) && peers.eq(others)
                })
            })
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

//! The model's regular look at the nodes.

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::node_id::NodeId;

impl World {
    /// Checks what does not show at a single event, and says in the timeline when all nodes agree.
    pub(super) fn sweep(&mut self) -> Verdict {
        self.queue.push(self.now + super::SWEEP, Event::Sweep);
        self.judge_probes()?;
        self.check_nodes_in_passing()?;
        self.note_agreement();
        Ok(())
    }

    fn note_agreement(&mut self) {
        let running = self.nodes.iter().filter(|state| state.daemon.is_some()).count();
        let agreement = (running > 0 && self.all_agree()).then_some(running);
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

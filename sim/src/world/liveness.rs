//! The core: nodes that heal for good while everything else stays broken.

use std::collections::BTreeMap;

use selvedge_engine::{Instant, Rng};

use super::World;
use super::conduct::carried_by;
use super::event::Event;
use crate::checker::Verdict;
use crate::checker::liveness::{self, Excuse};
use crate::fault::{Fault, StoreFault};
use crate::mark::Situation;
use crate::node_id::NodeId;
use crate::scenario::{Backend, Liveness};

/// The nodes that have healed for good, and what became of them.
#[derive(Debug)]
pub(super) struct Core {
    nodes: Vec<NodeId>,
    healed_at: Instant,
    rests_since: Option<Instant>,
    /// How often each asked the store since the core came to rest.
    requests: BTreeMap<NodeId, usize>,
}

impl World {
    /// Ends all faults for the core and the store; what is left of them never ends.
    pub(super) fn heal_core(&mut self) -> Verdict {
        let Some(Liveness { core: nodes, .. }) = self.scenario.liveness.clone() else {
            return Ok(());
        };
        let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
        self.milestone(
            None,
            format!(
                "^ for good: {} and the store; all else stays as it is",
                names.join(" ")
            ),
        );
        self.links.spare(&nodes);
        self.missing.retain(|node, _| !nodes.contains(node));
        self.unanswered.retain(|(node, _), _| !nodes.contains(node));
        for index in self.active.clone() {
            self.let_core_get_over(index, &nodes)?;
        }
        self.core = Some(Core {
            nodes,
            healed_at: self.now,
            rests_since: None,
            requests: BTreeMap::new(),
        });
        self.queue.push(self.now + Liveness::BOUND, Event::CoreIsDue);
        self.apply_underlay_faults();
        self.apply_path_faults();
        Ok(())
    }

    /// Looks whether the core has come to rest.
    pub(super) fn watch_core(&mut self) {
        let Some(core) = self.core.as_ref().filter(|core| core.rests_since.is_none()) else {
            return;
        };
        let healed_at = core.healed_at;
        if !core.nodes.clone().into_iter().all(|node| self.is_well(node)) {
            return;
        }
        let took = self.now.saturating_since(healed_at);
        self.milestone(None, format!("the core is at rest after {took:?}"));
        if let Some(core) = &mut self.core {
            core.rests_since = Some(self.now);
        }
        if !self.active.is_empty() {
            self.mark(Situation::CoreAtRest);
        }
    }

    /// Counts a request of a node, if the core rests and the node is of it.
    pub(super) fn count_at_rest(&mut self, node: NodeId) {
        let Some(core) = &mut self.core else { return };
        if core.rests_since.is_some() && core.nodes.contains(&node) {
            *core.requests.entry(node).or_default() += 1;
        }
    }

    /// Checks that the core has come to rest in time.
    pub(super) fn check_core_rests(&mut self) -> Verdict {
        self.watch_core();
        let Some(core) = &self.core else { return Ok(()) };
        let Some(rests_since) = core.rests_since else {
            return self.excuse_or_report();
        };
        let took = rests_since.saturating_since(core.healed_at);
        self.statistics.liveness.note_rest(took);
        Ok(())
    }

    /// Checks at the end of the scenario how often the core asked the store since it came to rest.
    pub(super) fn check_core_requests(&mut self) -> Verdict {
        let Some(core) = &self.core else { return Ok(()) };
        let Some(rests_since) = core.rests_since else {
            return Ok(());
        };
        let rested = self.now.saturating_since(rests_since);
        let requests = core.requests.clone();
        requests
            .into_iter()
            .try_for_each(|(node, count)| self.judge(liveness::check_requests(node, count, rested)))
    }

    fn excuse_or_report(&mut self) -> Verdict {
        let Some(core) = &self.core else { return Ok(()) };
        let nodes = core.nodes.clone();
        let restless: Vec<NodeId> = nodes
            .iter()
            .copied()
            .filter(|node| !self.is_well(*node))
            .collect();
        if let Some(excuse) = self.excuse_of(&nodes) {
            self.milestone(None, format!("the core is not at rest, with an excuse: {excuse}"));
            self.statistics.liveness.note_excuse();
            return Ok(());
        }
        let verdict = liveness::not_at_rest(&restless);
        self.judge(verdict)
    }

    fn excuse_of(&self, core: &[NodeId]) -> Option<Excuse> {
        let lacks_lease = |node: &NodeId| self.reference.subnet_held_by(*node).is_none();
        if core.iter().any(lacks_lease) && !self.has_room() {
            return Some(Excuse::NoSubnetLeft);
        }
        let missed_something = |node: &NodeId| !self.reference.hears_well(*node, self.now);
        core.iter().any(missed_something).then_some(Excuse::MissedAChange)
    }

    /// Tells whether a subnet has been free for longer than a node waits that found none.
    pub(super) fn has_room(&self) -> bool {
        let is_settled = self.now >= self.reference.last_freed() + super::rest::LONGEST_WAIT;
        is_settled && self.free_subnet(&mut Rng::new(0)).is_some()
    }

    /// Tells whether a node does what it is for; that of a twin is to carry nothing.
    fn is_well(&mut self, node: NodeId) -> bool {
        let state = self.nodes.get(node.index());
        if let Some(twin) = state.filter(|state| state.identity.original().is_some()) {
            let is_idle = twin.daemon.is_some() && carried_by(twin).is_none();
            return is_idle && !self.paused.contains_key(&node);
        }
        // With host-gw a node without peers has nothing in its kernel.
        let needs_tunnel = self.scenario.carries_packets() && self.scenario.backend != Backend::HostGw;
        let carries =
            state.is_some_and(|state| state.daemon.is_some() && (state.linux.carries() || !needs_tunnel));
        carries && !self.paused.contains_key(&node) && self.agrees(node)
    }

    fn let_core_get_over(&mut self, index: usize, core: &[NodeId]) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        match fault.without(core) {
            Some(rest) => {
                self.curtailed.insert(index, rest);
                Ok(())
            }
            // The backup is never needed.
            None if fault == Fault::from(StoreFault::Restore) => {
                self.active.remove(&index);
                Ok(())
            }
            None => self.end_fault(index),
        }
    }
}

//! Writing down how the cluster is after each event, if anybody wants to see it.

use super::World;
use super::event::Scope;
use crate::chronicle::{Chronicle, Life, StoreState};
use crate::node_id::NodeId;
use crate::sim_node::SimNode;

impl World {
    /// Writes down what an event may have changed.
    pub(super) fn chronicle(&mut self, scope: Scope) {
        if self.trace.chronicle_mut().is_none() {
            return;
        }
        match scope {
            Scope::Nothing => {}
            Scope::Node(node) => self.chronicle_node(node),
            Scope::Store(writer) => {
                let revision = self.service.store.header().revision;
                let is_behind = |chronicle: &mut Chronicle| chronicle.is_behind(revision);
                if self.trace.chronicle_mut().is_some_and(is_behind) {
                    self.chronicle_store(writer);
                }
            }
            Scope::Everything { begun } => {
                self.chronicle_faults(begun);
                self.chronicle_store(None);
                for node in self.scenario.node_ids() {
                    self.chronicle_node(node);
                }
            }
        }
    }

    /// Ends the record, with everything as it is now.
    pub(super) fn finish_chronicle(&mut self) -> Option<Box<Chronicle>> {
        self.chronicle(Scope::Everything { begun: None });
        let mut chronicle = self.trace.take_chronicle()?;
        chronicle.finish(self.now);
        Some(chronicle)
    }

    fn chronicle_node(&mut self, node: NodeId) {
        let is_paused = self.paused.contains_key(&node);
        let (Some(state), Some(chronicle)) = (self.nodes.get(node.index()), self.trace.chronicle_mut())
        else {
            return;
        };
        let life = match &state.daemon {
            None => Life::Down,
            Some(_) if is_paused => Life::Paused,
            Some(daemon) => Life::from(daemon.status().phase),
        };
        chronicle.node_is(self.now, node, life, carried(state));
    }

    fn chronicle_store(&mut self, writer: Option<NodeId>) {
        let revision = self.service.store.header().revision;
        let state = match (self.service.is_up(), self.service.is_full()) {
            (false, _) => StoreState::Down,
            (true, true) => StoreState::Full,
            (true, false) => StoreState::Up,
        };
        let Some(chronicle) = self.trace.chronicle_mut() else {
            return;
        };
        chronicle.store_is(self.now, state, revision, writer);
        chronicle.leases_are(self.now, &self.reference.leases().collect());
    }

    fn chronicle_faults(&mut self, begun: Option<usize>) {
        let Some(chronicle) = self.trace.chronicle_mut() else {
            return;
        };
        let faults = &self.scenario.faults;
        chronicle.faults_are(self.now, &self.active, faults);
        let struck = begun.and_then(|index| faults.get(index));
        if let Some(timed) = struck.filter(|timed| timed.fault.is_instant()) {
            chronicle.strike(self.now, &timed.fault);
        }
    }
}

/// Returns the subnet whose packets the node carries: its daemon has a table for it, and there is a tunnel.
fn carried(state: &SimNode) -> Option<String> {
    let carried = state.daemon.as_ref()?.carried()?;
    state.linux.tunnel()?;
    Some(carried.to_string())
}

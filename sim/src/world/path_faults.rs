//! What goes wrong on the ways between nodes and the store.

use super::World;
use super::event::Event;
use crate::fault::{StoreFault, StoreWay};
use crate::node_id::NodeId;
use crate::store_path::Gate;

impl World {
    /// Sets the ways to the store as all faults that last at the moment make them.
    pub(super) fn apply_path_faults(&mut self) {
        let now = self.now;
        let faults: Vec<StoreFault> = self.lasting_store_faults().cloned().collect();
        let slower = faults.iter().filter_map(StoreFault::slows_by).sum();
        for id in self.scenario.node_ids() {
            let (up, down) = gates(&faults, id);
            let Some(path) = self.paths.get_mut(id.index()) else {
                continue;
            };
            path.slow_down(slower);
            let (to_store, to_node) = path.set_gates(up, down, now);
            let breaks_at = path.breaks_at();
            for in_flight in to_store {
                self.launch_to_store(id, in_flight);
            }
            for in_flight in to_node {
                self.launch_to_node(id, in_flight);
            }
            if let Some(at) = breaks_at {
                self.queue.push(at.max(now), Event::KeepAlive(id));
            }
        }
        self.note_connections();
    }

    /// Tells the model which nodes reach the store.
    pub(super) fn note_connections(&mut self) {
        let is_slow = self
            .lasting_store_faults()
            .any(|fault| matches!(fault, StoreFault::Slow(_)));
        for (state, path) in self.nodes.iter().zip(&self.paths) {
            let connected = state.daemon.is_some()
                && path.is_open()
                && self.service.is_up()
                && !is_slow
                && !self.paused.contains_key(&state.id);
            self.reference.set_connected(state.id, connected, self.now);
        }
    }
}

fn gates(faults: &[StoreFault], node: NodeId) -> (Gate, Gate) {
    let mut gates = (Gate::Open, Gate::Open);
    for fault in faults {
        let StoreFault::Cut { nodes, way } = fault else {
            continue;
        };
        if !nodes.contains(&node) {
            continue;
        }
        match way {
            StoreWay::Both => gates = (Gate::Closed, Gate::Closed),
            StoreWay::Requests => gates.0 = Gate::Closed,
            StoreWay::Answers => gates.1 = Gate::Closed,
        }
    }
    gates
}

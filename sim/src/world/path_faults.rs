//! What goes wrong on the ways between nodes and the store.

use std::time::Duration;

use selvedge_engine::{Phase, Revision, StoreEvent, WatchEvent};

use super::World;
use super::event::Event;
use crate::fault::{StoreFault, StoreWay, WriteFate};
use crate::node_id::NodeId;
use crate::scenario::Model;
use crate::sim_node::SimNode;
use crate::store_path::Gate;

impl World {
    /// Sets the ways to the store as all faults that last at the moment make them.
    pub(super) fn apply_path_faults(&mut self) {
        let now = self.now;
        let faults: Vec<StoreFault> = self.lasting_store_faults().cloned().collect();
        let slower = faults.iter().filter_map(StoreFault::slows_by).sum();
        for id in self.scenario.node_ids() {
            let (up, down) = gates(&faults, id);
            let state = self.nodes.get(id.index());
            let is_cut_off = state.is_some_and(|state| !state.linux.is_attached());
            let (up, down) = if is_cut_off {
                (Gate::Closed, Gate::Closed)
            } else {
                (up, down)
            };
            let Some(path) = self.paths.get_mut(id.index()) else {
                continue;
            };
            path.slow_down(slower);
            path.lag_watches(lag(&faults, id));
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
        let faults: Vec<StoreFault> = self.lasting_store_faults().cloned().collect();
        for (state, path) in self.nodes.iter().zip(&self.paths) {
            let connected = state.daemon.is_some()
                && path.is_open()
                && self.service.answers()
                && !faults.iter().any(|fault| keeps_from_store(fault, state))
                && !self.paused.contains_key(&state.id)
                && !self.is_slow(state.id);
            let renewable = connected && self.service.keeps_leases();
            self.reference.set_connected(state.id, connected, self.now);
            self.reference.set_renewable(state.id, renewable, self.now);
        }
    }

    /// Tells the model that these nodes have to find back to the store, as far as they reach it.
    pub(super) fn interrupt(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            self.reference.set_connected(*node, false, self.now);
            self.reference.set_renewable(*node, false, self.now);
        }
        self.note_connections();
    }

    /// Lets a node miss the next change of the leases.
    pub(super) fn expect_loss(&mut self, node: NodeId) {
        *self.missing.entry(node).or_default() += 1;
    }

    /// Lets the next write of a node, or the answer to it, get lost.
    pub(super) fn expect_silence(&mut self, node: NodeId, fate: WriteFate) {
        *self.unanswered.entry((node, fate)).or_default() += 1;
    }

    /// Tells whether a write of this fate is to get no answer; the node has to find that out.
    pub(super) fn goes_unanswered(&mut self, node: NodeId, fate: WriteFate) -> bool {
        let left = self.unanswered.get_mut(&(node, fate));
        let Some(left) = left.filter(|left| **left > 0) else {
            return false;
        };
        *left -= 1;
        self.detail(Some(node), "never hears of its write");
        self.interrupt(&[node]);
        true
    }

    /// Takes out the change that a node is to miss; `None` if nothing is left to say.
    pub(super) fn lose_change(&mut self, node: NodeId, event: StoreEvent) -> Option<StoreEvent> {
        let left = self.missing.get(&node).copied().unwrap_or_default();
        let StoreEvent::WatchBatch {
            id,
            header,
            mut events,
        } = event
        else {
            return Some(event);
        };
        let leases = self.scenario.prefix.leases();
        let place = events.iter().position(|event| leases.contains(key_of(event)));
        if let Some(place) = place.filter(|_| left > 0) {
            self.missing.insert(node, left - 1);
            let lost = events.remove(place);
            let (model, revision) = (self.model_of(node), revision_of(&lost));
            self.reference.lose_change(node, model, revision, self.now);
            self.detail(Some(node), format!("never hears of the change at {revision}"));
        }
        (!events.is_empty()).then_some(StoreEvent::WatchBatch { id, header, events })
    }

    /// Tells whether the store says everything twice to a node, and its daemon's client lets that pass.
    pub(super) fn hears_twice(&self, node: NodeId) -> bool {
        self.model_of(node) == Model::Selvedge
            && self
                .lasting_store_faults()
                .any(|fault| matches!(fault, StoreFault::Repeat { nodes } if nodes.contains(&node)))
    }

    fn model_of(&self, node: NodeId) -> Model {
        self.nodes
            .get(node.index())
            .map_or_else(Model::default, |state| state.model)
    }
}

/// Tells whether a node cannot be held to what the store says while the fault lasts.
fn keeps_from_store(fault: &StoreFault, state: &SimNode) -> bool {
    match fault {
        StoreFault::Slow(_) => true,
        StoreFault::LagWatches { nodes, .. } => nodes.contains(&state.id),
        // Who knows the config already goes on with it.
        StoreFault::BreakConfig(_) => state
            .daemon
            .as_ref()
            .is_some_and(|daemon| daemon.status().phase == Phase::Configuring),
        StoreFault::Cut { .. }
        | StoreFault::Down
        | StoreFault::NoLeader
        | StoreFault::Unauthorized
        | StoreFault::Full
        | StoreFault::Repeat { .. }
        | StoreFault::GrantLess(_)
        | StoreFault::DisownLeases
        | StoreFault::Restore
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
        | StoreFault::HalveSubnets
        | StoreFault::AdmitStranger
        | StoreFault::EndReservation { .. }
        | StoreFault::Reserve { .. }
        | StoreFault::WriteJunk(_) => false,
    }
}

fn lag(faults: &[StoreFault], node: NodeId) -> Duration {
    let lags = faults.iter().filter_map(|fault| {
        let StoreFault::LagWatches { nodes, by } = fault else {
            return None;
        };
        nodes.contains(&node).then_some(*by)
    });
    lags.sum()
}

fn key_of(event: &WatchEvent) -> &[u8] {
    match event {
        WatchEvent::Put(kv) => &kv.key,
        WatchEvent::Delete { key, .. } => key,
    }
}

const fn revision_of(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { mod_revision, .. } => *mod_revision,
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

//! Faults: what begins, what ends, and how the cluster is under all that last at the moment.

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::fault::{Fault, StoreWay};
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::sim_node::Daemon;
use crate::store_path::Gate;

impl World {
    pub(super) fn begin_fault(&mut self, index: usize) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        self.milestone(None, format!("! {fault}"));
        if !fault.is_instant() {
            self.active.insert(index);
        }
        match fault {
            Fault::Partition { .. } | Fault::OneWay { .. } | Fault::Loss(_) | Fault::Slow(_) => {
                self.apply_link_faults();
            }
            Fault::StoreCut { .. } | Fault::StoreSlow(_) => self.apply_path_faults(),
            Fault::StoreDown => self.stop_store(),
            Fault::StoreFull => self.service.set_full(true),
            Fault::StoreRestore => self.back_up_store(index),
            Fault::StoreWipe => return self.wipe_store(),
            Fault::Compaction => self.compact_store(),
            Fault::DeleteLease { node } => return self.delete_lease(node),
            Fault::WriteJunk(junk) => return self.write_junk(junk),
            Fault::Crash { node, file } => self.crash(node, file),
            Fault::Pause { node } => self.pause(node),
            Fault::Tamper { node, tampering } => self.tamper(node, tampering),
            Fault::Forge { node, forgery } => self.forge(node, forgery),
        }
        Ok(())
    }

    pub(super) fn end_fault(&mut self, index: usize) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        self.active.remove(&index);
        if let Some(line) = fault.end() {
            self.milestone(None, line);
        }
        match fault {
            Fault::Partition { .. } | Fault::OneWay { .. } | Fault::Loss(_) | Fault::Slow(_) => {
                self.apply_link_faults();
            }
            Fault::StoreCut { .. } | Fault::StoreSlow(_) => self.apply_path_faults(),
            Fault::StoreDown => return self.start_store(),
            Fault::StoreFull => self.refill_store(),
            Fault::StoreRestore => return self.restore_store(index),
            Fault::Crash { node, .. } => return self.restart(node),
            Fault::Pause { node } => self.resume(node),
            Fault::Compaction
            | Fault::DeleteLease { .. }
            | Fault::WriteJunk(_)
            | Fault::StoreWipe
            | Fault::Tamper { .. }
            | Fault::Forge { .. } => {}
        }
        Ok(())
    }

    pub(super) fn is_crashed(&self, node: NodeId) -> bool {
        self.lasting()
            .any(|fault| matches!(fault, Fault::Crash { node: other, .. } if *other == node))
    }

    /// Tells the model which nodes reach the store.
    pub(super) fn note_connections(&mut self) {
        let is_slow = self.lasting().any(|fault| matches!(fault, Fault::StoreSlow(_)));
        for (state, path) in self.nodes.iter().zip(&self.paths) {
            let connected = state.daemon.is_some()
                && path.is_open()
                && self.service.is_up()
                && !is_slow
                && !self.paused.contains_key(&state.id);
            self.reference.set_connected(state.id, connected, self.now);
        }
    }

    pub(super) fn daemon_mut(&mut self, node: NodeId) -> Option<&mut Daemon> {
        self.nodes.get_mut(node.index())?.daemon.as_mut()
    }

    /// Returns the faults that last at the moment.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Fault> {
        self.active
            .iter()
            .filter_map(|index| self.scenario.faults.get(*index))
            .map(|timed| &timed.fault)
    }

    fn apply_link_faults(&mut self) {
        let faults: Vec<Fault> = self
            .lasting()
            .filter(|fault| fault.is_underlay())
            .cloned()
            .collect();
        self.links.reset(faulty_links(self.scenario.links, &faults));
        let all: Vec<NodeId> = self.scenario.node_ids().collect();
        for fault in &faults {
            if let Fault::Partition { nodes } = fault {
                let rest: Vec<NodeId> = all.iter().copied().filter(|id| !nodes.contains(id)).collect();
                self.cut_links(nodes, &rest);
                self.cut_links(&rest, nodes);
            }
            if let Fault::OneWay { from, to } = fault {
                self.cut_links(from, to);
            }
        }
    }

    fn cut_links(&mut self, from: &[NodeId], to: &[NodeId]) {
        for one in from {
            for other in to {
                self.links.cut(*one, *other);
            }
        }
    }

    fn apply_path_faults(&mut self) {
        let now = self.now;
        let faults: Vec<Fault> = self
            .lasting()
            .filter(|fault| fault.is_store_outage())
            .cloned()
            .collect();
        let slower = faults.iter().filter_map(Fault::slows_store_by).sum();
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
}

fn faulty_links(base: LinkOptions, faults: &[Fault]) -> LinkOptions {
    let mut links = base;
    for fault in faults {
        if let Fault::Loss(more) = fault {
            links.loss = links.loss.plus(*more);
        }
        if let Fault::Slow(by) = fault {
            links.delay += *by;
        }
    }
    links
}

fn gates(faults: &[Fault], node: NodeId) -> (Gate, Gate) {
    let mut gates = (Gate::Open, Gate::Open);
    for fault in faults {
        let Fault::StoreCut { nodes, way } = fault else {
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

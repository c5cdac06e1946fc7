//! Faults: what begins, what ends, and how the cluster is under all that last at the moment.

use selvedge_engine::{KernelEvent, KeyRange};

use super::World;
use super::event::Event;
use crate::checker::Verdict;
use crate::fault::{Fault, StoreWay, SubnetFileFate};
use crate::junk::Junk;
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::sim_node::Daemon;
use crate::store_path::Gate;

impl World {
    /// Writes the network config, as an operator does before the first node starts.
    pub(super) fn write_config(&mut self) -> Verdict {
        let key = self.scenario.prefix.config_key();
        let config = self.scenario.config.clone();
        // The key is not empty and there is no lease: nothing to refuse.
        if self.service.store.put(&key, config.as_bytes(), None).is_ok() {
            self.milestone(None, format!("network config: {config}"));
        }
        self.pump_store()
    }

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
            Fault::Compaction => self.compact_store(),
            Fault::DeleteLease { node } => return self.delete_lease(node),
            Fault::WriteJunk(junk) => return self.write_junk(junk),
            Fault::Crash { node, file } => self.crash(node, file),
            Fault::Pause { node } => self.pause(node),
            Fault::DeleteTunnel { node } => self.delete_tunnel(node),
        }
        Ok(())
    }

    pub(super) fn end_fault(&mut self, index: usize) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        self.active.remove(&index);
        self.milestone(None, format!("^ over: {fault}"));
        match fault {
            Fault::Partition { .. } | Fault::OneWay { .. } | Fault::Loss(_) | Fault::Slow(_) => {
                self.apply_link_faults();
            }
            Fault::StoreCut { .. } | Fault::StoreSlow(_) => self.apply_path_faults(),
            Fault::StoreDown => return self.start_store(),
            Fault::Crash { node, .. } => return self.restart(node),
            Fault::Pause { node } => self.resume(node),
            Fault::Compaction
            | Fault::DeleteLease { .. }
            | Fault::WriteJunk(_)
            | Fault::DeleteTunnel { .. } => {}
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

    fn lasting(&self) -> impl Iterator<Item = &Fault> {
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

    fn stop_store(&mut self) {
        self.service.stop();
        for id in self.scenario.node_ids() {
            self.disconnect(id);
        }
        self.note_connections();
    }

    fn start_store(&mut self) -> Verdict {
        let is_down = self.lasting().any(|fault| matches!(fault, Fault::StoreDown));
        if is_down {
            return Ok(());
        }
        self.service.start(self.now);
        self.note_connections();
        self.pump_store()
    }

    fn compact_store(&mut self) {
        let revision = self.service.store.header().revision;
        match self.service.store.compact(revision) {
            Ok(()) => self.detail(None, format!("compacted up to {revision}")),
            Err(error) => self.detail(None, format!("not compacted: {error}")),
        }
    }

    fn delete_lease(&mut self, node: NodeId) -> Verdict {
        let Some(subnet) = self.reference.subnet_held_by(node) else {
            self.detail(Some(node), "holds no lease to delete");
            return Ok(());
        };
        let key = self
            .scenario
            .prefix
            .lease_key(&selvedge_engine::Subnet::V4(subnet));
        // The key is not empty: nothing to refuse.
        if self.service.store.delete(KeyRange::Key(key)).is_ok() {
            self.detail(None, format!("lease {subnet} deleted"));
        }
        self.pump_store()
    }

    fn write_junk(&mut self, junk: Junk) -> Verdict {
        let leases = self.scenario.prefix.leases();
        let key = [leases.start(), junk.key()].concat();
        self.reference.expect_junk(key.clone());
        // The key is not empty and there is no lease: nothing to refuse.
        if self.service.store.put(&key, junk.value(), None).is_ok() {
            self.detail(None, "junk written");
        }
        self.pump_store()
    }

    fn crash(&mut self, node: NodeId, file: SubnetFileFate) {
        self.resume_dead(node);
        self.disconnect(node);
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let ran = state.kill_daemon();
        match file {
            SubnetFileFate::Kept => {}
            SubnetFileFate::Lost => state.linux.delete_subnet_file(),
        }
        if !ran {
            self.detail(Some(node), "was not running");
        }
        self.reference.forget(node, now);
        self.note_connections();
    }

    fn restart(&mut self, node: NodeId) -> Verdict {
        let runs = self.daemon_mut(node).is_some();
        if runs || self.is_crashed(node) || !self.started.contains(&node) {
            return Ok(());
        }
        self.start_daemon(node)
    }

    fn pause(&mut self, node: NodeId) {
        self.paused.entry(node).or_default();
        self.note_connections();
    }

    fn resume(&mut self, node: NodeId) {
        let is_paused = self
            .lasting()
            .any(|fault| matches!(fault, Fault::Pause { node: other } if *other == node));
        if is_paused {
            return;
        }
        for event in self.paused.remove(&node).unwrap_or_default() {
            self.queue.push(self.now, event);
        }
        self.reference.disturb(node, self.now);
        self.note_connections();
    }

    /// Loses what waited for a node that stood still and is dead now.
    fn resume_dead(&mut self, node: NodeId) {
        let Some(waiting) = self.paused.get_mut(&node).map(std::mem::take) else {
            return;
        };
        for event in waiting {
            if let Event::Datagram { probe, .. } = event {
                self.overflow(node, probe);
            }
        }
    }

    fn delete_tunnel(&mut self, node: NodeId) {
        let now = self.now;
        let Some(state) = self.nodes.get_mut(node.index()) else {
            return;
        };
        let Some(link) = state.linux.tunnel().cloned() else {
            self.detail(Some(node), "has no tunnel device to delete");
            return;
        };
        state.linux.delete_link(&link);
        let event = Event::KernelNotice {
            node,
            life: state.life,
            event: Box::new(KernelEvent::LinkVanished(link)),
        };
        self.queue.push(now + NOTICE, event);
        self.reference.disturb(node, now);
    }
}

/// How long the kernel takes to tell of a change.
const NOTICE: std::time::Duration = std::time::Duration::from_micros(200);

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

//! What nodes do, apart from packets, as the checkers see it.

use ipnet::Ipv4Net;
use selvedge_engine::{LinkState, OnExpiry};

use super::World;
use crate::checker::{Verdict, announcement, convergence, foreign_state, single_owner};
use crate::node_id::NodeId;
use crate::ref_cluster::{Presence, Write};
use crate::scenario::Model;
use crate::sim_node::SimNode;

impl World {
    /// Checks that a daemon of ours holds no more than the cluster gives it reason to.
    pub(super) fn check_bounds(&self, node: NodeId) -> Verdict {
        let state = self.nodes.get(node.index());
        match state.and_then(|state| state.daemon.as_ref()) {
            Some(daemon) => daemon.check_bounds(self.reference.most_records(self.now)),
            None => Ok(()),
        }
    }

    /// Takes note of the subnet that a node carries packets for at the moment. Where leases may end under the feet of
    /// those who hold them, nobody else may carry it.
    pub(super) fn note_data_path(&mut self, node: NodeId) -> Verdict {
        match self.scenario.on_expiry {
            OnExpiry::Keep => return Ok(()),
            OnExpiry::Fence => {}
        }
        let is_paused = self.paused.contains_key(&node);
        let carried = self
            .nodes
            .get(node.index())
            .filter(|state| !is_paused && state.linux.carries())
            .and_then(|state| state.daemon.as_ref()?.carried());
        let verdict = self.data_paths.set(&self.reference, node, carried, self.now);
        let verdict = verdict.map_err(|finding| self.blame_intruder(finding));
        self.judge(verdict)
    }

    /// Takes note of where a node is, after anything that may have changed it.
    pub(super) fn note_presence(&mut self, node: NodeId) {
        let Some(state) = self.nodes.get(node.index()) else {
            return;
        };
        let presence = Presence {
            address: state.linux.underlay_address(),
            vtep: state.linux.vtep(),
            card: if state.linux.is_attached() {
                LinkState::Up
            } else {
                LinkState::Down
            },
        };
        self.reference.set_presence(node, presence);
    }

    /// Checks that a write of ours keeps to the subnet that the node had.
    pub(super) fn check_identity(&self, write: &Write) -> Verdict {
        let count = self.nodes.len();
        let Write::Lease {
            owner: Some(owner), ..
        } = write
        else {
            return Ok(());
        };
        match NodeId::by_public_ip(*owner, count).filter(|writer| !self.is_flannel(*writer)) {
            Some(_) => self
                .identities
                .check_write(&self.reference, write, count, self.now),
            None => Ok(()),
        }
    }

    /// Checks what shows at no single event, on every node.
    pub(super) fn check_nodes_in_passing(&mut self) -> Verdict {
        for node in self.scenario.node_ids() {
            self.note_data_path(node)?;
            let verdict = self.check_in_passing(node);
            self.judge(verdict)?;
        }
        Ok(())
    }

    fn check_in_passing(&mut self, node: NodeId) -> Verdict {
        let Some(state) = self.nodes.get(node.index()) else {
            return Ok(());
        };
        foreign_state::check(node, &state.linux)?;
        let Some(daemon) = &state.daemon else {
            return Ok(());
        };
        daemon.check_counters()?;
        if let Some(carried) = carried_by(state) {
            single_owner::check_belief(&self.reference, node, carried, self.now)?;
        }
        if let Some(original) = state.identity.original() {
            let of_original = self.nodes.get(original.index()).and_then(carried_by);
            let shared = of_original.filter(|subnet| carried_by(state) == Some(*subnet));
            self.twins
                .check(&self.reference, [original, node], shared, self.now)?;
        }
        match daemon.model() {
            Model::Selvedge => {
                if state.identity.is_own() {
                    announcement::check(&self.reference, node, self.now)?;
                }
                self.check_convergence(node)
            }
            // It is held to what it does to packets, and to the state that it comes to.
            Model::Flannel => Ok(()),
        }
    }

    fn check_convergence(&mut self, node: NodeId) -> Verdict {
        if !convergence::is_due(&self.reference, node, self.now) || self.agrees(node) {
            return Ok(());
        }
        let state = self.nodes.get(node.index());
        let Some(daemon) = state.and_then(|state| state.daemon.as_ref()) else {
            return Ok(());
        };
        let peers = daemon.peers().map(Iterator::collect).unwrap_or_default();
        convergence::check(&self.reference, node, daemon.carried(), &peers, self.now)
    }
}

/// Returns the subnet that a node carries: a daemon's table outlives its tunnel.
pub(super) fn carried_by(state: &SimNode) -> Option<Ipv4Net> {
    let daemon = state.daemon.as_ref()?;
    let carries = state.linux.tunnel().is_some() || !daemon.forwards();
    daemon.carried().filter(|_| carries)
}

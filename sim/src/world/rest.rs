//! The end of a run: every pair of nodes that nothing disturbs has to reach each other.

use super::World;
use super::probing::PING_LENGTH;
use crate::checker::at_rest::{self, NodeView};
use crate::checker::{Verdict, convergence};
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::probability::Probability;
use crate::probe::ProbeKind;
use crate::sim_node::SimNode;

impl World {
    /// Checks every node, then sends a last probe between every pair, over links that lose nothing.
    pub(super) fn begin_rest(&mut self) -> Verdict {
        let looked_at = self.nodes.iter().map(|state| self.check_node(state));
        let wrong: Vec<Verdict> = looked_at.filter(Result::is_err).collect();
        for verdict in wrong {
            self.judge(verdict)?;
        }
        let awake = self.awake();
        let ready: Vec<NodeId> = awake
            .into_iter()
            .filter(|node| self.reference.is_up_to_date(*node, self.now))
            .filter(|node| self.reference.must_carry(*node, self.now))
            .collect();
        self.links.calm(LinkOptions {
            loss: Probability::ZERO,
            duplication: Probability::ZERO,
            ..self.scenario.links
        });
        for from in &ready {
            for to in ready.iter().filter(|to| *to != from) {
                self.send_last_probe(*from, *to)?;
            }
        }
        Ok(())
    }

    pub(super) fn check_rest(&mut self) -> Verdict {
        let probes = std::mem::take(&mut self.rest_probes);
        for id in &probes {
            let Some(probe) = self.probes.get_mut(*id).copied() else {
                continue;
            };
            let flannels = [probe.from, probe.to]
                .into_iter()
                .find(|node| self.is_flannel(*node));
            let verdict = at_rest::check_probe(&probe).map_err(|finding| match flannels {
                Some(node) => finding.by(node),
                None => finding,
            });
            self.judge(verdict)?;
        }
        self.milestone(
            None,
            format!("at rest: {} pairs of nodes reach each other", probes.len()),
        );
        self.judge_probes()?;
        for state in &self.nodes {
            if let Some(daemon) = &state.daemon {
                daemon.check_counters()?;
            }
        }
        Ok(())
    }

    fn send_last_probe(&mut self, from: NodeId, to: NodeId) -> Verdict {
        if !self.links.is_open(from, to) {
            return Ok(());
        }
        if let Some(id) = self.send_probe(from, to, ProbeKind::Datagram, PING_LENGTH)? {
            self.rest_probes.insert(id);
        }
        Ok(())
    }

    fn check_node(&self, state: &SimNode) -> Verdict {
        let Some(daemon) = state
            .daemon
            .as_ref()
            .filter(|_| !self.paused.contains_key(&state.id))
        else {
            return Ok(());
        };
        let status = daemon.status();
        let view = NodeView {
            node: state.id,
            phase: status.phase,
            subnet: status.subnet.and_then(|subnet| subnet.v4()).map(|v4| v4.trunc()),
            peers: daemon.peers().map(Iterator::collect).unwrap_or_default(),
        };
        at_rest::check_node(&self.reference, &view, self.now)?;
        if convergence::is_due(&self.reference, state.id, self.now) {
            daemon.check_rest(&state.linux)?;
        }
        Ok(())
    }
}

//! The end of a run: nodes that nothing disturbs have to reach each other.

use std::collections::BTreeSet;
use std::time::Duration;

use selvedge_engine::Phase;

use super::World;
use super::probing::PING_LENGTH;
use crate::checker::at_rest::{self, NodeView, Room};
use crate::checker::{Verdict, convergence};
use crate::links::LinkOptions;
use crate::node_id::NodeId;
use crate::probability::Probability;
use crate::probe::ProbeKind;
use crate::sim_node::SimNode;

impl World {
    /// Checks every node, then sends the last probes, over links that lose nothing: between every pair of nodes, or where
    /// there are more than [`ALL_PAIRS`] of them, from each node to some.
    pub(super) fn begin_rest(&mut self) -> Verdict {
        let room = self.room();
        let looked_at = self.nodes.iter().map(|state| self.check_node(state, room));
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
        if !self.scenario.carries_packets() {
            return Ok(());
        }
        self.links.calm(LinkOptions {
            loss: Probability::ZERO,
            duplication: Probability::ZERO,
            ..self.scenario.links
        });
        for (place, from) in ready.iter().enumerate() {
            for to in partners(place, &ready) {
                self.send_last_probe(*from, to)?;
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
        let is_attached = |node: NodeId| {
            let state = self.nodes.get(node.index());
            state.is_some_and(|state| state.linux.is_attached())
        };
        if !self.links.is_open(from, to) || !is_attached(from) || !is_attached(to) {
            return Ok(());
        }
        if let Some(id) = self.send_probe(from, to, ProbeKind::Datagram, PING_LENGTH)? {
            self.rest_probes.insert(id);
        }
        Ok(())
    }

    /// Tells whether there is room for every node, or strangers have taken all that is left.
    fn room(&self) -> Room {
        if self.reference.has_strangers() && !self.has_room() {
            Room::None
        } else {
            Room::Left
        }
    }

    fn has_twin(&self, node: NodeId) -> bool {
        self.nodes
            .iter()
            .any(|other| other.identity.original() == Some(node))
    }

    fn check_node(&self, state: &SimNode, room: Room) -> Verdict {
        let Some(daemon) = state
            .daemon
            .as_ref()
            .filter(|_| !self.paused.contains_key(&state.id))
        else {
            return Ok(());
        };
        let status = daemon.status();
        // While it answers the claim of a twin it acquires its lease anew, and carries on.
        let (phase, obstacles) = if self.has_twin(state.id) && status.subnet.is_some() {
            (Phase::Running, Vec::new())
        } else {
            (status.phase, daemon.obstacles(self.now))
        };
        let view = NodeView {
            node: state.id,
            phase,
            obstacles,
            subnet: status.subnet.and_then(|subnet| subnet.v4()).map(|v4| v4.trunc()),
            peers: daemon.peers().map(Iterator::collect).unwrap_or_default(),
        };
        // A twin is refused, and holds nothing.
        if state.identity.is_own() {
            at_rest::check_node(&self.reference, &view, room, self.now)?;
        }
        if convergence::is_due(&self.reference, state.id, self.now) {
            daemon.check_rest(&state.linux)?;
        }
        Ok(())
    }
}

/// How long a node takes at most to a subnet that became free, with some to spare for those that try for it together.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Returns the nodes that the one at a place among all that are ready sends a last probe to.
///
/// Up to [`ALL_PAIRS`] nodes these are all others. Beyond, they are those 1, 2, 4, 8 and so on places further on, in a
/// ring: of n nodes each sends to about log2 n others, and hears from as many.
fn partners(place: usize, ready: &[NodeId]) -> Vec<NodeId> {
    let count = ready.len();
    let distances: Vec<usize> = if count <= ALL_PAIRS {
        (1..count).collect()
    } else {
        (0..usize::BITS)
            .map(|bit| 1 << bit)
            .take_while(|distance| *distance < count)
            .collect()
    };
    let places: BTreeSet<usize> = distances
        .into_iter()
        .map(|distance| (place + distance) % count)
        .collect();
    places
        .iter()
        .filter_map(|place| ready.get(*place))
        .copied()
        .collect()
}

/// Up to how many nodes every pair is probed at the end.
const ALL_PAIRS: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn few_nodes_are_probed_in_all_pairs() {
        let ready: Vec<NodeId> = NodeId::first(5).collect();

        let pairs: BTreeSet<(NodeId, NodeId)> = pairs(&ready).into_iter().collect();

        assert_eq!(pairs.len(), 5 * 4);
        assert!(pairs.iter().all(|(from, to)| from != to));
    }

    #[test]
    fn of_many_nodes_each_sends_to_few_and_hears_from_as_many() {
        let ready: Vec<NodeId> = NodeId::first(1000).collect();

        let pairs = pairs(&ready);

        let mut heard: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (from, to) in &pairs {
            assert_ne!(from, to);
            *heard.entry(*to).or_default() += 1;
        }
        assert_eq!(pairs.len(), 1000 * 10);
        assert!(ready.iter().all(|node| heard.get(node) == Some(&10)));
    }

    fn pairs(ready: &[NodeId]) -> Vec<(NodeId, NodeId)> {
        let places = ready.iter().enumerate();
        let pairs = places.flat_map(|(place, from)| {
            let partners = partners(place, ready).into_iter();
            partners.map(move |to| (*from, to))
        });
        pairs.collect()
    }
}

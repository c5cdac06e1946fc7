//! Whether nodes forward as the leases say, apart from peers that they may keep for a while.
//!
//! A forwarding table and leases that were compared once need no second look as long as both are the same: for n nodes
//! and n leases a look at all nodes takes O(n) steps, and as many again for each table that is new.

use std::collections::BTreeMap;

use super::World;
use crate::checker::convergence;
use crate::node_id::NodeId;

/// What was compared last, and the node that was found to differ last.
#[derive(Debug)]
pub(super) struct Comparisons {
    of_node: Vec<Option<Compared>>,
    suspect: Option<NodeId>,
}

#[derive(Clone, Copy, Debug)]
struct Compared {
    what: Versions,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Versions {
    leases: u64,
    life: u32,
    tables: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Equal,
    /// But for peers that the node may keep at the moment.
    Excused,
    Different,
}

impl Comparisons {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            of_node: vec![None; nodes],
            suspect: None,
        }
    }
}

impl World {
    /// Tells whether all running nodes forward as the leases say.
    pub(super) fn all_agree(&mut self) -> bool {
        let suspect = self.comparisons.suspect;
        if suspect.is_some_and(|suspect| self.runs(suspect) && !self.agrees(suspect)) {
            return false;
        }
        self.comparisons.suspect = self
            .scenario
            .node_ids()
            .find(|node| self.runs(*node) && !self.agrees(*node));
        self.comparisons.suspect.is_none()
    }

    /// Tells whether the daemon of a node runs and forwards as the leases say.
    pub(super) fn agrees(&mut self, node: NodeId) -> bool {
        let versions = self.versions(node);
        let compared = self.comparisons.of_node.get(node.index()).copied().flatten();
        if let Some(compared) = compared.filter(|compared| Some(compared.what) == versions) {
            return compared.outcome == Outcome::Equal;
        }
        let outcome = self.compare(node);
        if let Some(place) = self.comparisons.of_node.get_mut(node.index()) {
            *place = versions
                .filter(|_| outcome != Outcome::Excused)
                .map(|what| Compared { what, outcome });
        }
        outcome != Outcome::Different
    }

    /// Returns what a comparison of this node depends on; `None` if nobody counts it.
    fn versions(&self, node: NodeId) -> Option<Versions> {
        let state = self.nodes.get(node.index())?;
        let daemon = state.daemon.as_ref().filter(|daemon| daemon.forwards())?;
        Some(Versions {
            leases: self.reference.changes(),
            life: state.life,
            tables: daemon.tables()?,
        })
    }

    fn compare(&self, node: NodeId) -> Outcome {
        let state = self.nodes.get(node.index());
        let daemon = state.and_then(|state| state.daemon.as_ref());
        let forwarding = daemon.and_then(|daemon| daemon.carried().zip(daemon.peers()));
        let held = self.reference.subnet_held_by(node);
        let Some((own, peers)) = forwarding.filter(|(own, _)| held == Some(*own)) else {
            return Outcome::Different;
        };
        let peers: BTreeMap<_, _> = peers.collect();
        let others = self.reference.leases().filter(|(subnet, _)| *subnet != own);
        if others.eq(peers.iter().map(|(subnet, ip)| (*subnet, *ip))) {
            return Outcome::Equal;
        }
        match convergence::difference(&self.reference, node, own, &peers, self.now) {
            None => Outcome::Excused,
            Some(_) => Outcome::Different,
        }
    }

    fn runs(&self, node: NodeId) -> bool {
        let state = self.nodes.get(node.index());
        state.is_some_and(|state| state.daemon.is_some())
    }
}

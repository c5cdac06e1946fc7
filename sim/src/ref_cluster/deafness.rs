//! Nodes that never heard of a change: nothing but a list of all leases tells them.

use std::net::Ipv4Addr;
use std::time::Duration;

use selvedge_engine::{Instant, Revision};

use super::{Knowledge, RefCluster};
use crate::node_id::NodeId;
use crate::scenario::Model;

/// A change that a node never heard of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unheard {
    /// The change.
    pub(super) revision: Revision,
    /// When the node has to have listed all leases anew; `None` for one that never does.
    pub(super) listed_by: Option<Instant>,
}

/// The longest time between two lists of a node of ours: five minutes, or half as much again (faults.md, 22).
const RELIST: Duration = Duration::from_secs(450);

impl RefCluster {
    /// Takes note that a node never hears of the change at `revision`.
    pub(crate) fn lose_change(&mut self, node: NodeId, model: Model, revision: Revision, now: Instant) {
        self.stale_records += 1;
        let windows = self.windows;
        let listed_by = match model {
            Model::Selvedge => Some(now + RELIST + windows.recovery),
            Model::Flannel => None,
        };
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.lose(Unheard { revision, listed_by }, &windows, now);
        }
    }

    /// Takes note that a node has a list of all leases as they were at `revision`.
    pub(crate) fn list(&mut self, node: NodeId, revision: Revision, now: Instant) {
        let windows = self.windows;
        if let Some(knowledge) = self.knowledge.get_mut(node.index()) {
            knowledge.list(revision, &windows, now);
        }
    }

    /// Tells whether a node may take a record of `peer` for `destination` for one that stands, although it does not: it
    /// never heard of a change that may have been its end, or has still to find out that the store lost its history.
    pub(super) fn may_misjudge(
        &self,
        node: NodeId,
        destination: Ipv4Addr,
        peer: Ipv4Addr,
        now: Instant,
    ) -> bool {
        let misled_since = |knowledge: &Knowledge| knowledge.misled_since(&self.windows, now);
        let since = if self.is_deaf(node) {
            Some(Instant::ZERO)
        } else {
            self.knowledge.get(node.index()).and_then(misled_since)
        };
        let mut records = self.records_of.get(&peer).into_iter().flatten();
        since.is_some_and(|since| {
            records
                .any(|(subnet, gone)| subnet.contains(&destination) && gone.is_none_or(|gone| gone >= since))
        })
    }

    /// Tells whether a node has heard of everything for as long as it takes to get over what it missed before.
    pub(crate) fn hears_well(&self, node: NodeId, now: Instant) -> bool {
        let hears_well = |knowledge: &Knowledge| knowledge.hears_well(&self.windows, now);
        self.knowledge.get(node.index()).is_none_or(hears_well)
    }

    /// Tells whether there is a change that a node never heard of.
    pub(crate) fn is_deaf(&self, node: NodeId) -> bool {
        self.knowledge
            .get(node.index())
            .is_some_and(|knowledge| knowledge.unheard().is_some())
    }
}

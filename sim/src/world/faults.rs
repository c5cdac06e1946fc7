//! Faults: what begins, what ends, and what lasts at the moment.

use super::World;
use crate::checker::Verdict;
use crate::fault::{Fault, NodeFault, StoreFault};
use crate::mark::Mark;
use crate::node_id::NodeId;
use crate::sim_node::Daemon;

impl World {
    pub(super) fn begin_fault(&mut self, index: usize) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        self.statistics.marks.hit(Mark::Fault(fault.kind()));
        let health = self.health();
        self.disturbed_at = self.now;
        self.recoveries.begin(index, &fault, health, self.now);
        self.milestone(None, format!("! {fault}"));
        if !fault.is_instant() {
            self.active.insert(index);
        }
        match fault {
            Fault::Underlay(_) | Fault::Link(_) => {
                self.apply_underlay_faults();
                Ok(())
            }
            Fault::Store(fault) => self.begin_store_fault(index, &fault),
            Fault::Node { node, fault } => {
                self.begin_node_fault(node, &fault)?;
                self.note_data_path(node)
            }
        }
    }

    pub(super) fn end_fault(&mut self, index: usize) -> Verdict {
        let Some(fault) = self.scenario.faults.get(index).map(|timed| timed.fault.clone()) else {
            return Ok(());
        };
        self.active.remove(&index);
        self.disturbed_at = self.now;
        self.recoveries.end(index, self.now);
        if let Some(line) = fault.end() {
            self.milestone(None, line);
        }
        match fault {
            Fault::Underlay(_) | Fault::Link(_) => {
                self.apply_underlay_faults();
                Ok(())
            }
            Fault::Store(fault) => self.end_store_fault(index, &fault),
            Fault::Node { node, fault } => self.end_node_fault(node, &fault),
        }
    }

    pub(super) fn daemon_mut(&mut self, node: NodeId) -> Option<&mut Daemon> {
        self.nodes.get_mut(node.index())?.daemon.as_mut()
    }

    /// Returns the faults of the store that last at the moment.
    pub(super) fn lasting_store_faults(&self) -> impl Iterator<Item = &StoreFault> {
        self.lasting().filter_map(|fault| match fault {
            Fault::Store(fault) => Some(fault),
            Fault::Underlay(_) | Fault::Link(_) | Fault::Node { .. } => None,
        })
    }

    /// Returns the faults of a node that last at the moment.
    pub(super) fn lasting_node_faults(&self, node: NodeId) -> impl Iterator<Item = &NodeFault> {
        self.lasting().filter_map(move |fault| match fault {
            Fault::Node { node: other, fault } => (*other == node).then_some(fault),
            Fault::Underlay(_) | Fault::Link(_) | Fault::Store(_) => None,
        })
    }

    /// Returns the faults that last at the moment.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Fault> {
        self.active
            .iter()
            .filter_map(|index| match self.curtailed.get(index) {
                Some(rest) => Some(rest),
                None => Some(&self.scenario.faults.get(*index)?.fault),
            })
    }
}

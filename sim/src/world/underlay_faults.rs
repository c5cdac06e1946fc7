//! What goes wrong between nodes.

use super::World;
use crate::fault::{Fault, UnderlayFault};
use crate::node_id::NodeId;

impl World {
    /// Sets the links as all faults that last at the moment make them.
    pub(super) fn apply_underlay_faults(&mut self) {
        let faults: Vec<Fault> = self.lasting().cloned().collect();
        self.links.reset();
        for fault in &faults {
            match fault {
                Fault::Underlay(fault) => self.apply_underlay_fault(fault),
                Fault::Link(fault) => self.links.add_fault(*fault),
                Fault::Store(_) | Fault::Node { .. } => {}
            }
        }
    }

    fn apply_underlay_fault(&mut self, fault: &UnderlayFault) {
        let all = self.scenario.node_ids();
        match fault {
            UnderlayFault::Partition { nodes } => {
                let rest: Vec<NodeId> = all.filter(|id| !nodes.contains(id)).collect();
                self.cut_links(nodes, &rest);
                self.cut_links(&rest, nodes);
            }
            UnderlayFault::OneWay { from, to } => self.cut_links(from, to),
            UnderlayFault::PortBlocked { nodes } => self.links.cut(all, nodes.iter().copied()),
            UnderlayFault::SourceChanged { nodes } => {
                for node in nodes {
                    self.links.hide(*node);
                }
            }
        }
    }

    fn cut_links(&mut self, from: &[NodeId], to: &[NodeId]) {
        self.links.cut(from.iter().copied(), to.iter().copied());
    }
}

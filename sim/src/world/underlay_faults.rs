//! What goes wrong between nodes.

use super::World;
use crate::fault::UnderlayFault;
use crate::links::LinkOptions;
use crate::node_id::NodeId;

impl World {
    /// Sets the links as all faults of the underlay that last at the moment make them.
    pub(super) fn apply_underlay_faults(&mut self) {
        let faults: Vec<UnderlayFault> = self.lasting_underlay_faults().cloned().collect();
        self.links.reset(faulty_links(self.scenario.links, &faults));
        let all: Vec<NodeId> = self.scenario.node_ids().collect();
        for fault in &faults {
            match fault {
                UnderlayFault::Partition { nodes } => {
                    let rest: Vec<NodeId> = all.iter().copied().filter(|id| !nodes.contains(id)).collect();
                    self.cut_links(nodes, &rest);
                    self.cut_links(&rest, nodes);
                }
                UnderlayFault::OneWay { from, to } => self.cut_links(from, to),
                UnderlayFault::Loss(_) | UnderlayFault::Slow(_) => {}
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
}

fn faulty_links(base: LinkOptions, faults: &[UnderlayFault]) -> LinkOptions {
    let mut links = base;
    for fault in faults {
        match fault {
            UnderlayFault::Loss(more) => links.loss = links.loss.plus(*more),
            UnderlayFault::Slow(by) => links.delay += *by,
            UnderlayFault::Partition { .. } | UnderlayFault::OneWay { .. } => {}
        }
    }
    links
}

//! What is left of a fault when some nodes get over it.

use super::{Fault, StoreFault, UnderlayFault};
use crate::node_id::NodeId;

impl Fault {
    /// Returns what the fault still does when these nodes heal, and the store; `None` if nothing.
    ///
    /// What it does between the nodes that heal is left to the links.
    pub(crate) fn without(&self, healed: &[NodeId]) -> Option<Self> {
        let rest = |nodes: &[NodeId]| -> Option<Vec<NodeId>> {
            let left: Vec<NodeId> = nodes
                .iter()
                .copied()
                .filter(|node| !healed.contains(node))
                .collect();
            (!left.is_empty()).then_some(left)
        };
        match self {
            Self::Underlay(fault) => Some(Self::Underlay(match fault {
                UnderlayFault::Partition { .. } | UnderlayFault::OneWay { .. } => fault.clone(),
                UnderlayFault::PortBlocked { nodes } => UnderlayFault::PortBlocked { nodes: rest(nodes)? },
                UnderlayFault::SourceChanged { nodes } => {
                    UnderlayFault::SourceChanged { nodes: rest(nodes)? }
                }
            })),
            Self::Link(_) => Some(self.clone()),
            Self::Store(fault) => Some(Self::Store(match fault {
                StoreFault::Cut { nodes, way } => StoreFault::Cut {
                    nodes: rest(nodes)?,
                    way: *way,
                },
                StoreFault::LagWatches { nodes, by } => StoreFault::LagWatches {
                    nodes: rest(nodes)?,
                    by: *by,
                },
                StoreFault::Repeat { nodes } => StoreFault::Repeat { nodes: rest(nodes)? },
                StoreFault::Down
                | StoreFault::Slow(_)
                | StoreFault::NoLeader
                | StoreFault::Unauthorized
                | StoreFault::Full
                | StoreFault::GrantLess(_)
                | StoreFault::DisownLeases
                | StoreFault::BreakConfig(_)
                | StoreFault::HalveSubnets
                | StoreFault::Restore
                | StoreFault::Wipe
                | StoreFault::Compaction
                | StoreFault::CutWatches { .. }
                | StoreFault::LoseChange { .. }
                | StoreFault::LoseWrite { .. }
                | StoreFault::DeleteLease { .. }
                | StoreFault::RevokeLease { .. }
                | StoreFault::SpoilLease { .. }
                | StoreFault::StealLease { .. }
                | StoreFault::DoubleLease { .. }
                | StoreFault::AdmitStranger
                | StoreFault::EndReservation { .. }
                | StoreFault::Reserve { .. }
                | StoreFault::WriteJunk(_) => return None,
            })),
            Self::Node { node, .. } => (!healed.contains(node)).then(|| self.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{NodeFault, StoreWay};

    #[test]
    fn the_store_and_the_healed_nodes_get_over_a_fault_and_the_others_do_not() {
        let [n1, n2] = [1, 2].map(NodeId::new);
        let cut = |nodes: &[NodeId]| {
            Fault::from(StoreFault::Cut {
                nodes: nodes.to_vec(),
                way: StoreWay::Both,
            })
        };
        let pause = |node| Fault::Node {
            node,
            fault: NodeFault::Pause,
        };

        assert_eq!(cut(&[n1, n2]).without(&[n1]), Some(cut(&[n2])));
        assert_eq!(cut(&[n1]).without(&[n1]), None);
        assert_eq!(Fault::from(StoreFault::Down).without(&[n1]), None);
        assert_eq!(pause(n1).without(&[n1]), None);
        assert_eq!(pause(n2).without(&[n1]), Some(pause(n2)));
    }
}

//! The nodes that a fault names.

use super::{Fault, StoreFault, UnderlayFault};
use crate::node_id::NodeId;

/// How a fault names nodes.
pub(crate) enum Named<'a> {
    Nobody,
    One(&'a mut NodeId),
    Groups(Vec<&'a mut Vec<NodeId>>),
}

impl Fault {
    /// Returns the nodes that the fault names.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self.clone().named() {
            Named::Nobody => Vec::new(),
            Named::One(node) => vec![*node],
            Named::Groups(groups) => groups.into_iter().flatten().map(|node| *node).collect(),
        }
    }

    pub(crate) fn named(&mut self) -> Named<'_> {
        match self {
            Self::Underlay(fault) => fault.named(),
            Self::Link(_) => Named::Nobody,
            Self::Store(fault) => fault.named(),
            Self::Node { node, .. } => Named::One(node),
        }
    }
}

impl UnderlayFault {
    fn named(&mut self) -> Named<'_> {
        match self {
            Self::Partition { nodes } | Self::PortBlocked { nodes } | Self::SourceChanged { nodes } => {
                Named::Groups(vec![nodes])
            }
            Self::OneWay { from, to } => Named::Groups(vec![from, to]),
        }
    }
}

impl StoreFault {
    fn named(&mut self) -> Named<'_> {
        match self {
            Self::Cut { nodes, .. }
            | Self::LagWatches { nodes, .. }
            | Self::Repeat { nodes }
            | Self::CutWatches { nodes } => Named::Groups(vec![nodes]),
            Self::LoseChange { node }
            | Self::LoseWrite { node, .. }
            | Self::DeleteLease { node }
            | Self::RevokeLease { node }
            | Self::SpoilLease { node }
            | Self::StealLease { node }
            | Self::DoubleLease { node }
            | Self::EndReservation { node }
            | Self::Reserve { node } => Named::One(node),
            Self::Down
            | Self::Slow(_)
            | Self::NoLeader
            | Self::Unauthorized
            | Self::Full
            | Self::GrantLess(_)
            | Self::DisownLeases
            | Self::BreakConfig(_)
            | Self::HalveSubnets
            | Self::AdmitStranger
            | Self::Restore
            | Self::Wipe
            | Self::Compaction
            | Self::WriteJunk(_) => Named::Nobody,
        }
    }
}

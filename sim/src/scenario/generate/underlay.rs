//! Drawing faults of the underlay.

use super::choice::some_nodes;
use crate::fault::UnderlayFault;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Partition,
    OneWay,
    PortBlocked,
    SourceChanged,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::Partition,
        Self::OneWay,
        Self::PortBlocked,
        Self::SourceChanged,
    ];

    pub(super) fn draw(self, rng: &mut dyn Draw, nodes: u32) -> UnderlayFault {
        let nodes_hit = some_nodes(rng, nodes);
        match self {
            Self::Partition => UnderlayFault::Partition { nodes: nodes_hit },
            Self::OneWay => UnderlayFault::OneWay {
                from: nodes_hit,
                to: some_nodes(rng, nodes),
            },
            Self::PortBlocked => UnderlayFault::PortBlocked { nodes: nodes_hit },
            Self::SourceChanged => UnderlayFault::SourceChanged { nodes: nodes_hit },
        }
    }
}

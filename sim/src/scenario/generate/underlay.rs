//! Drawing faults of the underlay.

use std::time::Duration;

use super::choice::{pick, some_nodes};
use crate::fault::UnderlayFault;
use crate::probability::Probability;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Partition,
    OneWay,
    Loss,
    Slow,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Partition, Self::OneWay, Self::Loss, Self::Slow];

    pub(super) fn draw(self, rng: &mut dyn Draw, nodes: u32) -> UnderlayFault {
        match self {
            Self::Partition => UnderlayFault::Partition {
                nodes: some_nodes(rng, nodes),
            },
            Self::OneWay => UnderlayFault::OneWay {
                from: some_nodes(rng, nodes),
                to: some_nodes(rng, nodes),
            },
            Self::Loss => UnderlayFault::Loss(Probability::percent(*pick(rng, &[5, 20, 50]))),
            Self::Slow => UnderlayFault::Slow(*pick(
                rng,
                &[Duration::from_millis(50), Duration::from_millis(500)],
            )),
        }
    }
}

//! Drawing faults of the store.

use std::time::Duration;

use super::choice::{one_node, pick, some_nodes};
use crate::fault::{StoreFault, StoreWay};
use crate::junk::Junk;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Cut,
    Down,
    Slow,
    Full,
    Restore,
    Wipe,
    Compaction,
    DeleteLease,
    Junk,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Cut,
        Self::Down,
        Self::Slow,
        Self::Full,
        Self::Restore,
        Self::Wipe,
        Self::Compaction,
        Self::DeleteLease,
        Self::Junk,
    ];

    pub(super) fn draw(self, rng: &mut dyn Draw, nodes: u32) -> StoreFault {
        match self {
            Self::Cut => StoreFault::Cut {
                nodes: some_nodes(rng, nodes),
                way: *pick(rng, &[StoreWay::Both, StoreWay::Requests, StoreWay::Answers]),
            },
            Self::Down => StoreFault::Down,
            Self::Slow => StoreFault::Slow(*pick(rng, &[Duration::from_millis(700), Duration::from_secs(4)])),
            Self::Full => StoreFault::Full,
            Self::Restore => StoreFault::Restore,
            Self::Wipe => StoreFault::Wipe,
            Self::Compaction => StoreFault::Compaction,
            Self::DeleteLease => StoreFault::DeleteLease {
                node: one_node(rng, nodes),
            },
            Self::Junk => StoreFault::WriteJunk(*pick(rng, &Junk::ALL)),
        }
    }
}

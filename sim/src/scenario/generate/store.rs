//! Drawing faults of the store.

use std::time::Duration;

use super::choice::{one_node, pick, some_nodes};
use crate::fault::{ConfigDamage, StoreFault, StoreWay, WriteFate};
use crate::junk::Junk;
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Cut,
    Down,
    Slow,
    NoLeader,
    Unauthorized,
    Full,
    LagWatches,
    Repeat,
    GrantLess,
    DisownLeases,
    BreakConfig,
    HalveSubnets,
    Restore,
    Wipe,
    Compaction,
    CutWatches,
    LoseChange,
    LoseWrite,
    DeleteLease,
    RevokeLease,
    SpoilLease,
    StealLease,
    DoubleLease,
    AdmitStranger,
    Reserve,
    EndReservation,
    Junk,
}

impl Kind {
    pub(super) const ALL: [Self; Self::Junk as usize + 1] = [
        Self::Cut,
        Self::Down,
        Self::Slow,
        Self::NoLeader,
        Self::Unauthorized,
        Self::Full,
        Self::LagWatches,
        Self::Repeat,
        Self::GrantLess,
        Self::DisownLeases,
        Self::BreakConfig,
        Self::HalveSubnets,
        Self::Restore,
        Self::Wipe,
        Self::Compaction,
        Self::CutWatches,
        Self::LoseChange,
        Self::LoseWrite,
        Self::DeleteLease,
        Self::RevokeLease,
        Self::SpoilLease,
        Self::StealLease,
        Self::DoubleLease,
        Self::AdmitStranger,
        Self::Reserve,
        Self::EndReservation,
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
            Self::NoLeader => StoreFault::NoLeader,
            Self::Unauthorized => StoreFault::Unauthorized,
            Self::Full => StoreFault::Full,
            Self::LagWatches => StoreFault::LagWatches {
                nodes: some_nodes(rng, nodes),
                by: *pick(rng, &[Duration::from_millis(300), Duration::from_secs(10)]),
            },
            Self::Repeat => StoreFault::Repeat {
                nodes: some_nodes(rng, nodes),
            },
            Self::GrantLess => StoreFault::GrantLess(*pick(rng, &SHORT_TTLS)),
            Self::DisownLeases => StoreFault::DisownLeases,
            Self::BreakConfig => StoreFault::BreakConfig(*pick(rng, &ConfigDamage::ALL)),
            Self::HalveSubnets => StoreFault::HalveSubnets,
            Self::Restore => StoreFault::Restore,
            Self::Wipe => StoreFault::Wipe,
            Self::Compaction => StoreFault::Compaction,
            Self::CutWatches => StoreFault::CutWatches {
                nodes: some_nodes(rng, nodes),
            },
            Self::AdmitStranger => StoreFault::AdmitStranger,
            Self::Junk => StoreFault::WriteJunk(*pick(rng, &Junk::ALL)),
            Self::LoseChange => StoreFault::LoseChange {
                node: one_node(rng, nodes),
            },
            Self::LoseWrite => StoreFault::LoseWrite {
                node: one_node(rng, nodes),
                fate: *pick(rng, &[WriteFate::Lost, WriteFate::CarriedOut]),
            },
            Self::DeleteLease => StoreFault::DeleteLease {
                node: one_node(rng, nodes),
            },
            Self::RevokeLease => StoreFault::RevokeLease {
                node: one_node(rng, nodes),
            },
            Self::SpoilLease => StoreFault::SpoilLease {
                node: one_node(rng, nodes),
            },
            Self::StealLease => StoreFault::StealLease {
                node: one_node(rng, nodes),
            },
            Self::DoubleLease => StoreFault::DoubleLease {
                node: one_node(rng, nodes),
            },
            Self::Reserve => StoreFault::Reserve {
                node: one_node(rng, nodes),
            },
            Self::EndReservation => StoreFault::EndReservation {
                node: one_node(rng, nodes),
            },
        }
    }
}

/// Returns a fault that makes all leases short.
pub(super) fn short_leases(rng: &mut dyn Draw) -> StoreFault {
    Kind::GrantLess.draw(rng, 1)
}

const SHORT_TTLS: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(20),
    Duration::from_mins(1),
];

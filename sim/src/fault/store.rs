//! What goes wrong with the store, and what operators do to it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Concern, Names, Part};
use crate::duration_text;
use crate::junk::Junk;
use crate::node_id::NodeId;

/// Something that goes wrong with the store or on the way to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum StoreFault {
    /// These nodes do not reach the store.
    Cut {
        /// The nodes.
        nodes: Vec<NodeId>,
        /// Which way is cut.
        way: StoreWay,
    },
    /// The store is down; it keeps its content.
    Down,
    /// The store is slower by this, each way.
    Slow(#[serde(with = "duration_text")] Duration),
    /// The store has no leader: it refuses every request and watch, and no etcd lease ends. The new leader gives each its
    /// whole time to live anew.
    NoLeader,
    /// The store refuses whatever nodes ask: somebody changed their password.
    Unauthorized,
    /// The store is out of space: it answers, but refuses every write.
    Full,
    /// What watches of these nodes say comes later by this; answers to requests overtake it.
    LagWatches {
        /// The nodes.
        nodes: Vec<NodeId>,
        /// How much later.
        #[serde(with = "duration_text")]
        by: Duration,
    },
    /// These nodes hear everything from the store twice.
    Repeat {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// The store grants etcd leases for this time at most, whatever is asked.
    GrantLess(#[serde(with = "duration_text")] Duration),
    /// The store says of every etcd lease that is to be kept alive that there is none.
    DisownLeases,
    /// The network config is broken; it is written as it was at the end.
    BreakConfig(ConfigDamage),
    /// An operator halves the subnets in the network config; it is written as it was at the end.
    HalveSubnets,
    /// A backup of the store is made at the beginning, and the store is restored from it at the end.
    Restore,
    /// The store loses all its data, and an operator writes the network config again (at once).
    Wipe,
    /// The store forgets its history up to now (at once).
    Compaction,
    /// The watches of these nodes end (at once).
    CutWatches {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// A node never hears of the next change of the leases that its watch would tell it (at once).
    LoseChange {
        /// The node.
        node: NodeId,
    },
    /// The next write of a node, or the answer to it, gets lost (at once).
    LoseWrite {
        /// The node.
        node: NodeId,
        /// What became of the write.
        fate: WriteFate,
    },
    /// An operator deletes the lease of a node (at once).
    DeleteLease {
        /// The node.
        node: NodeId,
    },
    /// An operator revokes the etcd lease of a node, as if it had ended early (at once).
    RevokeLease {
        /// The node.
        node: NodeId,
    },
    /// An operator writes something senseless into the lease of a node (at once).
    SpoilLease {
        /// The node.
        node: NodeId,
    },
    /// A host of another cluster writes itself into the lease of a node, for two minutes (at once).
    StealLease {
        /// The node.
        node: NodeId,
    },
    /// An old flannel writes a lease of a node's subnet under another key, for two minutes (at once).
    DoubleLease {
        /// The node.
        node: NodeId,
    },
    /// A host with another backend takes a free subnet, for two minutes (at once).
    AdmitStranger,
    /// An operator makes the reservation of a node a lease that ends (at once).
    EndReservation {
        /// The node.
        node: NodeId,
    },
    /// An operator reserves a subnet for a node: the one that it holds, else a free one (at once).
    Reserve {
        /// The node.
        node: NodeId,
    },
    /// An operator writes something senseless among the leases (at once).
    WriteJunk(Junk),
}

/// Which way between a node and the store is cut.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreWay {
    /// Both.
    Both,
    /// Requests get lost.
    Requests,
    /// Requests arrive and are carried out, answers get lost: the node cannot know the outcome.
    Answers,
}

/// What became of a write without an answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteFate {
    /// The store never got it.
    Lost,
    /// The store carried it out.
    CarriedOut,
}

/// What is wrong with the network config.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigDamage {
    /// It is deleted.
    Deleted,
    /// It is no JSON.
    NoJson,
    /// It names no network.
    NoNetwork,
    /// It names a backend that nobody has.
    UnknownBackend,
}

impl ConfigDamage {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Deleted, Self::NoJson, Self::NoNetwork, Self::UnknownBackend];

    /// Returns what is written instead, `None` if nothing is.
    pub const fn text(self) -> Option<&'static str> {
        match self {
            Self::Deleted => None,
            Self::NoJson => Some("Network: 10.5.0.0/16"),
            Self::NoNetwork => Some(r#"{"Netwrok":"10.5.0.0/16"}"#),
            Self::UnknownBackend => Some(r#"{"Network":"10.5.0.0/16","Backend":{"Type":"pigeon"}}"#),
        }
    }
}

impl StoreFault {
    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Wipe
            | Self::Compaction
            | Self::CutWatches { .. }
            | Self::LoseChange { .. }
            | Self::LoseWrite { .. }
            | Self::DeleteLease { .. }
            | Self::RevokeLease { .. }
            | Self::SpoilLease { .. }
            | Self::StealLease { .. }
            | Self::DoubleLease { .. }
            | Self::AdmitStranger
            | Self::EndReservation { .. }
            | Self::Reserve { .. }
            | Self::WriteJunk(_) => true,
            Self::Cut { .. }
            | Self::Down
            | Self::Slow(_)
            | Self::NoLeader
            | Self::Unauthorized
            | Self::Full
            | Self::LagWatches { .. }
            | Self::Repeat { .. }
            | Self::GrantLess(_)
            | Self::DisownLeases
            | Self::BreakConfig(_)
            | Self::HalveSubnets
            | Self::Restore => false,
        }
    }

    pub(crate) fn concern(&self) -> Concern {
        let (part, nodes) = match self {
            Self::Cut { nodes, .. }
            | Self::LagWatches { nodes, .. }
            | Self::Repeat { nodes }
            | Self::CutWatches { nodes } => (Part::Path, nodes.clone()),
            Self::LoseChange { node } | Self::LoseWrite { node, .. } => (Part::Path, vec![*node]),
            Self::Slow(_) => (Part::Path, Vec::new()),
            Self::DeleteLease { node }
            | Self::RevokeLease { node }
            | Self::SpoilLease { node }
            | Self::StealLease { node }
            | Self::DoubleLease { node }
            | Self::EndReservation { node }
            | Self::Reserve { node, .. } => (Part::Store, vec![*node]),
            Self::Down
            | Self::NoLeader
            | Self::Unauthorized
            | Self::Full
            | Self::GrantLess(_)
            | Self::DisownLeases
            | Self::BreakConfig(_)
            | Self::HalveSubnets
            | Self::Restore
            | Self::Wipe
            | Self::Compaction
            | Self::AdmitStranger
            | Self::WriteJunk(_) => (Part::Store, Vec::new()),
        };
        Concern { part, nodes }
    }

    /// Returns by how much the way to the store is slower, each way.
    pub(crate) const fn slows_by(&self) -> Option<Duration> {
        if let Self::Slow(by) = self {
            Some(*by)
        } else {
            None
        }
    }

    /// Tells whether the store, or the way to it, is other than it should be for as long as the fault lasts.
    pub fn is_outage(&self) -> bool {
        !self.is_instant() && *self != Self::Restore
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { nodes, way } => match way {
                StoreWay::Both => write!(f, "store out of reach of {}", Names(nodes)),
                StoreWay::Requests => write!(f, "store does not hear {}", Names(nodes)),
                StoreWay::Answers => write!(f, "answers of the store lost for {}", Names(nodes)),
            },
            Self::Down => f.write_str("store down"),
            Self::Slow(by) => write!(f, "store slower by {by:?}"),
            Self::NoLeader => f.write_str("store without leader"),
            Self::Unauthorized => f.write_str("store refuses the nodes' password"),
            Self::Full => f.write_str("store out of space"),
            Self::LagWatches { nodes, by } => write!(f, "watches of {} late by {by:?}", Names(nodes)),
            Self::Repeat { nodes } => write!(f, "store says everything twice to {}", Names(nodes)),
            Self::GrantLess(ttl) => write!(f, "store grants etcd leases for {ttl:?} at most"),
            Self::DisownLeases => f.write_str("store disowns every etcd lease"),
            Self::BreakConfig(damage) => match damage.text() {
                None => f.write_str("network config deleted"),
                Some(text) => write!(f, "network config made senseless: {text}"),
            },
            Self::HalveSubnets => f.write_str("network config with subnets half as large"),
            Self::Restore => f.write_str("store backed up"),
            Self::Wipe => f.write_str("store loses all its data"),
            Self::Compaction => f.write_str("store compacted"),
            Self::CutWatches { nodes } => write!(f, "watches of {} cut", Names(nodes)),
            Self::LoseChange { node } => write!(f, "next change of the leases lost for {node}"),
            Self::LoseWrite { node, fate } => match fate {
                WriteFate::Lost => write!(f, "next write of {node} lost"),
                WriteFate::CarriedOut => write!(f, "answer to the next write lost for {node}"),
            },
            Self::RevokeLease { node } => write!(f, "operator revokes the etcd lease of {node}"),
            Self::SpoilLease { node } => write!(f, "operator spoils the lease of {node}"),
            Self::StealLease { node } => write!(f, "stranger steals the lease of {node}"),
            Self::DoubleLease { node } => write!(f, "old flannel doubles the lease of {node}"),
            Self::AdmitStranger => f.write_str("stranger takes a free subnet"),
            Self::EndReservation { node } => write!(f, "operator ends the reservation of {node}"),
            Self::DeleteLease { node } => write!(f, "operator deletes the lease of {node}"),
            Self::Reserve { node } => write!(f, "operator reserves a subnet for {node}"),
            Self::WriteJunk(junk) => write!(f, "operator writes junk: {junk}"),
        }
    }
}

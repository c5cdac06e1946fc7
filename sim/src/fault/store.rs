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
    /// The store is out of space: it answers, but refuses every write.
    Full,
    /// A backup of the store is made at the beginning, and the store is restored from it at the end.
    Restore,
    /// The store loses all its data, and an operator writes the network config again (at once).
    Wipe,
    /// The store forgets its history up to now (at once).
    Compaction,
    /// An operator deletes the lease of a node (at once).
    DeleteLease {
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

impl StoreFault {
    /// Tells whether the fault happens at once and has no end.
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Wipe
            | Self::Compaction
            | Self::DeleteLease { .. }
            | Self::Reserve { .. }
            | Self::WriteJunk(_) => true,
            Self::Cut { .. } | Self::Down | Self::Slow(_) | Self::Full | Self::Restore => false,
        }
    }

    pub(super) fn concern(&self) -> Concern {
        let (part, nodes) = match self {
            Self::Cut { nodes, .. } => (Part::Path, nodes.clone()),
            Self::Slow(_) => (Part::Path, Vec::new()),
            Self::DeleteLease { node } | Self::Reserve { node, .. } => (Part::Store, vec![*node]),
            Self::Down | Self::Full | Self::Restore | Self::Wipe | Self::Compaction | Self::WriteJunk(_) => {
                (Part::Store, Vec::new())
            }
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

    /// Tells whether the store answers late, not at all or with errors for as long as the fault lasts.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Cut { .. } | Self::Down | Self::Slow(_) | Self::Full => true,
            Self::Restore
            | Self::Wipe
            | Self::Compaction
            | Self::DeleteLease { .. }
            | Self::Reserve { .. }
            | Self::WriteJunk(_) => false,
        }
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
            Self::Full => f.write_str("store out of space"),
            Self::Restore => f.write_str("store backed up"),
            Self::Wipe => f.write_str("store loses all its data"),
            Self::Compaction => f.write_str("store compacted"),
            Self::DeleteLease { node } => write!(f, "operator deletes the lease of {node}"),
            Self::Reserve { node } => write!(f, "operator reserves a subnet for {node}"),
            Self::WriteJunk(junk) => write!(f, "operator writes junk: {junk}"),
        }
    }
}

//! Which machine a node takes itself for.

use serde::{Deserialize, Serialize};

use crate::node_id::NodeId;

/// Which machine a node takes itself for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// For itself.
    #[default]
    Own,
    /// For itself, but it announces the public IP of another, as behind the same NAT; the underlay leads to that one.
    TwinOf(NodeId),
    /// As a twin, and the machine has the other's identity, as the clone of a virtual machine has.
    CopyOf(NodeId),
}

impl Identity {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) const fn is_own(&self) -> bool {
        match self {
            Self::Own => true,
            Self::TwinOf(_) | Self::CopyOf(_) => false,
        }
    }

    /// Returns the node that it takes the public IP of.
    pub(crate) const fn original(self) -> Option<NodeId> {
        match self {
            Self::Own => None,
            Self::TwinOf(node) | Self::CopyOf(node) => Some(node),
        }
    }

    /// Returns the same among nodes that were given other names; without the other node it is its own.
    pub(crate) fn renamed(self, rename: impl Fn(NodeId) -> Option<NodeId>) -> Self {
        match self {
            Self::Own => Self::Own,
            Self::TwinOf(node) => rename(node).map_or(Self::Own, Self::TwinOf),
            Self::CopyOf(node) => rename(node).map_or(Self::Own, Self::CopyOf),
        }
    }
}

//! What goes wrong between nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Concern, Names, Part};
use crate::node_id::NodeId;

/// Something that goes wrong between nodes; all of it lasts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum UnderlayFault {
    /// No datagram passes between these nodes and all others, in either direction.
    Partition {
        /// The nodes on one side; the rest is on the other.
        nodes: Vec<NodeId>,
    },
    /// No datagram passes from one group to the other; the way back is open.
    OneWay {
        /// The nodes that are not heard.
        from: Vec<NodeId>,
        /// The nodes that do not hear them.
        to: Vec<NodeId>,
    },
    /// A firewall keeps the tunnel's port of these nodes closed; what they send passes.
    PortBlocked {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
    /// What these nodes send arrives from an address that is not theirs, as behind a NAT.
    SourceChanged {
        /// The nodes.
        nodes: Vec<NodeId>,
    },
}

impl UnderlayFault {
    pub(super) fn concern(&self) -> Concern {
        let nodes = match self {
            Self::Partition { nodes } | Self::PortBlocked { nodes } | Self::SourceChanged { nodes } => {
                nodes.clone()
            }
            Self::OneWay { from, to } => [from.as_slice(), to].concat(),
        };
        let part = Part::Underlay;
        Concern { part, nodes }
    }
}

impl fmt::Display for UnderlayFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { nodes } => write!(f, "partition: {} | the rest", Names(nodes)),
            Self::OneWay { from, to } => {
                write!(f, "one-way partition: {} not heard by {}", Names(from), Names(to))
            }
            Self::PortBlocked { nodes } => write!(f, "tunnel port blocked towards {}", Names(nodes)),
            Self::SourceChanged { nodes } => {
                write!(f, "datagrams of {} come from another address", Names(nodes))
            }
        }
    }
}

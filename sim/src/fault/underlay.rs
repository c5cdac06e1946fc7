//! What goes wrong between nodes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Names;
use crate::duration_text;
use crate::node_id::NodeId;
use crate::probability::Probability;

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
    /// Every link loses datagrams, in addition to what the scenario's links lose.
    Loss(Probability),
    /// Every link is slower by this.
    Slow(#[serde(with = "duration_text")] Duration),
}

impl fmt::Display for UnderlayFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { nodes } => write!(f, "partition: {} | the rest", Names(nodes)),
            Self::OneWay { from, to } => {
                write!(f, "one-way partition: {} not heard by {}", Names(from), Names(to))
            }
            Self::Loss(probability) => write!(f, "links lose {probability} more"),
            Self::Slow(by) => write!(f, "links slower by {by:?}"),
        }
    }
}

//! Where a fault lies, for pictures and for people.

use serde::Serialize;

use crate::node_id::NodeId;

/// Where a fault lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Concern {
    pub(crate) part: Part,
    /// The nodes that are hit before all others; empty if all are alike.
    pub(crate) nodes: Vec<NodeId>,
}

/// A part of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Between nodes.
    Underlay,
    /// Between nodes and the store.
    Path,
    Store,
    Node,
}

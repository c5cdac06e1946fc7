//! What lasts from a beginning to an end.

use std::fmt;

use selvedge_engine::Instant;
use serde::Serialize;

use super::micros::Micros;
use crate::fault::{Concern, Fault, Part};
use crate::node_id::NodeId;

/// A fault.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Band {
    from: Micros,
    /// `None` while it lasts.
    pub(super) until: Option<Micros>,
    part: Part,
    /// The nodes that it hits before all others; empty if all are alike.
    nodes: Vec<u32>,
    text: String,
}

/// A lease in the store.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Tenure {
    from: Micros,
    /// `None` while it lasts.
    pub(super) until: Option<Micros>,
    node: u32,
    subnet: String,
}

impl Band {
    pub(super) fn begin(at: Instant, fault: &Fault) -> Self {
        let Concern { part, nodes } = fault.concern();
        Self {
            from: at.into(),
            until: None,
            part,
            nodes: nodes.into_iter().map(NodeId::number).collect(),
            text: fault.to_string(),
        }
    }

    pub(super) fn at_once(at: Instant, fault: &Fault) -> Self {
        Self {
            until: Some(at.into()),
            ..Self::begin(at, fault)
        }
    }
}

impl Tenure {
    pub(super) fn begin(at: Instant, node: NodeId, subnet: &impl fmt::Display) -> Self {
        Self {
            from: at.into(),
            until: None,
            node: node.number(),
            subnet: subnet.to_string(),
        }
    }
}

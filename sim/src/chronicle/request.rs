//! A request to the store.

use selvedge_engine::Instant;
use serde::{Serialize, Serializer};

use super::clipped;
use super::micros::Micros;
use crate::node_id::NodeId;

/// A request of a node, from when it was asked to when the node heard what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    node: u32,
    from: Micros,
    until: Option<Micros>,
    outcome: Outcome,
    question: Box<str>,
    answer: Box<str>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It waits.
    Open,
    Answered,
    /// The store refused it, or no answer came in time.
    Failed,
    /// The daemon that asked is gone.
    Forsaken,
}

impl Request {
    pub(super) fn new(at: Instant, node: NodeId, question: &str) -> Self {
        Self {
            node: node.number(),
            from: at.into(),
            until: None,
            outcome: Outcome::Open,
            question: clipped(question),
            answer: "".into(),
        }
    }

    pub(super) fn end(&mut self, at: Instant, outcome: Outcome, answer: &str) {
        self.until = Some(at.into());
        self.outcome = outcome;
        self.answer = clipped(answer);
    }
}

impl Serialize for Request {
    /// Writes a list without names: there are many.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            node,
            from,
            until,
            outcome,
            question,
            answer,
        } = self;
        (node, from, until, outcome, question, answer).serialize(serializer)
    }
}

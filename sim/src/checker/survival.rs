//! A daemon lives until it is told to stop.

use crate::checker::Verdict;
use crate::flannel::{Death, Defect};
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks the end of a flanneld; nothing in a simulated cluster asks for it.
pub(crate) fn check_death(node: NodeId, death: &Death) -> Verdict {
    let text = format!("{node} ended: {death}");
    Err(Finding::new(Invariant::Contract, [node], text).showing(Defect::of_death(death)))
}

//! Once a node is at rest there is nothing left to do, and doing all of it again changes nothing.

use std::collections::BTreeSet;

use selvedge_engine::{Engine, KernelObject, KernelOp};

use super::Verdict;
use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// Checks what an engine plans for its node.
pub(crate) fn check(node: NodeId, engine: &Engine, linux: &Linux) -> Verdict {
    let objects = engine.objects().cloned().map(KernelOp::Ensure);
    check_ops(node, &engine.plan(), objects, linux)?;
    check_possessions(node, &engine.objects().collect(), linux)
}

/// Checks that nothing of the daemon's is there that it does not want.
fn check_possessions(node: NodeId, wanted: &BTreeSet<&KernelObject>, linux: &Linux) -> Verdict {
    let possessions = linux.possessions().into_iter();
    let stray: Vec<String> = possessions
        .filter(|object| !wanted.contains(object))
        .map(|object| object.to_string())
        .collect();
    if stray.is_empty() {
        return Ok(());
    }
    let text = format!(
        "{node} is at rest, and has what it does not want: {}",
        stray.join(", ")
    );
    Err(finding(node, text))
}

fn check_ops(
    node: NodeId,
    plan: &[KernelOp],
    again: impl Iterator<Item = KernelOp>,
    linux: &Linux,
) -> Verdict {
    if !plan.is_empty() {
        let text = format!("{node} is at rest, and plans {plan:?}");
        return Err(finding(node, text));
    }
    let mut copy = linux.clone();
    for op in again {
        if let Err(error) = copy.apply(&op) {
            let text = format!("{node} could not do {op:?} again: {error}");
            return Err(finding(node, text));
        }
    }
    if copy == *linux {
        return Ok(());
    }
    let text = format!("{node} would change by doing all again: {linux:?} to {copy:?}");
    Err(finding(node, text))
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::Idempotence, [node], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::N1;

    #[test]
    fn a_plan_and_a_change_are_found() {
        let socket = KernelObject::Socket("198.18.0.1:8285".parse().unwrap());
        let mut linux = Linux::new(N1.public_ip());
        let ensure = || [KernelOp::Ensure(socket.clone())];

        assert!(check_ops(N1, &ensure(), [].into_iter(), &linux).is_err());
        assert!(check_ops(N1, &[], ensure().into_iter(), &linux).is_err());
        assert_eq!(check_possessions(N1, &BTreeSet::new(), &linux), Ok(()));
        linux.apply(&ensure()[0]).unwrap();
        assert_eq!(check_ops(N1, &[], ensure().into_iter(), &linux), Ok(()));
        assert_eq!(check_possessions(N1, &BTreeSet::from([&socket]), &linux), Ok(()));
        assert!(check_possessions(N1, &BTreeSet::new(), &linux).is_err());
    }
}

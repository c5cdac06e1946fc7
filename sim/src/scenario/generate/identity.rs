//! Drawing a machine that announces the public IP of another.

use std::time::Duration;

use selvedge_engine::OnExpiry;

use super::choice::{one_node, pick};
use crate::fault::{Fault, StoreFault};
use crate::node_id::NodeId;
use crate::scenario::draw::Draw;
use crate::scenario::{Backend, Identity, Model, Scenario};

/// Makes a node the twin or the copy of another in a few scenarios of the `udp` backend whose nodes all run ours; what
/// goes wrong besides leaves both their rights: the first is up before the other starts, and keeps its lease.
pub(super) fn draw(rng: &mut dyn Draw, scenario: &mut Scenario) {
    let nodes = u32::try_from(scenario.nodes.len()).unwrap_or(u32::MAX);
    if nodes < 2 || !rng.chance(TWINS) || !may_have_twins(scenario) {
        return;
    }
    let [original, twin] = [one_node(rng, nodes), one_node(rng, nodes)];
    if original == twin {
        return;
    }
    let identity = *pick(rng, &[Identity::TwinOf(original), Identity::CopyOf(original)]);
    if let Some(plan) = scenario.nodes.get_mut(original.index()) {
        plan.starts_at = Duration::ZERO;
    }
    if let Some(plan) = scenario.nodes.get_mut(twin.index()) {
        plan.starts_at = rng.between(FIRST_IS_UP, FIRST_IS_UP * 4);
        plan.identity = identity;
    }
    if matches!(identity, Identity::CopyOf(_)) {
        // Until the first objection a copy carries what the first does, which strict mode forbids.
        scenario.on_expiry = OnExpiry::Keep;
    }
    scenario
        .faults
        .retain(|timed| leaves_rights(&timed.fault, [original, twin]));
}

fn may_have_twins(scenario: &Scenario) -> bool {
    scenario.backend == Backend::Udp && scenario.nodes.iter().all(|plan| plan.model == Model::Selvedge)
}

/// Tells whether a fault leaves the first what it has, and both the way to hear of each other: who does not hear of the
/// other's claim in time loses to it.
fn leaves_rights(fault: &Fault, pair: [NodeId; 2]) -> bool {
    match fault {
        Fault::Node { node, .. } => *node != pair[0],
        Fault::Store(fault) => is_bystander(fault, pair),
        Fault::Underlay(_) | Fault::Link(_) => true,
    }
}

/// Tells whether a fault of the store has to do with others alone, or with what is nobody's.
fn is_bystander(fault: &StoreFault, pair: [NodeId; 2]) -> bool {
    let hit = fault.concern().nodes;
    if !hit.is_empty() {
        return pair.iter().all(|of_pair| !hit.contains(of_pair));
    }
    matches!(
        fault,
        StoreFault::BreakConfig(_)
            | StoreFault::HalveSubnets
            | StoreFault::Compaction
            | StoreFault::AdmitStranger
            | StoreFault::WriteJunk(_)
    )
}

/// How many scenarios in a million have twins, if they can.
const TWINS: u32 = 100_000;
const FIRST_IS_UP: Duration = Duration::from_secs(30);

//! Fewer faults, fewer nodes, fewer nodes in each fault.

use super::attempts::Attempts;
use super::minimize::minimize;
use crate::fault::{Named, TimedFault};
use crate::node_id::NodeId;
use crate::scenario::{Liveness, Scenario};

pub(super) fn drop_faults(attempts: &mut Attempts<'_>) {
    let all = attempts.best().faults.clone();
    minimize(all.len(), |left| {
        attempts.keeps_failing_with(|scenario| scenario.faults = pick(&all, left))
    });
}

pub(super) fn drop_nodes(attempts: &mut Attempts<'_>) {
    let all = attempts.best().clone();
    minimize(all.nodes.len(), |left| {
        !left.is_empty() && attempts.keeps_failing(with_nodes(&all, left))
    });
}

/// Takes nodes out of the core and out of the groups that faults name.
pub(super) fn drop_names(attempts: &mut Attempts<'_>) {
    let core = attempts
        .best()
        .liveness
        .as_ref()
        .map_or(0, |liveness| liveness.core.len());
    for member in (0..core).rev() {
        attempts.keeps_failing_with(|scenario| {
            if let Some(liveness) = scenario
                .liveness
                .as_mut()
                .filter(|liveness| liveness.core.len() > 1)
            {
                liveness.core.remove(member);
            }
        });
    }
    for place in 0..attempts.best().faults.len() {
        for group in 0..group_sizes(attempts, place).len() {
            let size = group_sizes(attempts, place)
                .get(group)
                .copied()
                .unwrap_or_default();
            for member in (0..size).rev() {
                attempts.keeps_failing_with(|scenario| drop_name(scenario, place, group, member));
            }
        }
    }
}

pub(super) fn pick<T: Clone>(all: &[T], left: &[usize]) -> Vec<T> {
    left.iter().filter_map(|place| all.get(*place)).cloned().collect()
}

/// Keeps some nodes, which get new names, and the faults that still name somebody.
pub(super) fn with_nodes(all: &Scenario, left: &[usize]) -> Scenario {
    let mut fewer = Scenario {
        nodes: pick(&all.nodes, left),
        ..all.clone()
    };
    if all.config == Scenario::usual_config(all.subnet_count()) {
        fewer.config = Scenario::usual_config(fewer.subnet_count());
    }
    for plan in &mut fewer.nodes {
        plan.identity = plan.identity.renamed(|node| renamed(node, left));
    }
    fewer.faults.retain_mut(|timed| rename(timed, left));
    fewer.liveness = all.liveness.as_ref().and_then(|liveness| {
        let core: Vec<NodeId> = liveness
            .core
            .iter()
            .filter_map(|node| renamed(*node, left))
            .collect();
        (!core.is_empty()).then_some(Liveness { core, ..*liveness })
    });
    fewer
}

/// Returns the new name of a node, if it is among those left.
fn renamed(node: NodeId, left: &[usize]) -> Option<NodeId> {
    let place = left.iter().position(|place| *place == node.index())?;
    u32::try_from(place + 1).ok().map(NodeId::new)
}

/// Gives the nodes that a fault names their new names; false if it has none left.
fn rename(timed: &mut TimedFault, left: &[usize]) -> bool {
    match timed.fault.named() {
        Named::Nobody => true,
        Named::One(node) => match renamed(*node, left) {
            Some(name) => {
                *node = name;
                true
            }
            None => false,
        },
        Named::Groups(groups) => {
            let mut all_have_members = true;
            for group in groups {
                *group = group.iter().filter_map(|node| renamed(*node, left)).collect();
                all_have_members &= !group.is_empty();
            }
            all_have_members
        }
    }
}

fn group_sizes(attempts: &Attempts<'_>, place: usize) -> Vec<usize> {
    let Some(mut timed) = attempts.best().faults.get(place).cloned() else {
        return Vec::new();
    };
    match timed.fault.named() {
        Named::Groups(groups) => groups.into_iter().map(|group| group.len()).collect(),
        Named::One(_) | Named::Nobody => Vec::new(),
    }
}

fn drop_name(scenario: &mut Scenario, place: usize, group: usize, member: usize) {
    let Some(timed) = scenario.faults.get_mut(place) else {
        return;
    };
    if let Named::Groups(mut groups) = timed.fault.named()
        && let Some(group) = groups.get_mut(group)
        && group.len() > 1
    {
        group.remove(member);
    }
}

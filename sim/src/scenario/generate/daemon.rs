//! Drawing which nodes run which daemon.

use super::choice::some_nodes;
use crate::scenario::draw::Draw;
use crate::scenario::{Model, NodePlan};

/// Lets some nodes run flanneld in a few scenarios, never all.
pub(super) fn draw(rng: &mut dyn Draw, nodes: &mut [NodePlan]) {
    let Some((_, others)) = nodes.split_first_mut() else {
        return;
    };
    let count = u32::try_from(others.len()).unwrap_or(u32::MAX);
    if count == 0 || !rng.chance(MIXED) {
        return;
    }
    for old in some_nodes(rng, count) {
        if let Some(plan) = others.get_mut(old.index()) {
            plan.model = Model::Flannel;
        }
    }
}

/// How many scenarios in a million are mixed.
const MIXED: u32 = 80_000;

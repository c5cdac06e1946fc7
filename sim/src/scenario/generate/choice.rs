//! Drawing one of several.

use std::time::Duration;

use crate::node_id::NodeId;
use crate::scenario::draw::Draw;

pub(super) fn one_node(rng: &mut dyn Draw, nodes: u32) -> NodeId {
    let number = u32::try_from(rng.below(u64::from(nodes))).unwrap_or_default();
    NodeId::new(number + 1)
}

/// Returns one node or more, often few.
pub(super) fn some_nodes(rng: &mut dyn Draw, nodes: u32) -> Vec<NodeId> {
    let share = *pick(rng, &[100_000, 500_000, 900_000]);
    let mut chosen: Vec<NodeId> = NodeId::first(nodes).filter(|_| rng.chance(share)).collect();
    if chosen.is_empty() {
        chosen.push(one_node(rng, nodes));
    }
    chosen
}

pub(super) fn pick<'a, T>(rng: &mut dyn Draw, from: &'a [T]) -> &'a T {
    let length = u64::try_from(from.len()).unwrap_or(u64::MAX);
    let index = usize::try_from(rng.below(length)).unwrap_or_default();
    &from[index]
}

/// Rounds down, so that scenarios are short to write.
pub(super) fn millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

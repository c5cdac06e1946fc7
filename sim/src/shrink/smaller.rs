//! Every next step of making a scenario smaller, for those who decide themselves which to take.

use super::minimize::{range, without};
use super::nodes::{pick, with_nodes};
use crate::scenario::Scenario;

impl Scenario {
    /// Returns scenarios that are smaller in one respect, the smallest first: without faults, all or halves or ever fewer
    /// of them, then without nodes, then with one thing as usual.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let fewer_faults = sublists(self.faults.len()).map(|left| Self {
            faults: pick(&self.faults, &left),
            ..self.clone()
        });
        let fewer_nodes = sublists(self.nodes.len())
            .filter(|left| !left.is_empty())
            .map(|left| with_nodes(self, &left));
        let mut smaller: Vec<Self> = fewer_faults.chain(fewer_nodes).collect();
        smaller.extend(self.simpler());
        smaller
    }
}

/// Returns the places of a list without one piece of it: all, each half, each quarter and so on.
fn sublists(count: usize) -> impl Iterator<Item = Vec<usize>> {
    let all: Vec<usize> = (0..count).collect();
    let halvings = std::iter::successors(Some(1), move |pieces| {
        (*pieces < count).then(|| (pieces * 2).min(count))
    });
    halvings
        .filter(move |_| count > 0)
        .flat_map(|pieces| (0..pieces).rev().map(move |piece| (pieces, piece)))
        .map(move |(pieces, piece)| without(&all, &range(all.len(), pieces, piece)))
}

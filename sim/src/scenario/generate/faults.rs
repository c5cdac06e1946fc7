//! Drawing what goes wrong, and when.

use std::time::Duration;

use super::choice::{millis, one_node, pick};
use super::{link, node, store, underlay};
use crate::fault::{Fault, TimedFault};
use crate::scenario::draw::Draw;

/// The kinds of faults that are drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Underlay(underlay::Kind),
    Link(link::Kind),
    Store(store::Kind),
    Node(node::Kind),
}

impl Kind {
    /// Returns every kind.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let underlay = underlay::Kind::ALL.into_iter().map(Self::Underlay);
        let link = link::Kind::ALL.into_iter().map(Self::Link);
        let store = store::Kind::ALL.into_iter().map(Self::Store);
        let node = node::Kind::ALL.into_iter().map(Self::Node);
        underlay.chain(link).chain(store).chain(node)
    }

    pub(super) fn draw(self, rng: &mut dyn Draw, nodes: u32) -> Fault {
        match self {
            Self::Underlay(kind) => kind.draw(rng, nodes).into(),
            Self::Link(kind) => kind.draw(rng).into(),
            Self::Store(kind) => kind.draw(rng, nodes).into(),
            Self::Node(kind) => Fault::Node {
                node: one_node(rng, nodes),
                fault: kind.draw(rng),
            },
        }
    }
}

/// Draws faults of some kinds that are over at `until`.
pub(super) fn draw(rng: &mut dyn Draw, nodes: u32, until: Duration) -> Vec<TimedFault> {
    if until <= EARLIEST || nodes == 0 {
        return Vec::new();
    }
    let lots = weighted_kinds(rng);
    let pace = *pick(rng, &PACES);
    let count = until.saturating_sub(EARLIEST).as_nanos() / pace.as_nanos().max(1);
    let mut faults = Vec::new();
    for _ in 0..count {
        if rng.is_exhausted() {
            break;
        }
        let kind = *pick(rng, &lots);
        faults.push(timed(rng, kind, nodes, until));
    }
    faults.sort_by_key(|timed| timed.at);
    faults
}

/// Returns every kind as often as its weight says; some weigh nothing in this scenario.
fn weighted_kinds(rng: &mut dyn Draw) -> Vec<Kind> {
    let mut lots = Vec::new();
    for kind in Kind::all() {
        let weight = *pick(rng, &[0, 0, 1, 1, 4]);
        lots.extend(std::iter::repeat_n(kind, weight));
    }
    if lots.is_empty() {
        lots.extend(Kind::all());
    }
    lots
}

fn timed(rng: &mut dyn Draw, kind: Kind, nodes: u32, latest: Duration) -> TimedFault {
    let at = millis(rng.between(EARLIEST, latest));
    let length = *pick(rng, &LENGTHS);
    let until = millis(at + rng.between(length / 10, length)).min(latest);
    let fault = kind.draw(rng, nodes);
    TimedFault {
        at,
        until: (!fault.is_instant()).then_some(until),
        fault,
    }
}

/// Faults begin after the first nodes have.
const EARLIEST: Duration = Duration::from_millis(10);
/// One fault in this time.
const PACES: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(90),
];
const LENGTHS: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(20),
    Duration::from_mins(2),
];

//! What happened on a node.

use std::net::Ipv4Addr;
use std::time::Duration;

use selvedge_engine::{Instant, Phase};
use serde::Serialize;

use super::changes::Changes;
use crate::node_id::NodeId;
use crate::probe::ProbeFate;

/// A node.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Lane {
    name: String,
    address: Ipv4Addr,
    life: Changes<Life>,
    /// The subnet whose packets the node carries.
    carried: Changes<Option<String>>,
    delivered: Slices,
    lost: Slices,
    unheard: Slices,
    excused: Slices,
    open: Slices,
    datagrams: Slices,
    requests: Slices,
    watches: Slices,
}

/// The life of a daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Life {
    Down,
    /// Its node stands still.
    Paused,
    Configuring,
    Acquiring,
    Preparing,
    Running,
    Stopped,
}

/// How often something happened, in each slice of time up to the last in which it did.
#[derive(Clone, Debug, Serialize)]
struct Slices {
    #[serde(skip)]
    width: Duration,
    counts: Vec<u32>,
}

impl Lane {
    pub(super) fn new(node: NodeId, slice: Duration) -> Self {
        let slices = Slices {
            width: slice,
            counts: Vec::new(),
        };
        Self {
            name: node.to_string(),
            address: node.public_ip(),
            life: Changes::from(Life::Down),
            carried: Changes::from(None),
            delivered: slices.clone(),
            lost: slices.clone(),
            unheard: slices.clone(),
            excused: slices.clone(),
            open: slices.clone(),
            datagrams: slices.clone(),
            requests: slices.clone(),
            watches: slices,
        }
    }

    /// Sets the life of the daemon; returns it if that is a change.
    pub(super) fn set_life(&mut self, at: Instant, life: Life) -> Option<Life> {
        let is_new = self.life.last() != Some(&life);
        self.life.set(at, life);
        is_new.then_some(life)
    }

    pub(super) fn set_carried(&mut self, at: Instant, carried: Option<String>) {
        self.carried.set(at, carried);
    }

    pub(super) fn count_probe(&mut self, sent_at: Instant, fate: Option<ProbeFate>) {
        let slices = match fate {
            Some(ProbeFate::Delivered) => &mut self.delivered,
            Some(
                ProbeFate::LostByChance
                | ProbeFate::LostOnCutLink
                | ProbeFate::LostToLimits
                | ProbeFate::Damaged,
            ) => &mut self.lost,
            Some(ProbeFate::NobodyListened) => &mut self.unheard,
            Some(ProbeFate::Excused | ProbeFate::Disowned) => &mut self.excused,
            None => &mut self.open,
        };
        slices.count(sent_at);
    }

    pub(super) fn count_datagram(&mut self, at: Instant) {
        self.datagrams.count(at);
    }

    pub(super) fn count_request(&mut self, at: Instant) {
        self.requests.count(at);
    }

    pub(super) fn count_watch(&mut self, at: Instant) {
        self.watches.count(at);
    }
}

impl From<Phase> for Life {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Configuring => Self::Configuring,
            Phase::Acquiring => Self::Acquiring,
            Phase::Preparing => Self::Preparing,
            Phase::Running => Self::Running,
            Phase::Stopped => Self::Stopped,
        }
    }
}

impl Slices {
    fn count(&mut self, at: Instant) {
        let width = self.width.as_nanos().max(1);
        let index = u128::from(at.as_nanos()) / width;
        let index = usize::try_from(index).unwrap_or(usize::MAX).min(MOST_SLICES);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
    }
}

/// A bound that no run reaches: slices are cut for the length of the run.
const MOST_SLICES: usize = 10_000;

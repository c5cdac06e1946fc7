//! What a node has to know.

use std::time::Duration;

use selvedge_engine::{Instant, Revision};

/// How much time nodes are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Windows {
    /// How long a change of the store takes to a node that is connected.
    pub(crate) propagation: Duration,
    /// How long a node takes to find back to the store, and to mend its tunnel.
    pub(crate) recovery: Duration,
}

/// What a node has to know, and since when it could.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Knowledge {
    connected_since: Option<Instant>,
    /// What it had to know when it lost the store.
    frozen: Option<Instant>,
    disturbed_at: Option<Instant>,
    seen: Revision,
}

impl Knowledge {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            disturbed_at: Some(now),
            ..Self::default()
        }
    }

    pub(super) fn set_connected(&mut self, connected: bool, windows: &Windows, now: Instant) {
        if connected == self.connected_since.is_some() {
            return;
        }
        self.frozen = self.informed(windows, now);
        self.connected_since = connected.then_some(now);
    }

    pub(super) const fn disturb(&mut self, now: Instant) {
        self.disturbed_at = Some(now);
    }

    pub(super) fn see(&mut self, revision: Revision) {
        self.seen = self.seen.max(revision);
    }

    pub(super) const fn seen(&self) -> Revision {
        self.seen
    }

    /// Returns until when it has to know every change of the store.
    pub(super) fn informed(&self, windows: &Windows, now: Instant) -> Option<Instant> {
        let settled = self
            .connected_since
            .is_some_and(|since| now >= since + windows.recovery);
        if settled {
            return Some(now - windows.propagation);
        }
        self.frozen
    }

    /// Tells whether it has had time to set up its tunnel since anything happened to it.
    pub(super) fn is_undisturbed(&self, windows: &Windows, now: Instant) -> bool {
        self.disturbed_at
            .is_none_or(|disturbed| now >= disturbed + windows.recovery)
    }
}

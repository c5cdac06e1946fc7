//! What a node has to know.

use std::time::Duration;

use selvedge_engine::{Instant, Revision};

use super::deafness::Unheard;

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
    unheard: Option<Unheard>,
    /// Since when it could keep its lease alive.
    renewable_since: Option<Instant>,
    hold: Hold,
}

/// What a node says about its lease.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Hold {
    /// It lives.
    #[default]
    Lives,
    /// It is about to end, so that the node carries no packets.
    Fenced,
    /// It has none, or has still to make sure of it.
    Sought,
}

impl Knowledge {
    pub(super) fn starting(now: Instant) -> Self {
        Self {
            disturbed_at: Some(now),
            hold: Hold::Sought,
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

    pub(super) fn set_renewable(&mut self, renewable: bool, now: Instant) {
        if renewable != self.renewable_since.is_some() {
            self.renewable_since = renewable.then_some(now);
        }
    }

    pub(super) fn lose(&mut self, unheard: Unheard, windows: &Windows, now: Instant) {
        if self.unheard.is_none() {
            self.frozen = self.informed(windows, now);
        }
        self.unheard = Some(unheard);
    }

    pub(super) fn list(&mut self, revision: Revision, windows: &Windows, now: Instant) {
        if self.unheard.is_some_and(|unheard| unheard.revision <= revision) {
            self.frozen = self.informed(windows, now);
            self.unheard = None;
        }
    }

    pub(super) const fn unheard(&self) -> Option<Unheard> {
        self.unheard
    }

    pub(super) const fn fence(&mut self) {
        self.hold = Hold::Fenced;
    }

    pub(super) const fn lose_lease(&mut self) {
        self.hold = Hold::Sought;
    }

    pub(super) fn renew(&mut self, now: Instant) {
        if self.hold == Hold::Fenced {
            self.disturb(now);
        }
        self.hold = Hold::Lives;
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
        let hears_all = match self.unheard {
            None => true,
            Some(Unheard { listed_by, .. }) => listed_by.is_some_and(|by| now >= by),
        };
        if settled && hears_all {
            return Some(now - windows.propagation);
        }
        self.frozen
    }

    /// Tells whether it has had time to make sure of its lease, and to set up its tunnel since anything happened to it.
    pub(super) fn has_to_carry(&self, windows: &Windows, now: Instant) -> bool {
        let is_set_up = self
            .disturbed_at
            .is_none_or(|disturbed| now >= disturbed + windows.recovery);
        is_set_up && self.has_to_hold(windows, now)
    }

    /// Tells whether it has had time to make sure of its lease.
    pub(super) fn has_to_hold(&self, windows: &Windows, now: Instant) -> bool {
        match self.hold {
            Hold::Lives => true,
            Hold::Fenced | Hold::Sought => self
                .renewable_since
                .is_some_and(|since| now >= since + windows.recovery),
        }
    }
}

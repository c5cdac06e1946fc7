//! What a node has to know.

use std::time::Duration;

use selvedge_engine::{Instant, Revision};

use super::deafness::Unheard;
use super::tenure::Tenure;
use crate::scenario::{Backend, Model};

/// How much time nodes are given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Windows {
    /// How long a change of the store takes to a node that is connected.
    pub(crate) propagation: Duration,
    /// How long a node takes to find back to the store, and to mend its tunnel.
    pub(crate) recovery: Duration,
    /// How long nodes of ours keep a peer whose lease vanished in an absence.
    pub(crate) peer_grace: Duration,
    /// In an absence shorter than this no lease of a living node ends.
    pub(crate) shortest_end: Duration,
}

/// By whom a node's packets are carried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DataPath {
    /// By its daemon, and by nobody while there is none.
    Daemon,
    /// By its kernel, as the last daemon left it.
    Kernel,
}

impl DataPath {
    pub(crate) const fn of(backend: Backend) -> Self {
        match backend {
            Backend::Udp => Self::Daemon,
            Backend::Vxlan | Backend::HostGw => Self::Kernel,
        }
    }
}

/// What a node has to know, and since when it could.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    connected_since: Option<Instant>,
    /// What it had to know when it lost the store.
    frozen: Option<Instant>,
    disturbed_at: Option<Instant>,
    seen: Revision,
    unheard: Option<Unheard>,
    /// When it did not know of a change that it never heard of, the newest last.
    deaf: Vec<Deaf>,
    /// Since when it could keep its lease alive.
    renewable_since: Option<Instant>,
    hold: Hold,
    custody: Custody,
    model: Model,
    /// When it need not have followed the store, the newest last; the first is its start.
    absences: Vec<Absence>,
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

/// Whether a node has held a lease since its daemon was started; until then its kernel goes on by what the daemon before
/// knew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Custody {
    #[default]
    Taken,
    OfEarlierDaemon,
}

/// A time in which a node need not have followed the store.
#[derive(Clone, Copy, Debug)]
struct Absence {
    /// What happened from then on it may not have seen while it happened.
    blind_since: Instant,
    began: Instant,
    /// When it had to follow again; none if that is open.
    ended: Option<Instant>,
    /// Whether the store lost its history meanwhile.
    has_break: bool,
}

/// A time in which a node did not know of a change that it never heard of.
#[derive(Clone, Copy, Debug)]
struct Deaf {
    since: Instant,
    /// When it listed all leases; none if it has still to.
    until: Option<Instant>,
}

impl Absence {
    const fn since(blind_since: Instant, began: Instant) -> Self {
        Self {
            blind_since,
            began,
            ended: None,
            has_break: false,
        }
    }
}

impl Knowledge {
    /// Begins anew without knowing anything, apart from what it missed, and what the kernel goes on by.
    pub(super) fn start_anew(&mut self, model: Model, path: DataPath, now: Instant) {
        let (seen, custody) = match path {
            DataPath::Daemon => (Revision::default(), Custody::Taken),
            DataPath::Kernel => (self.seen, Custody::OfEarlierDaemon),
        };
        let mut deaf = std::mem::take(&mut self.deaf);
        if let Some(last) = deaf.last_mut() {
            last.until.get_or_insert(now);
        }
        *self = Self {
            seen,
            custody,
            deaf,
            model,
            disturbed_at: Some(now),
            hold: Hold::Sought,
            absences: vec![Absence::since(now, now)],
            ..Self::default()
        };
    }

    pub(super) fn set_connected(&mut self, connected: bool, windows: &Windows, now: Instant) {
        if connected == self.connected_since.is_some() {
            return;
        }
        let informed = self.informed(windows, now);
        self.note_absence(connected, informed, windows, now);
        self.frozen = informed;
        self.connected_since = connected.then_some(now);
    }

    /// Takes note that the store lost its history; whoever was connected has to find back.
    pub(super) fn lose_history(&mut self, windows: &Windows, now: Instant) {
        self.set_connected(false, windows, now);
        if let Some(absence) = self.absences.last_mut() {
            absence.has_break = true;
        }
        if let Some(unheard) = &mut self.unheard {
            // Any list of the new history tells it.
            unheard.revision = Revision::default();
        }
    }

    pub(super) fn set_renewable(&mut self, renewable: bool, now: Instant) {
        if renewable != self.renewable_since.is_some() {
            self.renewable_since = renewable.then_some(now);
        }
    }

    pub(super) fn lose(&mut self, unheard: Unheard, windows: &Windows, now: Instant) {
        if self.unheard.is_none() {
            self.frozen = self.informed(windows, now);
            self.deaf.push(Deaf {
                since: now,
                until: None,
            });
        }
        self.unheard = Some(unheard);
    }

    pub(super) fn list(&mut self, revision: Revision, windows: &Windows, now: Instant) {
        if self.unheard.is_some_and(|unheard| unheard.revision <= revision) {
            self.frozen = self.informed(windows, now);
            self.unheard = None;
            if let Some(deaf) = self.deaf.last_mut() {
                deaf.until = Some(now);
            }
        }
    }

    pub(super) const fn unheard(&self) -> Option<Unheard> {
        self.unheard
    }

    /// Tells whether it has heard of everything for as long as it takes to get over what it missed before.
    pub(super) fn hears_well(&self, windows: &Windows, now: Instant) -> bool {
        let is_over = |deaf: &Deaf| deaf.until.is_some_and(|until| now >= until + windows.recovery);
        self.deaf.last().is_none_or(is_over)
    }

    /// Returns from when on it may believe in what is gone, because the store lost its history and it has not had the time
    /// to find out.
    pub(super) fn misled_since(&self, windows: &Windows, now: Instant) -> Option<Instant> {
        let is_open = |absence: &&Absence| self.end_of(absence, windows).is_none_or(|end| now < end);
        let last = self.absences.last().filter(|absence| absence.has_break);
        Some(last.filter(is_open)?.blind_since)
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
        self.custody = Custody::Taken;
    }

    /// Returns until when it has to have taken every change of the store into what carries its packets.
    pub(super) fn carries_by(&self, windows: &Windows, now: Instant) -> Option<Instant> {
        match self.custody {
            Custody::Taken => self.informed(windows, now),
            Custody::OfEarlierDaemon => None,
        }
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

    /// Tells whether it may have seen a lease since its daemon was started.
    pub(super) fn may_have_seen(&self, tenure: &Tenure) -> bool {
        let started = self.absences.first().map(|absence| absence.began);
        let was_over = |until| started.is_some_and(|started| until < started);
        tenure.from_revision <= self.seen && !tenure.until.is_some_and(was_over)
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

    /// Returns how long it may forward to a peer after it noticed that its lease vanished in an absence.
    pub(super) const fn peer_grace(&self, windows: &Windows) -> Duration {
        match self.model {
            Model::Selvedge => windows.peer_grace,
            Model::Flannel => Duration::ZERO,
        }
    }

    /// Tells whether it has had time to make sure of its lease, and to set up its tunnel since anything happened to it.
    pub(super) fn has_to_carry(&self, windows: &Windows, now: Instant) -> bool {
        let is_set_up = self
            .disturbed_at
            .is_none_or(|disturbed| now >= disturbed + windows.recovery);
        is_set_up && self.has_to_hold(windows, now)
    }

    /// Tells whether it has had time to write what is true of it since anything happened to it.
    pub(super) fn has_to_announce(&self, windows: &Windows, now: Instant) -> bool {
        let could_write = self
            .renewable_since
            .is_some_and(|since| now >= since + windows.recovery);
        could_write && self.has_to_carry(windows, now)
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

    /// Returns when it had to notice a deletion at the latest that happened in an absence, if leases of living nodes may
    /// have ended in it: the store lost its history, or the absence was long. For one that lasts that is now.
    pub(super) fn noticed_late(&self, deleted: Instant, windows: &Windows, now: Instant) -> Option<Instant> {
        let deleted = self.learned_of(deleted, windows, now);
        let absence = self
            .absences
            .iter()
            .rev()
            .find(|absence| absence.blind_since <= deleted)?;
        let ended = self.end_of(absence, windows);
        let is_long = ended.unwrap_or(now).saturating_since(absence.began) >= windows.shortest_end;
        let is_within = ended.is_none_or(|ended| deleted <= ended);
        (is_within && (absence.has_break || is_long))
            .then(|| ended.map_or(now, |ended| ended.max(deleted + windows.propagation)))
    }

    /// Returns when it may have learned of a deletion that it never heard of: with its next list; else when that was.
    fn learned_of(&self, deleted: Instant, windows: &Windows, now: Instant) -> Instant {
        let may_have_missed = |deaf: &&Deaf| {
            deaf.since <= deleted + windows.propagation && deaf.until.is_none_or(|until| until >= deleted)
        };
        let deaf = self.deaf.iter().find(may_have_missed);
        deaf.map_or(deleted, |deaf| deaf.until.unwrap_or(now))
    }

    /// Returns how long it had to follow the store since then.
    pub(super) fn followed_since(&self, then: Instant, windows: &Windows, now: Instant) -> Duration {
        self.followed(windows)
            .map(|(from, left)| {
                let until = left.unwrap_or(now).min(now);
                until.saturating_since(from.max(then))
            })
            .sum()
    }

    /// Tells whether it had to see something by now, `since` then, that began and ended then.
    pub(super) fn had_to_see(
        &self,
        began: Instant,
        ended: Option<Instant>,
        since: Instant,
        windows: &Windows,
        now: Instant,
    ) -> bool {
        let hears_all = self.unheard.is_none();
        hears_all
            && self.followed(windows).any(|(from, left)| {
                let known_at = from.max(since).max(began + windows.propagation);
                known_at <= now && [left, ended].into_iter().flatten().all(|end| known_at < end)
            })
    }

    /// Returns when it had to follow the store: from when on, and until when if that is over.
    fn followed(&self, windows: &Windows) -> impl Iterator<Item = (Instant, Option<Instant>)> {
        let next_absences = self.absences.iter().skip(1).map(|absence| Some(absence.began));
        let absences = self.absences.iter().zip(next_absences.chain([None]));
        absences.filter_map(|(absence, left)| Some((self.end_of(absence, windows)?, left)))
    }

    /// A node that is cut off again before it had to follow goes on being absent.
    fn note_absence(&mut self, connects: bool, informed: Option<Instant>, windows: &Windows, now: Instant) {
        let follows = self
            .connected_since
            .is_some_and(|since| now >= since + windows.recovery);
        if !self.absences.is_empty() && (connects || !follows) {
            return;
        }
        let ended = self.connected_since.map(|since| since + windows.recovery);
        if let Some(last) = self.absences.last_mut() {
            last.ended = ended;
        }
        self.absences.push(Absence::since(informed.unwrap_or(now), now));
    }

    fn end_of(&self, absence: &Absence, windows: &Windows) -> Option<Instant> {
        absence
            .ended
            .or_else(|| self.connected_since.map(|since| since + windows.recovery))
    }
}

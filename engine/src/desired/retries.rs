//! Objects that failed, and when each is tried again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ObjectId;
use crate::backoff::Backoff;
use crate::engine::outbox::Outbox;
use crate::snapshot::pairs;
use crate::time::Instant;

/// The first and the longest wait after a failure.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The objects that failed the last time, or have to wait for another reason.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Retries {
    #[serde(with = "pairs")]
    objects: BTreeMap<ObjectId, Retry>,
    times: BTreeSet<(Instant, ObjectId)>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Retry {
    backoff: Backoff,
    /// None once it came: it is being tried, or waits for others.
    at: Option<Instant>,
}

impl Retries {
    /// Takes note of a failure; returns how long to wait.
    pub(super) fn postpone(&mut self, id: ObjectId, outbox: &mut Outbox) -> Duration {
        let retry = self.objects.entry(id.clone()).or_insert_with(Retry::new);
        let wait = retry.backoff.wait(&mut outbox.rng);
        self.wait_until(id, outbox.now + wait);
        wait
    }

    /// Lets an object wait although it did not fail.
    pub(super) fn wait_until(&mut self, id: ObjectId, at: Instant) {
        let retry = self.objects.entry(id.clone()).or_insert_with(Retry::new);
        if let Some(former) = retry.at.replace(at) {
            self.times.remove(&(former, id.clone()));
        }
        self.times.insert((at, id));
    }

    /// Forgets the failures of an object.
    pub(super) fn forget(&mut self, id: &ObjectId) {
        if let Some(Retry { at: Some(at), .. }) = self.objects.remove(id) {
            self.times.remove(&(at, id.clone()));
        }
    }

    /// Takes out what may be tried again now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<ObjectId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.times.pop_first() {
            if at > now {
                self.times.insert((at, id));
                break;
            }
            if let Some(retry) = self.objects.get_mut(&id) {
                retry.at = None;
            }
            due.push(id);
        }
        due
    }

    /// Lets everything that waits be tried again now.
    pub(super) fn hurry(&mut self, now: Instant) {
        for (_, id) in core::mem::take(&mut self.times) {
            self.wait_until(id, now);
        }
    }

    /// Tells whether the time of an object has not come yet.
    pub(super) fn is_waiting(&self, id: &ObjectId) -> bool {
        self.objects.get(id).is_some_and(|retry| retry.at.is_some())
    }

    /// Tells whether the last try failed.
    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        self.objects.contains_key(id)
    }

    /// Returns when the first time comes.
    pub(super) fn first(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }
}

impl Retry {
    const fn new() -> Self {
        Self {
            backoff: Backoff::new(WAIT.0, WAIT.1),
            at: None,
        }
    }
}

//! Objects that failed, and when each is tried again.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ObjectId;
use crate::backoff::Backoff;
use crate::engine::outbox::Outbox;
use crate::kernel::KernelError;
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
    failing: usize,
}

#[derive(Debug, Deserialize, Serialize)]
struct Retry {
    backoff: Backoff,
    /// None once it came: it is being tried, or waits for others.
    at: Option<Instant>,
    /// None if it waits for another reason.
    error: Option<KernelError>,
    /// How often it failed in a row.
    #[serde(default)]
    attempts: u32,
}

/// An object's last failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastFailure<'a> {
    pub(super) error: &'a KernelError,
    /// How often it failed in a row.
    pub(super) attempts: u32,
    /// None while it is being tried, or waits for others.
    pub(super) retry_at: Option<Instant>,
}

/// Whether people know of a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FailureNews {
    /// It is the first, or another than before.
    New,
    /// It is the one that they were told of.
    Again,
}

impl Retries {
    /// Takes note of a failure; returns how long to wait, and whether it is another failure than the last time.
    pub(super) fn postpone(
        &mut self,
        id: ObjectId,
        error: &KernelError,
        outbox: &mut Outbox,
    ) -> (Duration, FailureNews) {
        let retry = self.objects.entry(id.clone()).or_insert_with(Retry::new);
        let wait = retry.backoff.wait(&mut outbox.rng);
        retry.attempts = retry.attempts.saturating_add(1);
        let news = match retry.error.replace(error.clone()) {
            Some(before) if before == *error => FailureNews::Again,
            Some(_) => FailureNews::New,
            None => {
                self.failing += 1;
                FailureNews::New
            }
        };
        self.wait_until(id, outbox.now + wait);
        (wait, news)
    }

    /// Returns the objects that failed the last time, and how.
    pub(super) fn failing(&self) -> impl Iterator<Item = (&ObjectId, LastFailure<'_>)> {
        let objects = self.objects.iter();
        objects.filter_map(|(id, retry)| Some((id, retry.last_failure()?)))
    }

    /// Returns why an object failed the last time, if it did.
    pub(super) fn error(&self, id: &ObjectId) -> Option<&KernelError> {
        self.objects.get(id)?.error.as_ref()
    }

    /// Lets an object wait although it did not fail.
    pub(super) fn wait_until(&mut self, id: ObjectId, at: Instant) {
        let retry = self.objects.entry(id.clone()).or_insert_with(Retry::new);
        if let Some(former) = retry.at.replace(at) {
            self.times.remove(&(former, id.clone()));
        }
        self.times.insert((at, id));
    }

    /// Returns how many objects failed the last time.
    pub(super) const fn failing_count(&self) -> usize {
        self.failing
    }

    /// Forgets the failures of an object.
    pub(super) fn forget(&mut self, id: &ObjectId) {
        let Some(retry) = self.objects.remove(id) else {
            return;
        };
        if let Some(at) = retry.at {
            self.times.remove(&(at, id.clone()));
        }
        self.failing -= usize::from(retry.error.is_some());
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
            error: None,
            attempts: 0,
        }
    }

    fn last_failure(&self) -> Option<LastFailure<'_>> {
        Some(LastFailure {
            error: self.error.as_ref()?,
            attempts: self.attempts,
            retry_at: self.at,
        })
    }
}

//! Objects that vanish again and again: somebody else wants them otherwise, and is not raced against.

use alloc::collections::BTreeMap;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::ObjectId;
use crate::backoff::Backoff;
use crate::engine::outbox::Outbox;
use crate::snapshot::pairs;
use crate::time::Instant;

/// How many repairs in a row are made at once.
const AT_ONCE: u32 = 5;
/// How long an object must have stayed for the next repair to be the first in a row.
const CALM: Duration = Duration::from_secs(10);
/// The first and the longest wait before a repair.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What was repaired of late, and how often.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Repairs {
    #[serde(with = "pairs")]
    objects: BTreeMap<ObjectId, Row>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Row {
    repairs: u32,
    last: Instant,
    backoff: Backoff,
}

impl Repairs {
    /// Takes note that an object has to be repaired; returns how long to wait, if that is wise.
    pub(super) fn note(&mut self, id: &ObjectId, outbox: &mut Outbox) -> Option<Duration> {
        let now = outbox.now;
        let row = self.objects.entry(id.clone()).or_insert_with(|| Row::new(now));
        if now.saturating_since(row.last) > CALM {
            *row = Row::new(now);
        }
        row.last = now;
        row.repairs = row.repairs.saturating_add(1);
        (row.repairs > AT_ONCE).then(|| row.backoff.wait(&mut outbox.rng))
    }

    /// Forgets an object that nobody wants any more.
    pub(super) fn forget(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }
}

impl Row {
    const fn new(now: Instant) -> Self {
        Self {
            repairs: 0,
            last: now,
            backoff: Backoff::new(WAIT.0, WAIT.1),
        }
    }
}

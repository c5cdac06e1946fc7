//! What people are told about the objects.

use core::fmt;

use super::{Owner, Reconciler};
use crate::health::FailingObject;
use crate::kernel::{KernelError, KernelObject};

impl Reconciler {
    /// Returns the objects that could not be made or removed the last time, and why.
    pub(crate) fn failing(&self) -> impl Iterator<Item = FailingObject> {
        self.retries.failing().filter_map(|(id, failure)| {
            let object = self.desired.get(id).or_else(|| self.present.get(id))?;
            Some(FailingObject {
                object: object.clone(),
                owner: self.owners.get(id).copied().unwrap_or(Owner::Node),
                error: failure.error.clone(),
                attempts: failure.attempts,
                retry_at: failure.retry_at,
            })
        })
    }

    /// Returns how many objects could not be made or removed the last time.
    pub(crate) fn failing_count(&self) -> usize {
        self.retries.failing_count()
    }

    /// Returns what is not present yet of what traffic depends on, each with its owner, and why it failed if it did.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (Owner, &KernelObject, Option<&KernelError>)> {
        self.awaited().filter_map(|id| {
            let owner = self.owners.get(id).copied().unwrap_or(Owner::Node);
            Some((owner, self.desired.get(id)?, self.retries.error(id)))
        })
    }

    /// Returns how many objects it keeps in mind, and how many operations are under way.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let objects = self.desired.len() + self.present.len() + self.retries.len();
        (objects, self.in_flight.len())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Peer(net) => write!(f, "peer {net}"),
        }
    }
}

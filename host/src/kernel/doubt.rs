//! When the engine is told that the node may have changed: soon after the change, once for a burst, and not too often.

use std::time::Duration;

use tokio::time::Instant;

/// How long a burst of changes is waited for.
const BURST: Duration = Duration::from_millis(20);

/// The shortest time between two doubts; pods come and go on a busy node, and each change takes a look at everything.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often the node is looked at while it cannot be watched.
const UNSEEN: Duration = Duration::from_secs(1);

/// A doubt that is raised and told later.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    due: Option<Instant>,
    told: Option<Instant>,
}

impl Doubt {
    /// Raises a doubt, unless there is one already.
    pub(super) fn raise(&mut self, now: Instant) {
        let earliest = self.told.map_or(now, |told| told + INTERVAL);
        self.due.get_or_insert_with(|| earliest.max(now + BURST));
    }

    /// Raises a doubt because the node cannot be watched; it is looked at from time to time instead.
    pub(super) fn raise_unseen(&mut self, now: Instant) {
        self.due.get_or_insert(now + UNSEEN);
    }

    /// Waits until a doubt is to be told. Nothing is lost if the future is dropped.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Notes that it is told.
    pub(super) fn tell(&mut self, now: Instant) {
        *self = Self {
            due: None,
            told: Some(now),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_doubt_and_bursts_keep_their_distance() {
        let start = Instant::now();
        let mut doubt = Doubt::default();

        doubt.raise(start);
        doubt.raise(start + Duration::from_millis(15));
        assert_eq!(doubt.due, Some(start + BURST));

        let told = start + BURST;
        doubt.tell(told);
        assert_eq!(doubt.due, None);
        doubt.raise(told + Duration::from_millis(1));
        assert_eq!(doubt.due, Some(told + INTERVAL));

        doubt.tell(told + INTERVAL);
        let quiet = told + INTERVAL + Duration::from_secs(1);
        doubt.raise(quiet);
        assert_eq!(doubt.due, Some(quiet + BURST));

        doubt.tell(quiet + BURST);
        doubt.raise_unseen(quiet + BURST);
        assert_eq!(doubt.due, Some(quiet + BURST + UNSEEN));
    }
}

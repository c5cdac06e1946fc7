//! Waiting between tries.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Waits that double from `first` to `last`, each shortened at random by up to half, so that nodes which fail
/// together do not try again together.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            next: first,
        }
    }

    /// Returns how long to wait before the next try.
    pub(crate) fn wait(&mut self, rng: &mut Rng) -> Duration {
        let wait = rng.between(self.next / 2, self.next);
        self.next = self.next.saturating_mul(2).min(self.last);
        wait
    }

    /// Starts from the shortest wait again.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_limit_and_start_over_after_a_reset() {
        let mut rng = Rng::new(1);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));

        for limit in [1, 2, 4, 4] {
            let wait = backoff.wait(&mut rng);
            assert!(wait >= Duration::from_millis(limit * 500) && wait <= Duration::from_secs(limit));
        }
        backoff.reset();
        assert!(backoff.wait(&mut rng) <= Duration::from_secs(1));
    }
}

//! A clock that stands while the store cannot be followed.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// Counts the time in which the node follows the store.
///
/// What waits for others to write something waits on this clock: nobody can while the store is away.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct FollowedTime {
    stands_since: Option<Instant>,
    missed: Duration,
}

impl FollowedTime {
    pub(crate) fn stop(&mut self, now: Instant) {
        self.stands_since.get_or_insert(now);
    }

    pub(crate) fn go_on(&mut self, now: Instant) {
        if let Some(since) = self.stands_since.take() {
            self.missed = self.missed.saturating_add(now.saturating_since(since));
        }
    }

    /// Returns what this clock shows now.
    pub(crate) fn at(&self, now: Instant) -> Instant {
        self.stands_since.unwrap_or(now) - self.missed
    }

    /// Returns when this clock will show `time`; none while it stands.
    pub(crate) fn when(&self, time: Instant) -> Option<Instant> {
        match self.stands_since {
            None => Some(time + self.missed),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_time_without_absences() {
        let mut clock = FollowedTime::default();
        assert_eq!(clock.at(second(10)), second(10));

        clock.stop(second(20));
        clock.stop(second(25));
        assert_eq!(clock.at(second(50)), second(20));
        assert_eq!(clock.when(second(30)), None);

        clock.go_on(second(50));
        clock.go_on(second(55));
        assert_eq!(clock.at(second(60)), second(30));
        assert_eq!(clock.when(second(35)), Some(second(65)));
    }

    fn second(number: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(number)
    }
}

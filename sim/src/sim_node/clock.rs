//! A clock that runs at its own rate.

use std::time::Duration;

use selvedge_engine::Instant;

/// A daemon's clock: it agrees with the world's when the daemon starts, and then runs faster or slower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When its rate last changed, by the world's clock and by its own.
    changed: (Instant, Instant),
    /// By how many millionths it is too fast.
    drift: i32,
}

impl Clock {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            changed: (now, now),
            drift: 0,
        }
    }

    /// Sets by how many millionths it is too fast from now on, a hundredth at most.
    pub(super) fn set_drift(&mut self, drift: i32, now: Instant) {
        self.changed = (now, self.show(now));
        self.drift = drift.clamp(-MOST, MOST);
    }

    /// Returns what it shows.
    pub(super) fn show(&self, now: Instant) -> Instant {
        let (at, shown) = self.changed;
        let passed = now.saturating_since(at).as_nanos() * self.rate() / MILLION;
        shown + nanos(passed)
    }

    /// Returns when it first shows this.
    pub(super) fn shows_at(&self, shown: Instant) -> Instant {
        let (at, first) = self.changed;
        let passes = (shown.saturating_since(first).as_nanos() * MILLION).div_ceil(self.rate());
        at + nanos(passes)
    }

    /// Returns how many millionths of a second pass in a second.
    fn rate(&self) -> u128 {
        u128::try_from(i64::from(self.drift) + 1_000_000).unwrap_or(MILLION)
    }
}

const MILLION: u128 = 1_000_000;
const MOST: i32 = 10_000;

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_too_fast_by_a_hundredth_gains_a_second_in_a_hundred() {
        let mut clock = Clock::new(after(10));
        clock.set_drift(10_000, after(10));

        assert_eq!(clock.show(after(110)), after(111));
        assert_eq!(clock.shows_at(after(111)), after(110));

        clock.set_drift(-10_000, after(110));
        assert_eq!(clock.show(after(210)), after(210));
    }

    #[test]
    fn it_shows_a_time_when_it_says_so_and_not_before() {
        let mut clock = Clock::new(after(1));
        clock.set_drift(-9_999, after(3));

        for seconds in [4, 17, 1_000] {
            let at = clock.shows_at(after(seconds));

            assert!(clock.show(at) >= after(seconds));
            assert!(clock.show(at - Duration::from_nanos(2)) < after(seconds));
        }
    }

    fn after(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }
}

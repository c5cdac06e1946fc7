//! Where time comes from.

use nix::time::{ClockId, clock_gettime};
use selvedge_engine::Instant;

/// A clock that never runs backwards.
pub trait Clock {
    /// Returns the time.
    fn now(&self) -> Instant;
}

/// The kernel's `CLOCK_BOOTTIME`, which runs through suspend: a lease ages while the machine sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Instant {
        // Fails only for clocks that the kernel does not have; this one exists since Linux 2.6.39.
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map_or(std::time::Duration::ZERO, std::time::Duration::from);
        Instant::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_forwards() {
        let earlier = BootClock.now();

        let later = BootClock.now();

        assert!(earlier > Instant::ZERO);
        assert!(later >= earlier);
    }
}

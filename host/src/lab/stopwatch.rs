//! Elapsed real time, for waiting and for what people are shown.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(now())
    }

    /// Returns how long ago it was started.
    pub fn elapsed(&self) -> Duration {
        now().saturating_sub(self.0)
    }
}

fn now() -> Duration {
    // The clock exists on every Linux; without it no time passes.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

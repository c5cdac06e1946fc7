//! Time as a page knows it.

use std::time::Duration;

use selvedge_engine::Instant;
use serde::Serialize;

/// Microseconds since the start of the run: exact in the numbers that a script has, for 285 years.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Micros(u64);

impl From<Instant> for Micros {
    fn from(at: Instant) -> Self {
        Self(at.as_nanos() / 1000)
    }
}

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

//! How long something takes.

use std::time::Duration;

/// Returns what the work makes, and how long it took.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures time, and decides nothing by it"
)]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let made = work();
    (made, start.elapsed())
}

//! Staying awake for an answer.
//!
//! Who sends a question through a tunnel waits for its answer, and each thread on the way that sleeps meanwhile has to be
//! woken up, which takes tens of microseconds where the processor sleeps too (a virtual machine's does). So a worker that
//! has carried something stays awake for about as long as an answer takes. It gives way to every other thread meanwhile,
//! and what it spends so is a small part of all time, however much traffic there is.

use std::time::Duration;

use selvedge_engine::Instant;

use crate::clock::Clock;

/// How long a worker stays awake at most: longer than the way through two nodes and back.
const LONGEST: Duration = Duration::from_micros(100);
/// The part of all time that may be spent so.
const SHARE: u32 = 20;
/// How much of it may be saved up.
const MOST_SAVED: Duration = Duration::from_millis(1);

/// What a worker may still spend on staying awake, and since when it does.
#[derive(Debug)]
pub(super) struct Linger {
    saved: Duration,
    saved_at: Instant,
    since: Option<Instant>,
}

impl Linger {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            saved: Duration::ZERO,
            saved_at: now,
            since: None,
        }
    }

    /// Lets the worker stay awake from now on, unless it did so too much of late.
    pub(super) fn begin(&mut self, now: Instant) {
        let gained = now.saturating_since(self.saved_at) / SHARE;
        self.saved = (self.saved + gained).min(MOST_SAVED);
        self.saved_at = now;
        self.since = (self.saved >= LONGEST).then_some(now);
    }

    /// Returns until when the worker may stay awake, if it may.
    pub(super) fn until(&self) -> Option<Instant> {
        self.since.map(|since| since + LONGEST)
    }

    /// Takes note that the worker has something to do, or goes to sleep.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.saved = self.saved.saturating_sub(now.saturating_since(since));
        }
    }
}

/// Waits until then without sleeping, while other threads come first.
pub(super) async fn stay_awake(clock: &impl Clock, until: Option<Instant>) {
    while until.is_some_and(|until| clock.now() < until) {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stays_awake_for_a_small_part_of_all_time() {
        let step = Duration::from_micros(10);
        let mut now = Instant::ZERO;
        let mut linger = Linger::new(now);
        let mut awake = Duration::ZERO;

        while now < Instant::ZERO + Duration::from_secs(1) {
            linger.begin(now);
            let slept_at = linger.until().unwrap_or(now);
            linger.end(slept_at);
            awake += slept_at.saturating_since(now);
            now = slept_at + step;
        }

        assert!(awake <= Duration::from_millis(50), "{awake:?}");
        assert!(awake >= Duration::from_millis(45), "{awake:?}");
    }

    #[test]
    fn a_long_rest_saves_up_for_a_few_times_only() {
        let mut linger = Linger::new(Instant::ZERO);
        let later = Instant::ZERO + Duration::from_hours(1);

        let times = std::iter::from_fn(|| {
            linger.begin(later);
            let until = linger.until()?;
            linger.end(until);
            Some(())
        });

        assert_eq!(times.count(), 10);
    }
}

//! A limit on how often something may happen.

use core::time::Duration;

use crate::time::Instant;

/// Lets `burst` events happen at once and one more every `interval`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TokenBucket {
    interval: Duration,
    /// How far `full_at` may lie ahead before an event.
    tolerance: Duration,
    /// When all events of the past are made up for.
    full_at: Instant,
}

impl TokenBucket {
    /// Makes a full bucket.
    pub(crate) const fn new(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            tolerance: interval.saturating_mul(burst.saturating_sub(1)),
            full_at: Instant::ZERO,
        }
    }

    /// Takes a token; `false` if there is none, and the event must not happen.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.full_at.saturating_since(now) > self.tolerance {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_allows_a_burst_and_no_more() {
        let mut bucket = TokenBucket::new(Duration::from_millis(10), 20);

        let taken = taken(&mut bucket, 100, at_millis(5));

        assert_eq!(taken, 20);
    }

    #[test]
    fn an_empty_bucket_gets_one_token_every_interval() {
        let mut bucket = TokenBucket::new(Duration::from_millis(10), 20);
        taken(&mut bucket, 100, at_millis(5));

        let at_once = taken(&mut bucket, 100, at_millis(14));
        let after_one = taken(&mut bucket, 100, at_millis(15));
        let after_three = taken(&mut bucket, 100, at_millis(45));

        assert_eq!((at_once, after_one, after_three), (0, 1, 3));
    }

    #[test]
    fn idle_time_does_not_save_up_more_than_a_burst() {
        let mut bucket = TokenBucket::new(Duration::from_millis(10), 20);
        taken(&mut bucket, 100, at_millis(5));

        let taken = taken(&mut bucket, 100, at_millis(3_600_000));

        assert_eq!(taken, 20);
    }

    fn taken(bucket: &mut TokenBucket, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| bucket.take(now)).count()
    }

    fn at_millis(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }
}

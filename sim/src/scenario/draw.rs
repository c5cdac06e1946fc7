//! Where the generator of scenarios takes its decisions from: a seed, or bytes that somebody else chose.

use std::time::Duration;

use selvedge_engine::Rng;

/// A source of decisions.
pub(super) trait Draw {
    /// Returns a number below `bound`, zero if `bound` is zero.
    fn below(&mut self, bound: u64) -> u64;

    /// Returns a duration between the two given ones, `low` included.
    fn between(&mut self, low: Duration, high: Duration) -> Duration;

    /// Returns true `per_million` times in a million.
    fn chance(&mut self, per_million: u32) -> bool;

    /// Tells whether nothing but zeros will follow.
    fn is_exhausted(&self) -> bool;
}

impl Draw for Rng {
    fn below(&mut self, bound: u64) -> u64 {
        Self::below(self, bound)
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        Self::between(self, low, high)
    }

    fn chance(&mut self, per_million: u32) -> bool {
        Self::chance(self, per_million)
    }

    fn is_exhausted(&self) -> bool {
        false
    }
}

/// Decisions that follow from bytes, one or two for each, so that whoever changes a byte changes one decision.
///
/// After the last byte come zeros, which decide for the first, the shortest and against chances.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Returns two bytes as a number.
    fn fine(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
}

impl Draw for Bytes<'_> {
    fn below(&mut self, bound: u64) -> u64 {
        let drawn = if bound <= 256 {
            u64::from(self.byte())
        } else {
            u64::from(self.fine())
        };
        drawn.checked_rem(bound).unwrap_or_default()
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low);
        low + span * u32::from(self.fine()) / (u32::from(u16::MAX) + 1)
    }

    fn chance(&mut self, per_million: u32) -> bool {
        let against = 1_000_000_u32.saturating_sub(per_million);
        (u32::from(self.byte()) + 1) * 1_000_000 / 256 > against
    }

    fn is_exhausted(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_one_thing_each_and_zeros_the_rest() {
        let mut bytes = Bytes::new(&[7, 0x34, 0x12, 0, 128, 255]);

        assert_eq!(bytes.below(5), 2);
        assert_eq!(bytes.below(60_000), 0x1234);
        assert_eq!(
            bytes.between(Duration::from_secs(2), Duration::from_secs(4)),
            Duration::from_secs(3)
        );
        assert!(!bytes.is_exhausted());
        assert!(bytes.chance(1));
        assert!(bytes.is_exhausted());
        assert_eq!((bytes.below(9), bytes.below(0)), (0, 0));
        assert!(!bytes.chance(900_000));
    }

    #[test]
    fn a_chance_is_as_likely_as_it_says_over_all_bytes() {
        let wins = (0..=255)
            .filter(|byte| Bytes::new(&[*byte]).chance(250_000))
            .count();

        assert_eq!(wins, 64);
    }
}

//! The engine's source of randomness: small, seeded, and the same for ever.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A generator whose whole stream follows from its seed (xoshiro256**, seeded by splitmix64; Blackman and
/// Vigna, <https://prng.di.unimi.it>).
///
/// The algorithm is part of this crate so that a seed means the same run whatever version a dependency has.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// Makes a generator from a seed.
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        Self {
            state: core::array::from_fn(|_| splitmix(&mut mix)),
        }
    }

    /// Derives an independent generator for the part of the program named by `label`.
    ///
    /// Depends on this generator's seed position and the label only; parts do not shift each other's streams.
    #[must_use]
    pub fn fork(&self, label: &str) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self::new(self.state[0] ^ self.state[2].rotate_left(17) ^ hash)
    }

    /// Returns the next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// Returns a number below `bound`, zero if `bound` is zero.
    ///
    /// Multiplies instead of dividing (Lemire); the bias of at most `bound / 2^64` is of no matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// Returns a duration between the two given ones, `low` included.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low);
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        low + Duration::from_nanos(self.below(nanos))
    }

    /// Returns true `per_million` times in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut rng = Rng::new(1);

        let drawn: [u64; 3] = core::array::from_fn(|_| rng.next_u64());

        assert_eq!(
            drawn,
            [
                0xb3f2_af6d_0fc7_10c5,
                0x853b_5596_4736_4cea,
                0x92f8_9756_082a_4514
            ]
        );
    }

    #[test]
    fn forks_differ_by_label_and_leave_the_parent_alone() {
        let rng = Rng::new(7);

        assert_ne!(rng.fork("a").next_u64(), rng.fork("b").next_u64());
        assert_eq!(rng.fork("a").next_u64(), rng.fork("a").next_u64());
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut rng = Rng::new(3);

        for bound in 1..200 {
            assert!(rng.below(bound) < bound);
        }
        assert_eq!(rng.below(0), 0);
    }
}

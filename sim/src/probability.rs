//! How likely something is.

use std::fmt;

/// A probability in millionths: exact, ordered, and printable.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Probability(u32);

impl Probability {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// Makes a probability from millionths; more than a million counts as certain.
    pub const fn per_million(millionths: u32) -> Self {
        if millionths > 1_000_000 {
            Self(1_000_000)
        } else {
            Self(millionths)
        }
    }

    /// Makes a probability from percent.
    pub const fn percent(percent: u32) -> Self {
        Self::per_million(percent.saturating_mul(10_000))
    }

    /// Adds the two, up to certainty.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::per_million(self.0 + other.0)
    }

    /// Returns the probability in millionths.
    pub const fn as_per_million(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_prints_as_percent() {
        assert_eq!(Probability::percent(30).to_string(), "30%");
        assert_eq!(Probability::per_million(12_500).to_string(), "1.25%");
        assert_eq!(Probability::per_million(u32::MAX).to_string(), "100%");
    }
}

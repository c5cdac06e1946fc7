//! How likely something is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decimal;

/// A probability in millionths: exact, ordered, and printable.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Probability(u32);

/// A text that is no probability.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "`{0}` is no probability: it is written as percent up to 100%, with four decimals at most, as in 0.25%"
)]
pub struct BadProbability(String);

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

impl FromStr for Probability {
    type Err = BadProbability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('%')
            .and_then(|percent| decimal::scaled(percent, DECIMALS))
            .and_then(|millionths| u32::try_from(millionths).ok())
            .filter(|millionths| *millionths <= 1_000_000)
            .map(Self)
            .ok_or_else(|| BadProbability(text.to_owned()))
    }
}

impl TryFrom<String> for Probability {
    type Error = BadProbability;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Probability> for String {
    fn from(probability: Probability) -> Self {
        probability.to_string()
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", decimal::text(u64::from(self.0), DECIMALS))
    }
}

/// A millionth is a percent with four decimals.
const DECIMALS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_prints_as_percent() {
        assert_eq!(Probability::percent(30).to_string(), "30%");
        assert_eq!(Probability::per_million(12_500).to_string(), "1.25%");
        assert_eq!(Probability::per_million(u32::MAX).to_string(), "100%");
    }

    #[test]
    fn a_probability_reads_as_it_prints_and_no_other_text_does() {
        for millionths in [0, 1, 90, 12_500, 300_000, 1_000_000] {
            let probability = Probability::per_million(millionths);
            assert_eq!(probability.to_string().parse(), Ok(probability));
        }
        for text in [
            "",
            "%",
            "5",
            "-1%",
            "100.0001%",
            "1.00001%",
            "1.%",
            ".5%",
            "1e1%",
            "5 %",
        ] {
            assert_eq!(
                text.parse::<Probability>(),
                Err(BadProbability(text.to_owned())),
                "{text}"
            );
        }
    }
}

//! How many workers carry packets.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

/// How many workers carry packets, each with a queue of the device, a socket and a thread of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WorkerCount(NonZeroU8);

impl WorkerCount {
    /// A single one: on two processors more do not help.
    pub const ONE: Self = Self(NonZeroU8::MIN);

    /// The most that there may be.
    const MOST: u8 = 64;

    /// Returns the number.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl FromStr for WorkerCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text
            .parse()
            .ok()
            .filter(|count: &NonZeroU8| count.get() <= Self::MOST);
        count
            .map(Self)
            .ok_or_else(|| format!("must be from 1 to {}", Self::MOST))
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_one_to_sixty_four_workers() {
        let count = |text: &str| text.parse::<WorkerCount>().map(WorkerCount::get);

        assert_eq!((count("1"), count("64")), (Ok(1), Ok(64)));
        for text in ["0", "65", "-1", "", "two"] {
            assert_eq!(count(text), Err("must be from 1 to 64".to_owned()), "{text}");
        }
    }
}

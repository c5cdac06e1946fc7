//! How a measured value is spread.

use std::collections::BTreeMap;

/// How often each value was measured; exact, and the same in whatever order the values came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spread<T>(BTreeMap<T, u64>);

impl<T: Copy + Ord> Spread<T> {
    /// Returns how many values there are.
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// Returns the middle value, the lower one of two; `None` if there is no value.
    pub fn median(&self) -> Option<T> {
        let half = self.count().div_ceil(2);
        let mut passed = 0;
        let middle = self.0.iter().find(|(_, times)| {
            passed += **times;
            passed >= half
        });
        middle.map(|(value, _)| *value)
    }

    /// Returns the largest value; `None` if there is no value.
    pub fn worst(&self) -> Option<T> {
        self.0.last_key_value().map(|(value, _)| *value)
    }

    pub(crate) fn record(&mut self, value: T) {
        *self.0.entry(value).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (value, times) in &other.0 {
            *self.0.entry(*value).or_default() += times;
        }
    }
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn two_spreads_together_are_the_sorted_values_of_both(one: Vec<u8>, other: Vec<u8>) {
            let mut sorted = [one.clone(), other.clone()].concat();
            sorted.sort_unstable();

            let mut both = spread(&other);
            both.add(&spread(&one));

            prop_assert_eq!(both.count(), sorted.len() as u64);
            prop_assert_eq!(both.median(), sorted.get(sorted.len().saturating_sub(1) / 2).copied());
            prop_assert_eq!(both.worst(), sorted.last().copied());
        }
    }

    fn spread(values: &[u8]) -> Spread<u8> {
        let mut spread = Spread::default();
        for value in values {
            spread.record(*value);
        }
        spread
    }
}

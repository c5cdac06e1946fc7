//! Delta debugging: which elements of a list it takes.

use std::ops::Range;

/// Removes elements, first all and halves of the list, then ever smaller pieces, as long as the rest is enough.
///
/// `is_enough` gets the places of the elements that are left.
pub(super) fn minimize(count: usize, mut is_enough: impl FnMut(&[usize]) -> bool) {
    let mut left: Vec<usize> = (0..count).collect();
    let mut pieces = 1;
    while !left.is_empty() {
        if let Some(fewer) = without_one_piece(&left, pieces, &mut is_enough) {
            left = fewer;
            pieces = pieces.saturating_sub(1).max(1);
        } else if pieces >= left.len() {
            return;
        } else {
            pieces = (pieces * 2).min(left.len());
        }
    }
}

fn without_one_piece(
    left: &[usize],
    pieces: usize,
    is_enough: &mut impl FnMut(&[usize]) -> bool,
) -> Option<Vec<usize>> {
    // The end of a list matters least: what fails early does so whatever comes later.
    (0..pieces)
        .rev()
        .map(|piece| without(left, &range(left.len(), pieces, piece)))
        .find(|fewer| is_enough(fewer))
}

pub(super) fn range(length: usize, pieces: usize, piece: usize) -> Range<usize> {
    length * piece / pieces..length * (piece + 1) / pieces
}

pub(super) fn without(left: &[usize], removed: &Range<usize>) -> Vec<usize> {
    let kept = left.iter().enumerate();
    kept.filter(|(place, _)| !removed.contains(place))
        .map(|(_, element)| *element)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_left_is_what_it_takes(count in 0..60_usize, needed: Vec<prop::sample::Index>) {
            let needed: Vec<usize> = if count == 0 {
                Vec::new()
            } else {
                needed.iter().map(|index| index.index(count)).collect()
            };
            let mut left: Vec<usize> = (0..count).collect();
            let mut tries = 0;

            minimize(count, |fewer| {
                tries += 1;
                let is_enough = needed.iter().all(|place| fewer.contains(place));
                if is_enough {
                    left = fewer.to_vec();
                }
                is_enough
            });

            let mut needed = needed;
            needed.sort_unstable();
            needed.dedup();
            prop_assert_eq!(left, needed);
            prop_assert!(tries <= count * count + 3 * count + 1, "{}", tries);
        }
    }
}

//! A list with an upper bound.

use serde::Serialize;

/// Keeps every item while there is room, and every second, fourth, eighth and so on when there is not.
///
/// What is left is spread evenly over all that came, and depends on nothing but their order.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Thinned<T> {
    items: Vec<T>,
    seen: u64,
    stride: u64,
    #[serde(skip)]
    room: usize,
}

impl<T> Thinned<T> {
    pub(super) const fn new(room: usize) -> Self {
        Self {
            items: Vec::new(),
            seen: 0,
            stride: 1,
            room,
        }
    }

    pub(super) fn push(&mut self, item: T) {
        let number = self.seen;
        self.seen += 1;
        if !number.is_multiple_of(self.stride) {
            return;
        }
        if self.items.len() >= self.room {
            self.halve();
            if !number.is_multiple_of(self.stride) {
                return;
            }
        }
        self.items.push(item);
    }

    /// Returns how many items are kept, and how many came.
    pub(super) const fn counts(&self) -> (usize, u64) {
        (self.items.len(), self.seen)
    }

    fn halve(&mut self) {
        self.stride *= 2;
        let mut is_kept = false;
        self.items.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_spread_evenly() {
        let mut thinned = Thinned::new(4);

        for number in 0..9 {
            thinned.push(number);
        }

        assert_eq!(thinned.items, [0, 4, 8]);
        assert_eq!(thinned.counts(), (3, 9));
    }

    #[test]
    fn all_is_kept_while_there_is_room() {
        let mut thinned = Thinned::new(4);

        (0..4).for_each(|number| thinned.push(number));

        assert_eq!(thinned.items, [0, 1, 2, 3]);
    }
}

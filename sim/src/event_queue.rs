//! What happens next: events in the order of their times.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use selvedge_engine::Instant;

/// Events to come; those of the same time come out in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    pushed: u64,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            pushed: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
        let number = self.pushed;
        self.pushed += 1;
        self.heap.push(Reverse(Entry { at, number, event }));
    }

    /// Takes the next event, unless it lies after `end`.
    pub(crate) fn pop_until(&mut self, end: Instant) -> Option<(Instant, E)> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_number() {
        let mut queue = EventQueue::new();
        queue.push(Instant::from_nanos(5), "late");
        queue.push(Instant::from_nanos(1), "first");
        queue.push(Instant::from_nanos(1), "second");

        let drained: Vec<_> = std::iter::from_fn(|| queue.pop_until(Instant::from_nanos(5))).collect();

        let texts: Vec<_> = drained.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts, ["first", "second", "late"]);
    }

    #[test]
    fn events_after_the_end_stay() {
        let mut queue = EventQueue::new();
        queue.push(Instant::from_nanos(5), ());

        assert_eq!(queue.pop_until(Instant::from_nanos(4)), None);
        assert!(queue.pop_until(Instant::from_nanos(5)).is_some());
    }
}

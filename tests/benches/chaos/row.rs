//! What one kind of change cost in all rounds.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use selvedge_tests::chaos::{Cost, Tampering};
use serde_json::{Value, json};

/// What one kind of change cost, each time that it was made.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    first: Cost,
    more: Vec<Cost>,
}

/// Returns the head of the table.
pub(crate) fn head(rounds: NonZeroU32) -> String {
    format!(
        "{:<14} {:<28} {:>10} {:>10} {:>10} {:>10} {:>12}\n(of {rounds} rounds; right: the node and what its peer knows of it; flows: the first answer after the last loss)",
        "backend", "change", "right", "worst", "flows", "worst", "lost (worst)"
    )
}

impl Row {
    pub(crate) const fn new(first: Cost) -> Self {
        let more = Vec::new();
        Self { first, more }
    }

    pub(crate) const fn tampering(&self) -> Tampering {
        self.first.tampering
    }

    pub(crate) fn add(&mut self, cost: Cost) {
        self.more.push(cost);
    }

    /// Tells whether everything was right in time, each time.
    pub(crate) fn is_in_time(&self) -> bool {
        self.costs().all(Cost::is_in_time)
    }

    pub(crate) fn to_json(&self) -> Value {
        let (right, flows, lost) = (self.right(), self.flows(), self.lost());
        json!({
            "backend": self.first.backend.to_string(),
            "change": self.first.tampering.to_string(),
            "right_ms": {"median": ms(median(&right)), "worst": ms(worst(&right))},
            "flows_ms": {"median": ms(median(&flows)), "worst": ms(worst(&flows))},
            "lost": {"median": median(&lost), "worst": worst(&lost)},
            "limit_ms": ms(Some(self.first.tampering.limit())),
            "rounds": self.costs().count(),
        })
    }

    fn costs(&self) -> impl Iterator<Item = &Cost> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Returns how long it took, in order; `None`, which is the worst, if it never was.
    fn right(&self) -> Vec<Option<Duration>> {
        in_order(self.costs().map(|cost| cost.right_after))
    }

    fn flows(&self) -> Vec<Option<Duration>> {
        in_order(self.costs().map(|cost| cost.flows_after))
    }

    fn lost(&self) -> Vec<Option<usize>> {
        in_order(self.costs().map(|cost| Some(cost.lost)))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time| ms(time).map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
        let (right, flows, lost) = (self.right(), self.flows(), self.lost());
        write!(
            f,
            "{:<14} {:<28} {:>10} {:>10} {:>10} {:>10} {:>12}",
            self.first.backend,
            self.first.tampering,
            time(median(&right)),
            time(worst(&right)),
            time(median(&flows)),
            time(worst(&flows)),
            format!(
                "{} ({})",
                median(&lost).unwrap_or_default(),
                worst(&lost).unwrap_or_default()
            )
        )
    }
}

fn in_order<T: Ord>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(|a, b| (a.is_none(), a).cmp(&(b.is_none(), b)));
    values
}

fn median<T: Copy>(values: &[Option<T>]) -> Option<T> {
    values.get(values.len() / 2).copied().flatten()
}

fn worst<T: Copy>(values: &[Option<T>]) -> Option<T> {
    values.last().copied().flatten()
}

fn ms(time: Option<Duration>) -> Option<u64> {
    time.and_then(|time| u64::try_from(time.as_millis()).ok())
}

//! A state over time.

use selvedge_engine::Instant;
use serde::Serialize;

use super::micros::Micros;

/// The values of a state, each with the time from which on it holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Changes<S>(Vec<(Micros, S)>);

impl<S: PartialEq> Changes<S> {
    /// Sets the state; one that is the same already is no change, and one that lasts no time at all leaves no trace.
    pub(super) fn set(&mut self, at: Instant, state: S) {
        let at = Micros::from(at);
        if self.0.last().is_some_and(|(_, last)| *last == state) {
            return;
        }
        self.0.pop_if(|(since, _)| *since == at);
        if self.0.last().is_none_or(|(_, last)| *last != state) {
            self.0.push((at, state));
        }
    }

    /// Returns the state that holds now.
    pub(super) fn last(&self) -> Option<&S> {
        self.0.last().map(|(_, state)| state)
    }
}

impl<S> From<S> for Changes<S> {
    /// Makes a state that holds from the start.
    fn from(state: S) -> Self {
        Self(vec![(Micros::default(), state)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_and_lasts_is_kept() {
        let mut changes = Changes::from("down");

        for (nanos, state) in [
            (5_000, "down"),
            (6_000, "up"),
            (7_000, "odd"),
            (7_000, "up"),
            (9_000, "down"),
        ] {
            changes.set(Instant::from_nanos(nanos), state);
        }

        let expected = [(0, "down"), (6_000, "up"), (9_000, "down")];
        let expected = expected.map(|(nanos, state)| (Instant::from_nanos(nanos).into(), state));
        assert_eq!(changes.0, expected);
        assert_eq!(changes.last(), Some(&"down"));
    }
}

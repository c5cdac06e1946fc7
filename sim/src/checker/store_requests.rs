//! Requests to the store have a deadline, few are open at a time, and few are made in a minute.

use std::collections::VecDeque;
use std::time::Duration;

use selvedge_engine::Instant;

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// How many requests a node may have open: one of each kind, and one to spare.
pub(crate) const MAX_OPEN: usize = 6;
/// How many requests and watches a node may open within a minute, with every retry that faults cause.
pub(crate) const MAX_PER_MINUTE: usize = 120;
/// The longest that a request may wait.
const MAX_WAIT: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The requests of one node within the last minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestRate {
    made: VecDeque<Instant>,
}

impl RequestRate {
    /// Takes note of a request or a watch, and checks how many there were.
    pub(crate) fn count(&mut self, node: NodeId, now: Instant) -> Verdict {
        self.made.push_back(now);
        while self.made.front().is_some_and(|at| *at + MINUTE <= now) {
            self.made.pop_front();
        }
        let count = self.made.len();
        if count <= MAX_PER_MINUTE {
            return Ok(());
        }
        let text = format!("{node} asked the store {count} times within a minute: a retry storm");
        Err(finding(node, text))
    }
}

/// Checks a new request; `open` counts it.
pub(crate) fn check_open(node: NodeId, open: usize, deadline: Instant, now: Instant) -> Verdict {
    if open > MAX_OPEN {
        return Err(finding(
            node,
            format!("{node} has {open} requests open at a time"),
        ));
    }
    if deadline <= now || deadline > now + MAX_WAIT {
        let text = format!("{node} asks at {now} with the deadline {deadline}");
        return Err(finding(node, text));
    }
    Ok(())
}

fn finding(node: NodeId, text: String) -> Finding {
    Finding::new(Invariant::StoreRequests, [node], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ref_cluster::fixture::{N1, after};

    #[test]
    fn a_storm_is_found_and_a_steady_pace_is_not() {
        let mut steady = RequestRate::default();
        let mut storm = RequestRate::default();

        let steady: Vec<_> = (0..1000).map(|second| steady.count(N1, after(second))).collect();
        let storm: Vec<_> = (0..=MAX_PER_MINUTE).map(|_| storm.count(N1, after(1))).collect();

        assert!(steady.iter().all(Result::is_ok));
        assert!(storm.last().is_some_and(Result::is_err));
    }

    #[test]
    fn a_request_needs_a_deadline_within_reason() {
        assert_eq!(check_open(N1, 1, after(5), after(0)), Ok(()));
        assert!(check_open(N1, 1, after(0), after(0)).is_err());
        assert!(check_open(N1, 1, after(61), after(0)).is_err());
        assert!(check_open(N1, MAX_OPEN + 1, after(5), after(0)).is_err());
    }
}

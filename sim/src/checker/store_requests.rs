//! Requests to the store have a deadline, one of each kind is open at a time, and few are made in a minute, however often
//! a daemon is started.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use selvedge_engine::{EtcdLeaseId, Instant, KeyRange, RequestId, Revision, StoreRequest};

use super::Verdict;
use crate::node_id::NodeId;
use crate::violation::{Finding, Invariant};

/// How many requests and watches a node may open within a minute, with every retry that faults cause.
pub(crate) const MAX_PER_MINUTE: usize = 120;
/// How many of these may be writes.
pub(crate) const MAX_WRITES_PER_MINUTE: usize = 40;
/// What each start may add: the config and its watch, the leases and theirs, and the writes.
pub(crate) const MAX_PER_START: usize = 12;
/// How often each start may try to write: an etcd lease and the own key, or either again as often as growing waits from
/// 50 ms on leave time for in a second or two.
pub(crate) const MAX_WRITES_PER_START: usize = 8;
/// The longest that a request may wait.
const MAX_WAIT: Duration = Duration::from_mins(1);
const MINUTE: Duration = Duration::from_mins(1);

/// What a request is about; a node has no reason to ask for the same twice at a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum RequestKind {
    /// The keys, and the revision if it is not the newest.
    Read(KeyRange, Option<Revision>),
    /// A transaction that changes nothing. A node that starts over waits for none that it made before.
    Verification,
    Transaction,
    Grant,
    KeepAlive(EtcdLeaseId),
    Revoke(EtcdLeaseId),
}

impl RequestKind {
    pub(crate) fn of(request: &StoreRequest) -> Self {
        match request {
            StoreRequest::Range { range, revision, .. } => Self::Read(range.clone(), *revision),
            StoreRequest::Txn(txn) if txn.success.is_empty() && txn.failure.is_empty() => Self::Verification,
            StoreRequest::Txn(_) => Self::Transaction,
            StoreRequest::LeaseGrant { .. } => Self::Grant,
            StoreRequest::LeaseKeepAlive { id } => Self::KeepAlive(*id),
            StoreRequest::LeaseRevoke { id } => Self::Revoke(*id),
        }
    }
}

/// The requests of a node that have no answer yet.
pub(crate) type OpenRequests = BTreeMap<RequestId, RequestKind>;

/// What is counted of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counted {
    /// Its daemon was started.
    Start,
    /// It asked for something, or watches.
    Read,
    /// It asked for a change.
    Write,
}

/// What one node did within the last minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestRate {
    done: VecDeque<(Instant, Counted)>,
}

impl RequestRate {
    /// Takes note of something, and checks how much there was.
    pub(crate) fn count(&mut self, node: NodeId, counted: Counted, now: Instant) -> Verdict {
        self.done.push_back((now, counted));
        while self.done.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
            self.done.pop_front();
        }
        if self.done.len() <= MAX_WRITES_PER_MINUTE {
            return Ok(());
        }
        let starts = self.times(Counted::Start);
        let writes = self.times(Counted::Write);
        let all = writes + self.times(Counted::Read);
        let is_storm = all > MAX_PER_MINUTE + starts * MAX_PER_START
            || writes > MAX_WRITES_PER_MINUTE + starts * MAX_WRITES_PER_START;
        if !is_storm {
            return Ok(());
        }
        let text = format!(
            "{node} asked the store {all} times within a minute, {writes} times for a change: a retry storm"
        );
        Err(finding(node, text))
    }

    fn times(&self, counted: Counted) -> usize {
        self.done.iter().filter(|(_, done)| *done == counted).count()
    }
}

/// Checks a new request beside those that are open.
pub(crate) fn check_open(
    node: NodeId,
    open: &OpenRequests,
    kind: &RequestKind,
    deadline: Instant,
    now: Instant,
) -> Verdict {
    let is_same = |other: &RequestKind| other == kind && *other != RequestKind::Verification;
    if let Some((id, _)) = open.iter().find(|(_, other)| is_same(other)) {
        let text = format!(
            "{node} asks for {kind:?} while #{} is open, which asks for the same",
            id.0
        );
        return Err(finding(node, text));
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
        let mut writes = RequestRate::default();

        let steady: Vec<_> = (0..1000)
            .map(|second| steady.count(N1, Counted::Read, after(second)))
            .collect();
        let storm: Vec<_> = (0..=MAX_PER_MINUTE)
            .map(|_| storm.count(N1, Counted::Read, after(1)))
            .collect();
        let writes: Vec<_> = (0..=MAX_WRITES_PER_MINUTE)
            .map(|_| writes.count(N1, Counted::Write, after(1)))
            .collect();

        assert!(steady.iter().all(Result::is_ok));
        assert!(storm.last().is_some_and(Result::is_err));
        assert!(writes.last().is_some_and(Result::is_err));
    }

    #[test]
    fn a_daemon_that_is_started_often_may_ask_for_what_each_start_needs_and_no_more() {
        let starts = |reads| {
            let each = [vec![Counted::Start], vec![Counted::Read; reads]].concat();
            let mut rate = RequestRate::default();
            (0..60 * each.len())
                .map(|at| rate.count(N1, each[at % each.len()], after(1)))
                .collect::<Result<Vec<()>, _>>()
        };

        assert!(starts(MAX_PER_START).is_ok());
        assert!(starts(MAX_PER_START * 2).is_err());
    }

    #[test]
    fn a_request_needs_a_deadline_within_reason() {
        let judged = |deadline| check_open(N1, &OpenRequests::new(), &RequestKind::Grant, deadline, after(0));

        assert_eq!(judged(after(5)), Ok(()));
        assert!(judged(after(0)).is_err());
        assert!(judged(after(61)).is_err());
    }

    #[test]
    fn the_same_is_not_asked_for_twice_at_a_time() {
        let revocation = |id| RequestKind::Revoke(EtcdLeaseId(id));
        let open = OpenRequests::from([(RequestId(1), revocation(7))]);
        let judged = |kind| check_open(N1, &open, &kind, after(5), after(0));

        assert_eq!(judged(revocation(8)), Ok(()));
        assert_eq!(judged(RequestKind::Grant), Ok(()));
        assert!(judged(revocation(7)).is_err());
    }
}

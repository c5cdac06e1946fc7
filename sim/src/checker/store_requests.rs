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
/// How many lists of all leases a node may ask for within an hour in which nothing happens: one every five minutes.
const LISTS_PER_HOUR: usize = 12;
/// How many leases a list brings with each request.
const LEASES_PER_PAGE: usize = 1000;
/// How many requests each renewal of a lease may take, with one to spare.
const REQUESTS_PER_RENEWAL: usize = 4;
/// The time to live of every lease.
const TTL: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
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

/// What one node did within the last minute, and how often it asked within the last hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestRate {
    done: VecDeque<(Instant, Counted)>,
    asked: VecDeque<Instant>,
}

/// How much a node has reason to ask for while nothing happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rest {
    /// Since when nothing has happened.
    pub(crate) since: Instant,
    /// The most records that the store ever held below the leases' prefix.
    pub(crate) records: usize,
    /// How long before its end a lease is renewed.
    pub(crate) renew_margin: Duration,
}

impl RequestRate {
    /// Checks how often a node asked within an hour in which nothing happened, if there was one.
    pub(crate) fn check_rest(&self, node: NodeId, rest: Rest, now: Instant) -> Verdict {
        let asked = self.asked.len();
        if now < rest.since + HOUR || asked <= rest.limit() {
            return Ok(());
        }
        let text = format!(
            "{node} asked the store {asked} times within an hour in which nothing happened, {} are enough",
            rest.limit()
        );
        Err(finding(node, text))
    }

    /// Takes note of something, and checks how much there was.
    pub(crate) fn count(&mut self, node: NodeId, counted: Counted, now: Instant) -> Verdict {
        if counted != Counted::Start {
            self.asked.push_back(now);
        }
        while self.asked.front().is_some_and(|at| *at + HOUR <= now) {
            self.asked.pop_front();
        }
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

impl Rest {
    fn limit(self) -> usize {
        let pages = 1 + self.records / LEASES_PER_PAGE;
        let between_renewals = TTL.saturating_sub(self.renew_margin).max(MINUTE);
        let renewals = HOUR.as_secs().div_ceil(between_renewals.as_secs());
        let renewals = usize::try_from(renewals).unwrap_or(usize::MAX);
        LISTS_PER_HOUR * pages + REQUESTS_PER_RENEWAL * renewals
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
    fn an_hour_in_which_nothing_happens_has_its_own_bound() {
        let rest = Rest {
            since: after(0),
            records: 10,
            renew_margin: Duration::from_hours(1),
        };
        let asking_every = |seconds: u64| {
            let mut rate = RequestRate::default();
            (0..7200 / seconds)
                .map(|count| after(count * seconds))
                .map(|now| {
                    rate.count(N1, Counted::Read, now)?;
                    rate.check_rest(N1, rest, now)
                })
                .collect::<Result<Vec<()>, _>>()
        };

        assert!(asking_every(300).is_ok());
        assert!(asking_every(120).is_err());
    }

    #[test]
    fn a_longer_list_and_more_renewals_may_take_more() {
        let rest = |records, hours| Rest {
            since: after(0),
            records,
            renew_margin: Duration::from_hours(hours),
        };

        assert_eq!(rest(10, 1).limit(), 16);
        assert_eq!(rest(10_000, 1).limit(), 12 * 11 + 4);
        assert_eq!(rest(10, 24).limit(), 12 + 4 * 60);
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

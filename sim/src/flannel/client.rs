//! What etcd's client does for flanneld: it numbers requests and repeats those that may be repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_engine::{
    Action, EtcdLeaseId, Instant, KeyRange, RequestId, Revision, Rng, StoreError, StoreErrorKind,
    StoreRequest, StoreResponse, Txn, WatchId,
};

use super::acquisition;
use super::death::Death;
use super::renewal;
use crate::sim_node::Deed;

/// What a request was made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    Config,
    Acquire(acquisition::Step),
    ListLeases,
    ReadOwn,
    Renew(renewal::Step),
    /// Nobody waits for the answer.
    Forget,
}

/// The connection to the store, and everything that the daemon wants done.
#[derive(Debug)]
pub(super) struct Client {
    /// The time on the daemon's clock.
    pub(super) now: Instant,
    pub(super) rng: Rng,
    last_request: u64,
    last_watch: u64,
    open: BTreeMap<RequestId, Call>,
    /// What waits for the store to be there.
    waiting: Vec<(Instant, Call)>,
    deeds: Vec<Deed>,
}

#[derive(Clone, Debug)]
struct Call {
    purpose: Purpose,
    request: StoreRequest,
}

impl Client {
    pub(super) const fn new(rng: Rng) -> Self {
        Self {
            now: Instant::ZERO,
            rng,
            last_request: 0,
            last_watch: 0,
            open: BTreeMap::new(),
            waiting: Vec::new(),
            deeds: Vec::new(),
        }
    }

    pub(super) fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// Sends a request; flanneld sets no deadline.
    pub(super) fn ask(&mut self, purpose: Purpose, request: StoreRequest) {
        self.call(Call { purpose, request });
    }

    /// Asks for an etcd lease of 24 hours (control-plane.md, 3.3).
    pub(super) fn grant(&mut self, purpose: Purpose) {
        let id = EtcdLeaseId(i64::try_from(self.rng.next_u64() >> 1).unwrap_or(1).max(1));
        let ttl_seconds = i64::try_from(TTL.as_secs()).unwrap_or(i64::MAX);
        self.ask(purpose, StoreRequest::LeaseGrant { id, ttl_seconds });
    }

    pub(super) fn watch(&mut self, range: KeyRange, start: Revision) -> WatchId {
        self.last_watch += 1;
        let id = WatchId(self.last_watch);
        self.act(Action::Watch { id, range, start });
        id
    }

    pub(super) fn act(&mut self, action: Action) {
        self.deeds.push(Deed::Act(action));
    }

    /// Puts a line into the timeline.
    pub(super) fn say(&mut self, line: String) {
        self.deeds.push(Deed::Say(line));
    }

    /// Puts a line into the trace.
    pub(super) fn mention(&mut self, line: String) {
        self.deeds.push(Deed::Mention(line));
    }

    pub(super) fn die(&mut self, death: Death) {
        self.open.clear();
        self.waiting.clear();
        self.deeds.push(Deed::Die(death));
    }

    /// Takes an answer; `None` if the request is not open, or waits to be repeated.
    pub(super) fn answered(
        &mut self,
        id: RequestId,
        result: Result<StoreResponse, StoreError>,
    ) -> Option<(Purpose, Result<StoreResponse, StoreError>)> {
        let call = self.open.remove(&id)?;
        let is_lost = result
            .as_ref()
            .is_err_and(|error| error.kind == StoreErrorKind::Unavailable);
        if is_lost && may_repeat(&call.request) {
            self.waiting.push((self.now + REPEAT, call));
            return None;
        }
        Some((call.purpose, result))
    }

    pub(super) fn handle_timeout(&mut self) {
        let now = self.now;
        let due: Vec<Call> = self
            .waiting
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, call)| call)
            .collect();
        for call in due {
            self.call(call);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let next = self.waiting.iter().map(|(at, _)| *at).min()?;
        Some((next, "ask the store again"))
    }

    fn call(&mut self, call: Call) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let request = call.request.clone();
        self.open.insert(id, call);
        self.act(Action::Request {
            id,
            deadline: NEVER,
            request,
        });
    }
}

/// The time to live of every lease.
pub(super) const TTL: Duration = Duration::from_hours(24);
/// A deadline beyond every run.
const NEVER: Instant = Instant::from_nanos(u64::MAX);
/// How soon the client tries again.
const REPEAT: Duration = Duration::from_millis(250);

/// Tells whether etcd's client repeats a request that was lost; it does not with writes.
fn may_repeat(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::Range { .. }
        | StoreRequest::LeaseGrant { .. }
        | StoreRequest::LeaseKeepAlive { .. }
        | StoreRequest::LeaseRevoke { .. } => true,
        StoreRequest::Txn(Txn { .. }) => false,
    }
}

//! Taking a subnet and holding it (control-plane.md, 4 and 6).
//!
//! Every write is a transaction that compares: a new key is written only if no key was created since the list
//! that the choice was made from, which guards both address families and overlaps of any size; an own key only
//! if it is unchanged. A write whose outcome is unknown is followed by a fresh list before anything else.

mod choice;
mod loss;
mod renewal;
mod write;

use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use self::choice::{Choice, choose};
use self::write::{Write, delete, verify};
use super::follower::{Follower, News};
use super::outbox::Outbox;
use crate::action::RequestId;
use crate::backoff::Backoff;
use crate::event::{Event, LeaseOrigin};
use crate::lease::LeaseRecord;
use crate::network_config::NetworkConfig;
use crate::setup::{LeasePolicy, Setup, StorePrefix};
use crate::store::{
    EtcdLeaseId, Header, KeyValue, Revision, StoreError, StoreErrorKind, StoreRequest, StoreResponse,
    TxnOpResponse, TxnOutcome,
};
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;
use crate::text_bytes;
use crate::time::Instant;

/// The time to live of every lease (control-plane.md, 3.3).
const TTL: Duration = Duration::from_hours(24);

/// Holds this node's lease, whatever happens to it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Keeper {
    prefix: StorePrefix,
    renew_margin: Duration,
    policy: LeasePolicy,
    /// The subnet to take if it is free.
    preferred: PreviousSubnet,
    state: State,
    /// An etcd lease that was asked for and hangs on no key.
    spare: Option<Spare>,
    /// The etcd lease of a key that is gone; it may live on without it.
    orphan: Option<EtcdLeaseId>,
    backoff: Backoff,
    carried: Option<Subnet>,
    /// When the node stops carrying traffic unless the lease is renewed before.
    fence_at: Option<Instant>,
    /// A subnet that was lost and shall not be taken again.
    avoided: Option<Subnet>,
    /// A subnet whose loss shall end the node.
    given_up: Option<Subnet>,
}

/// What the node announces, and in which network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) network: &'a NetworkConfig,
    pub(crate) record: &'a LeaseRecord,
}

#[derive(Debug, Deserialize, Serialize)]
enum State {
    /// Until the leases were listed.
    Listing,
    Waiting(Instant),
    Granting {
        request: RequestId,
        write: Write,
    },
    /// Asking whether the etcd lease of an own key that was found lives.
    Adopting {
        request: RequestId,
        asked_at: Instant,
        write: Write,
        lease: EtcdLeaseId,
    },
    Writing {
        request: RequestId,
        write: Write,
        lease: Option<Term>,
    },
    Clearing {
        request: RequestId,
    },
    Held {
        held: Held,
        renewal: Renewal,
    },
}

/// An etcd lease that was asked for; its term is unknown while no answer came.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Spare {
    id: EtcdLeaseId,
    asked_at: Instant,
    term: Option<Term>,
}

/// An etcd lease and when it ends.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Term {
    id: EtcdLeaseId,
    until: Instant,
    /// A hundredth of the time to live before its end.
    fence_at: Instant,
}

impl Term {
    /// Counts from the asking: the store starts the time to live no earlier.
    fn new(id: EtcdLeaseId, asked_at: Instant, ttl: Duration) -> Self {
        let until = asked_at + ttl;
        Self {
            id,
            until,
            fence_at: until - ttl / 100,
        }
    }
}

/// The lease that the node holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    #[serde(with = "text_bytes")]
    pub(crate) key: Vec<u8>,
    pub(crate) subnet: Subnet,
    create_revision: Revision,
    mod_revision: Revision,
    /// None for a reservation, which never ends.
    term: Option<Term>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Renewal {
    Never,
    Due(Instant),
    Verifying(RequestId),
    Extending { request: RequestId, asked_at: Instant },
}

impl Keeper {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            prefix: setup.prefix.clone(),
            renew_margin: setup.renew_margin,
            policy: setup.lease_policy,
            preferred: setup.previous,
            state: State::Listing,
            spare: None,
            orphan: None,
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(10)),
            carried: None,
            fence_at: None,
            avoided: None,
            given_up: None,
        }
    }

    /// Returns the subnet that the data path serves: the one held, and after a loss the one that was held for
    /// as long as nobody else claims it.
    pub(crate) const fn carried(&self) -> Option<Subnet> {
        self.carried
    }

    /// Returns the subnet whose loss shall end the node.
    pub(crate) const fn given_up(&self) -> Option<Subnet> {
        self.given_up
    }

    /// Returns the lease, if the node holds one now.
    pub(crate) const fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Held { held, .. } => Some(held),
            State::Listing
            | State::Waiting(_)
            | State::Granting { .. }
            | State::Adopting { .. }
            | State::Writing { .. }
            | State::Clearing { .. } => None,
        }
    }

    pub(crate) fn awaits(&self, id: RequestId) -> bool {
        match &self.state {
            State::Granting { request, .. }
            | State::Adopting { request, .. }
            | State::Writing { request, .. }
            | State::Clearing { request }
            | State::Held {
                renewal: Renewal::Verifying(request) | Renewal::Extending { request, .. },
                ..
            } => *request == id,
            State::Listing
            | State::Waiting(_)
            | State::Held {
                renewal: Renewal::Never | Renewal::Due(_),
                ..
            } => false,
        }
    }

    /// Takes note of what the follower saw.
    pub(crate) fn handle_news(
        &mut self,
        news: News,
        claim: &Claim<'_>,
        follower: &Follower,
        outbox: &mut Outbox,
    ) {
        match news {
            News::None => return,
            News::Changed | News::Listed => {}
            News::Restarted => self.forget_revisions(),
        }
        self.check_held(claim, follower, outbox);
        self.yield_if_claimed(claim, follower);
        if news != News::Changed && matches!(self.state, State::Listing) {
            self.decide(claim, follower, outbox);
        }
    }

    /// Takes an answer.
    pub(crate) fn handle_response(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        claim: &Claim<'_>,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) -> News {
        let again = State::Waiting(outbox.now + Duration::from_secs(1));
        match core::mem::replace(&mut self.state, again) {
            State::Granting { write, .. } => self.handle_granted(result, write, outbox),
            State::Adopting {
                asked_at,
                write,
                lease,
                ..
            } => {
                self.handle_adopted(result, asked_at, write, lease, outbox);
                return News::Changed;
            }
            State::Writing { write, lease, .. } => {
                return self.handle_written(result, write, lease, follower, outbox);
            }
            State::Clearing { .. } => return self.handle_cleared(result, follower, outbox),
            State::Held { held, renewal } => {
                return self.handle_renewal(result, held, renewal, claim, follower, outbox);
            }
            state @ (State::Listing | State::Waiting(_)) => self.state = state,
        }
        News::None
    }

    pub(crate) fn handle_timeout(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        self.fence(outbox);
        match &mut self.state {
            State::Waiting(until) if *until <= outbox.now => self.decide(claim, follower, outbox),
            State::Held {
                held,
                renewal: renewal @ Renewal::Due(_),
            } => {
                let Renewal::Due(at) = *renewal else { return };
                if at <= outbox.now {
                    let request = outbox.request(verify(&held.key, held.mod_revision, &self.prefix));
                    *renewal = Renewal::Verifying(request);
                }
            }
            State::Listing
            | State::Waiting(_)
            | State::Granting { .. }
            | State::Adopting { .. }
            | State::Writing { .. }
            | State::Clearing { .. }
            | State::Held { .. } => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let step = match &self.state {
            State::Waiting(until) => Some((*until, "take a subnet")),
            State::Held {
                renewal: Renewal::Due(at),
                ..
            } => Some((*at, "renew the lease")),
            State::Listing
            | State::Granting { .. }
            | State::Adopting { .. }
            | State::Writing { .. }
            | State::Clearing { .. }
            | State::Held { .. } => None,
        };
        let fence = self.fence_at.map(|at| (at, "stop before the lease ends"));
        step.into_iter().chain(fence).min()
    }

    /// Gives back what nothing hangs on.
    pub(crate) fn release_spare(&mut self, outbox: &mut Outbox) {
        let spare = self.spare.take().map(|spare| spare.id);
        for id in spare.into_iter().chain(self.orphan.take()) {
            outbox.request(StoreRequest::LeaseRevoke { id });
        }
    }

    /// Takes the next step towards a lease, from what the view shows.
    fn decide(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let leases = follower.leases();
        match choose(claim, &self.preferred, self.avoided, leases, &mut outbox.rng) {
            Choice::Keep { held, origin } => self.hold(held, origin, outbox),
            Choice::Adopt { write, lease } => {
                let request = outbox.request(StoreRequest::LeaseKeepAlive { id: lease });
                self.state = State::Adopting {
                    request,
                    asked_at: outbox.now,
                    write,
                    lease,
                };
            }
            Choice::Write(write) if write.is_reservation() => self.write(write, None, outbox),
            Choice::Write(write) => self.grant(write, outbox),
            Choice::Clear {
                key,
                mod_revision,
                preferred,
            } => {
                self.preferred = preferred;
                let request = outbox.request(delete(&key, mod_revision, &self.prefix));
                self.state = State::Clearing { request };
            }
            Choice::Exhausted => {
                let retry_in = self.wait(outbox);
                outbox.tell(Event::SubnetsExhausted {
                    leases: leases.len(),
                    retry_in,
                });
            }
        }
    }

    /// The id is the node's own choice: a grant that is repeated because its answer was lost leaks nothing.
    fn grant(&mut self, write: Write, outbox: &mut Outbox) {
        if let Some(term) = self
            .spare
            .and_then(|spare| spare.term)
            .filter(|term| term.until > outbox.now)
        {
            return self.write(write, Some(term), outbox);
        }
        let now = outbox.now;
        let drawn = EtcdLeaseId(i64::try_from(outbox.rng.next_u64() >> 1).unwrap_or(1).max(1));
        let spare = *self.spare.get_or_insert(Spare {
            id: drawn,
            asked_at: now,
            term: None,
        });
        let ttl_seconds = i64::try_from(TTL.as_secs()).unwrap_or(i64::MAX);
        let request = outbox.request(StoreRequest::LeaseGrant {
            id: spare.id,
            ttl_seconds,
        });
        self.state = State::Granting { request, write };
    }

    fn write(&mut self, write: Write, lease: Option<Term>, outbox: &mut Outbox) {
        let request = outbox.request(write.request(lease.map(|term| term.id), &self.prefix));
        self.state = State::Writing {
            request,
            write,
            lease,
        };
    }

    fn handle_granted(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        write: Write,
        outbox: &mut Outbox,
    ) {
        let Some(spare) = self.spare.as_mut() else { return };
        let ttl = match result {
            Ok(StoreResponse::LeaseGrant { ttl_seconds, .. }) => seconds(ttl_seconds),
            Err(error) if error.kind == StoreErrorKind::LeaseExists => TTL,
            Ok(_) => return,
            Err(error) => return self.retry("get an etcd lease", error, outbox),
        };
        let term = Term::new(spare.id, spare.asked_at, ttl);
        spare.term = Some(term);
        self.write(write, Some(term), outbox);
    }

    fn handle_adopted(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        asked_at: Instant,
        write: Write,
        lease: EtcdLeaseId,
        outbox: &mut Outbox,
    ) {
        let ttl = match result {
            Ok(StoreResponse::LeaseKeepAlive { ttl_seconds, .. }) => seconds(ttl_seconds),
            Err(error) if error.kind == StoreErrorKind::LeaseNotFound => Duration::ZERO,
            Ok(_) => return,
            Err(error) => return self.retry("adopt the node's lease", error, outbox),
        };
        if ttl.is_zero() {
            return self.grant(write, outbox);
        }
        let term = Term::new(lease, asked_at, ttl);
        if write.is_in_place() {
            let origin = write.origin;
            return self.hold(write.into_held(None, Some(term)), origin, outbox);
        }
        self.write(write, Some(term), outbox);
    }

    fn handle_written(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        write: Write,
        lease: Option<Term>,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) -> News {
        match result {
            Ok(StoreResponse::Txn {
                header,
                outcome: TxnOutcome::Succeeded,
                ..
            }) => {
                let kv = write.key_value(&header, lease.map(|term| term.id));
                follower.adopt_own(&header, kv);
                let origin = write.origin;
                self.hold(write.into_held(Some(header.revision), lease), origin, outbox);
                News::Changed
            }
            Ok(StoreResponse::Txn {
                header,
                outcome: TxnOutcome::Failed,
                responses,
            }) => {
                outbox.tell(Event::CreateRaceLost { subnet: write.subnet });
                self.wait(outbox);
                adopt_listed(&header, responses, follower, outbox)
            }
            Ok(_) => News::None,
            Err(error) if error.is_ambiguous() => {
                self.state = State::Listing;
                follower.list(outbox);
                outbox.tell(Event::StoreUnreachable {
                    wanted: "take a subnet",
                    error,
                    retry_in: Duration::ZERO,
                });
                News::None
            }
            Err(error) => {
                if error.kind == StoreErrorKind::LeaseNotFound {
                    self.spare = None;
                }
                self.retry("take a subnet", error, outbox);
                News::None
            }
        }
    }

    fn handle_cleared(
        &mut self,
        result: Result<StoreResponse, StoreError>,
        follower: &mut Follower,
        outbox: &mut Outbox,
    ) -> News {
        if let Err(error) = result
            && !error.is_ambiguous()
        {
            self.retry("remove the node's unsuitable lease", error, outbox);
            return News::None;
        }
        self.state = State::Listing;
        follower.list(outbox);
        News::None
    }

    fn hold(&mut self, held: Held, origin: LeaseOrigin, outbox: &mut Outbox) {
        let used = held.term.map(|term| term.id);
        self.spare = self.spare.filter(|spare| Some(spare.id) != used);
        self.orphan = self.orphan.filter(|orphan| Some(*orphan) != used);
        self.release_spare(outbox);
        self.backoff.reset();
        self.preferred = PreviousSubnet {
            v4: held.subnet.v4(),
            v6: held.subnet.v6(),
        };
        self.avoided = None;
        outbox.tell(Event::LeaseAcquired {
            subnet: held.subnet,
            origin,
        });
        self.schedule(held, outbox);
    }

    fn retry(&mut self, wanted: &'static str, error: StoreError, outbox: &mut Outbox) {
        let retry_in = self.wait(outbox);
        outbox.tell(Event::StoreUnreachable {
            wanted,
            error,
            retry_in,
        });
    }

    fn wait(&mut self, outbox: &mut Outbox) -> Duration {
        let retry_in = self.backoff.wait(&mut outbox.rng);
        self.state = State::Waiting(outbox.now + retry_in);
        retry_in
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

/// Takes the list that a failed comparison came back with.
fn adopt_listed(
    header: &Header,
    responses: Vec<TxnOpResponse>,
    follower: &mut Follower,
    outbox: &mut Outbox,
) -> News {
    let listed: Option<Vec<KeyValue>> = responses.into_iter().find_map(|response| match response {
        TxnOpResponse::Range(kvs) => Some(kvs),
        TxnOpResponse::Put | TxnOpResponse::Delete(_) => None,
    });
    match listed {
        Some(kvs) => follower.adopt(header, kvs, outbox),
        None => News::None,
    }
}

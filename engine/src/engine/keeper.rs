//! Taking a subnet and holding it (control-plane.md, 4 and 6).
//!
//! Every write is a transaction that compares: a new key is written only if no key was created since the list
//! that the choice was made from, which guards both address families and overlaps of any size; an own key only
//! if it is unchanged. A write whose outcome is unknown is followed by a fresh list before anything else.

mod announcement;
mod choice;
mod contest;
mod grant;
mod loss;
mod renewal;
mod surplus;
mod write;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use self::choice::{Choice, Situation};
use self::contest::{Claimant, Contest, OBJECTION_PAUSE, REFUSED_WAIT};
use self::loss::LOSS_WAIT;
use self::write::{KeyState, Write, delete, verify};
use super::follower::{Follower, News};
use super::outbox::Outbox;
use crate::action::RequestId;
use crate::backoff::Backoff;
use crate::event::Event;
use crate::lease::LeaseRecord;
use crate::machine_id::{MachineId, Maker, Standing};
use crate::network_config::NetworkConfig;
use crate::public_addresses::PublicAddresses;
use crate::setup::{LeasePolicy, Setup, StorePrefix};
use crate::store::{EtcdLeaseId, Revision, StoreError, StoreRequest, StoreResponse};
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;
use crate::text_bytes;
use crate::time::Instant;
use crate::twin::Twin;

/// The time to live of every lease (control-plane.md, 3.3).
const TTL: Duration = Duration::from_hours(24);

/// Returns the time that a node which renews this long before the end leaves at least between a renewal and the end of
/// its lease: in a shorter outage of the store no living node's lease ends.
pub(crate) fn spare_time(renew_margin: Duration) -> Duration {
    renew_margin.min(TTL / 2)
}

/// Holds this node's lease, whatever happens to it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Keeper {
    machine: MachineId,
    prefix: StorePrefix,
    renew_margin: Duration,
    policy: LeasePolicy,
    /// The subnet to take if it is free.
    preferred: PreviousSubnet,
    state: State,
    /// An etcd lease that was asked for and hangs on no key.
    spare: Option<Spare>,
    /// Own etcd leases whose key is gone or on another one; they live on without it.
    orphans: BTreeSet<EtcdLeaseId>,
    /// Etcd leases that hold nothing of the node's any more once it holds a subnet.
    superseded: BTreeSet<EtcdLeaseId>,
    backoff: Backoff,
    /// For tries after another machine objected.
    refusals: Backoff,
    /// When the node last answered the claim of another machine, or tried to.
    objected_at: Option<Instant>,
    /// For new leases after one was lost.
    losses: Backoff,
    lost_at: Option<Instant>,
    /// The revision of the view that a write was refused for: the store knows something newer.
    refused_at: Option<Revision>,
    /// When the node last gave back what it holds beside its lease.
    surplus_released_at: Option<Instant>,
    /// How many leases there were when no subnet was free, if that is what the node waits for.
    full_with: Option<usize>,
    carried: Option<Subnet>,
    /// The newest revision at which the key of the subnet carried was this node's; zero in a store that was restored.
    known: Revision,
    /// The newest revision at which another machine claimed that key, and was answered.
    answered: Revision,
    /// The other machine that keeps the node from its subnet.
    twin: Option<Twin>,
    /// The claim on a key that had its time.
    matured: Option<Revision>,
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

impl Claim<'_> {
    /// Returns the addresses that tell the node from the others.
    fn addresses(&self) -> PublicAddresses {
        PublicAddresses::of(self.record)
    }
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
    Contesting(Contest),
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
    /// How often it was asked for.
    tries: u32,
    term: Option<Term>,
}

impl Spare {
    /// Makes a spare of an etcd lease whose key is on another one.
    const fn of(term: Term) -> Self {
        Self {
            id: term.id,
            asked_at: term.until,
            tries: 0,
            term: Some(term),
        }
    }
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

impl Held {
    /// Returns when it ends unless it is renewed; none for a reservation.
    pub(crate) const fn until(&self) -> Option<Instant> {
        match self.term {
            Some(term) => Some(term.until),
            None => None,
        }
    }
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
            machine: setup.machine,
            prefix: setup.prefix.clone(),
            renew_margin: setup.renew_margin,
            policy: setup.lease_policy,
            preferred: setup.previous,
            state: State::Listing,
            spare: None,
            orphans: BTreeSet::new(),
            superseded: BTreeSet::new(),
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(10)),
            refusals: Backoff::new(REFUSED_WAIT.0, REFUSED_WAIT.1),
            objected_at: None,
            losses: Backoff::new(LOSS_WAIT.0, LOSS_WAIT.1),
            lost_at: None,
            refused_at: None,
            surplus_released_at: None,
            full_with: None,
            carried: None,
            known: Revision(0),
            answered: Revision(0),
            twin: None,
            matured: None,
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

    /// Returns the other machine that keeps the node from its subnet.
    pub(crate) const fn twin(&self) -> Option<Twin> {
        self.twin
    }

    /// Tells whether no subnet was free the last time, and nothing became free since.
    pub(crate) const fn finds_no_room(&self) -> bool {
        self.full_with.is_some()
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
            | State::Clearing { .. }
            | State::Contesting(_) => None,
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
            | State::Contesting(_)
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
        self.check_contest(claim, follower, outbox);
        self.check_challenge(claim, follower, outbox);
        self.check_room(follower, outbox);
        self.yield_if_claimed(claim, follower);
        if news == News::Changed {
            return;
        }
        self.release_surplus(claim, follower, outbox);
        if matches!(self.state, State::Listing) {
            self.decide(claim, follower, outbox);
        }
    }

    /// Carries the subnet that the node would take, without taking it.
    pub(crate) fn propose(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        self.carried = self.situation(claim, follower).choose(&mut outbox.rng).subnet();
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
            State::Granting { write, .. } => self.handle_granted(result, write, follower, outbox),
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
            state @ (State::Listing | State::Waiting(_) | State::Contesting(_)) => self.state = state,
        }
        News::None
    }

    pub(crate) fn handle_timeout(&mut self, claim: &Claim<'_>, follower: &mut Follower, outbox: &mut Outbox) {
        self.fence(outbox);
        self.announce(claim, follower, outbox);
        match &mut self.state {
            State::Waiting(until) if *until <= outbox.now => {
                // What the write was refused for, the watch should have brought since.
                let is_stale = self.refused_at.take() == Some(follower.leases().revision());
                if is_stale || follower.is_interrupted() {
                    self.state = State::Listing;
                    return follower.list(outbox);
                }
                self.decide(claim, follower, outbox);
            }
            State::Contesting(contest) if contest.until() <= outbox.now => {
                self.matured = Some(contest.claim());
                self.decide(claim, follower, outbox);
            }
            State::Held {
                held,
                renewal: renewal @ Renewal::Due(_),
            } => {
                let Renewal::Due(at) = *renewal else { return };
                if at <= outbox.now {
                    let request = outbox.request(verify(&held.key, KeyState::of_held(held)));
                    *renewal = Renewal::Verifying(request);
                }
            }
            State::Listing
            | State::Waiting(_)
            | State::Granting { .. }
            | State::Adopting { .. }
            | State::Writing { .. }
            | State::Clearing { .. }
            | State::Contesting(_)
            | State::Held { .. } => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let step = match &self.state {
            State::Waiting(until) => Some((*until, "take a subnet")),
            State::Contesting(contest) => Some((contest.until(), "hold what was claimed")),
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
        self.orphans.extend(self.spare.take().map(|spare| spare.id));
        for id in core::mem::take(&mut self.orphans) {
            outbox.request(StoreRequest::LeaseRevoke { id });
        }
    }

    /// Takes the next step towards a lease, from what the view shows.
    fn decide(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        self.full_with = None;
        let leases = follower.leases();
        let choice = self.situation(claim, follower).choose(&mut outbox.rng);
        self.matured = None;
        match choice {
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
            Choice::Contest { entry, subnet, by } => {
                if by == Claimant::This {
                    self.supersede(entry.etcd_lease);
                }
                self.state = State::Contesting(Contest::about(entry, subnet, by, outbox.now));
            }
            Choice::Defend { write, rival } => self.defend(write, rival, claim, outbox),
            Choice::Refuse(twin) => self.refuse(twin, claim, outbox),
            Choice::Clear {
                key,
                state,
                lease,
                preferred,
            } => {
                self.preferred = preferred;
                let request = outbox.request(delete(&key, state));
                self.state = State::Clearing { request };
                self.supersede(lease);
            }
            Choice::Exhausted => {
                self.full_with = Some(leases.len());
                let retry_in = self.wait(outbox);
                outbox.tell(Event::SubnetsExhausted {
                    holders: leases.holders(),
                    retry_in,
                });
            }
        }
    }

    const fn situation<'a>(&self, claim: &'a Claim<'a>, follower: &'a Follower) -> Situation<'a> {
        Situation {
            claim,
            machine: self.machine,
            preferred: self.preferred,
            avoided: self.avoided,
            carried: self.carried,
            known: self.known,
            twin: self.twin,
            matured: self.matured,
            leases: follower.leases(),
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

    /// Tells whether this machine made an etcd lease; what others made is theirs to end.
    fn is_own(&self, lease: EtcdLeaseId) -> bool {
        matches!(self.machine.maker_of(lease), Maker::This(_))
    }

    /// Tells whether this machine holds what hangs on an etcd lease.
    fn holds_by(&self, lease: EtcdLeaseId) -> bool {
        self.machine.maker_of(lease) == Maker::This(Standing::Held)
    }

    /// Takes note of an etcd lease whose key goes to another, or goes. What this program did not make may have other keys
    /// on it, and ends by itself.
    fn supersede(&mut self, lease: Option<EtcdLeaseId>) {
        let is_made_here = |lease: &EtcdLeaseId| self.machine.maker_of(*lease) != Maker::Unknown;
        self.superseded.extend(lease.filter(is_made_here));
    }

    fn retry(&mut self, wanted: &'static str, error: StoreError, outbox: &mut Outbox) {
        let retry_in = self.wait(outbox);
        outbox.tell(Event::StoreUnreachable {
            wanted,
            error,
            retry_in,
        });
    }

    /// Looks again soon once a record went: whoever else waits for a free subnet does so, too, but not at the same time.
    fn check_room(&mut self, follower: &Follower, outbox: &mut Outbox) {
        let State::Waiting(until) = &mut self.state else {
            return;
        };
        if self.full_with.is_some_and(|full| follower.leases().len() < full) {
            self.full_with = None;
            let soon = outbox
                .rng
                .between(Duration::from_millis(10), Duration::from_millis(500));
            *until = (*until).min(outbox.now + soon);
        }
    }

    fn wait(&mut self, outbox: &mut Outbox) -> Duration {
        let retry_in = if self.is_defending() {
            OBJECTION_PAUSE
        } else {
            self.backoff.wait(&mut outbox.rng)
        };
        self.state = State::Waiting(outbox.now + retry_in);
        retry_in
    }
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}

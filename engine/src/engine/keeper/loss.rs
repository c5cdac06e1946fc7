//! Noticing that the lease is gone, another's, or changed.

use core::net::IpAddr;
use core::time::Duration;

use super::contest::Sighting;
use super::write::Write;
use super::{Claim, Held, Keeper, Spare, State, Term};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::event::{Event, LeaseOrigin};
use crate::leases::Entry;
use crate::machine_id::{Maker, Standing};
use crate::setup::{OnExpiry, OnLoss};
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::subnet_file::PreviousSubnet;
use crate::twin::Rival;

/// The first and the longest wait after a lease was lost.
pub(super) const LOSS_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// How long no lease must have been lost for the first wait to come again.
const LOSSES_FORGOTTEN: Duration = Duration::from_mins(10);

/// How long an etcd lease that an operator put the key on is trusted before it was kept alive once.
const UNKNOWN_TERM: Duration = Duration::from_secs(10);

impl Keeper {
    pub(super) fn forget_revisions(&mut self) {
        if let State::Held { held, .. } = &mut self.state {
            held.mod_revision = Revision(0);
        }
        if let State::Contesting(_) = self.state {
            self.state = State::Listing;
        }
        self.known = Revision(0);
        self.answered = Revision(0);
        self.matured = None;
        self.losses.reset();
    }

    /// Compares the lease held with the view: it may be gone, another's, or changed by an operator.
    ///
    /// A view that is older than the node's own write says nothing about it. In a newer one the key is what counts:
    /// in a store that was restored from a backup the write may never have happened, and its revision may be that
    /// of another's.
    pub(super) fn check_held(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let own = claim.addresses();
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases();
        match leases.get(&held.key) {
            Some(entry) if leases.is_shadowed(entry, &held.subnet, own, claim.network) => {
                self.lose(None, follower, outbox);
            }
            None | Some(_) if leases.revision() < held.mod_revision => {}
            Some(entry) if held.is_written_in(entry) => {}
            Some(entry) if entry.is_of(own) => {
                let (held, entry) = (held.clone(), entry.clone());
                self.handle_rewritten(held, &entry, claim, follower, outbox);
            }
            other => {
                let to = other.and_then(|entry| entry.addresses()?.first());
                self.lose(to, follower, outbox);
            }
        }
    }

    /// The key is still this node's by its public IP, but somebody wrote it.
    ///
    /// A key that another machine holds is lost to it, unless its revision shows that the store was restored: then it may
    /// be an echo of this machine's own past, and the node goes on until it knows better.
    fn handle_rewritten(
        &mut self,
        held: Held,
        entry: &Entry,
        claim: &Claim<'_>,
        follower: &Follower,
        outbox: &mut Outbox,
    ) {
        let maker = entry.etcd_lease.map(|lease| self.machine.maker_of(lease));
        let is_news = self.known > Revision(0) && entry.mod_revision > self.known;
        match maker {
            None | Some(Maker::Unknown | Maker::This(Standing::Held)) => self.follow(held, entry, outbox),
            Some(maker @ (Maker::Other(_) | Maker::OtherBoot(_))) if is_news && maker.has_taken() => {
                let (subnet, rival) = (held.subnet, Rival::of(maker));
                self.refuse(Sighting { subnet, rival }, claim, outbox);
            }
            Some(maker @ (Maker::Other(_) | Maker::OtherBoot(_))) if is_news => {
                self.object(&held, entry, Rival::of(maker), claim, outbox);
            }
            Some(maker @ Maker::Other(standing)) if standing.is_claim() => {
                self.object(&held, entry, Rival::of(maker), claim, outbox);
            }
            Some(
                Maker::Other(_) | Maker::OtherBoot(_) | Maker::This(Standing::Claimed | Standing::Resumed),
            ) => self.lose(None, follower, outbox),
        }
    }

    /// Takes the key held back from another machine that claims it.
    fn object(&mut self, held: &Held, entry: &Entry, rival: Rival, claim: &Claim<'_>, outbox: &mut Outbox) {
        self.spare = held.term.filter(|term| self.is_own(term.id)).map(Spare::of);
        let write = Write::adoption(entry, held.subnet, LeaseOrigin::Defended, claim.record);
        self.defend(write, rival, claim, outbox);
    }

    /// Follows an operator who put the key on another etcd lease, or on none: a reservation (control-plane.md, 3.4).
    fn follow(&mut self, held: Held, entry: &Entry, outbox: &mut Outbox) {
        let left = held
            .term
            .map(|term| term.id)
            .filter(|id| entry.etcd_lease != Some(*id));
        self.orphans.extend(left.filter(|id| self.is_own(*id)));
        self.release_spare(outbox);
        let term = entry.etcd_lease.map(|id| match held.term {
            Some(term) if term.id == id => term,
            Some(_) | None => Term::new(id, outbox.now, UNKNOWN_TERM),
        });
        let held = Held {
            mod_revision: entry.mod_revision,
            term,
            ..held
        };
        self.schedule(held, outbox);
    }

    /// Acquires a lease anew, the later the more often one was lost of late: whoever takes them, or deletes them, shall not
    /// be raced against.
    fn lose(&mut self, to: Option<IpAddr>, follower: &Follower, outbox: &mut Outbox) {
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases();
        let subnet = held.subnet;
        let revision = leases.revision();
        let hangs_on = leases.get(&held.key).and_then(|entry| entry.etcd_lease);
        let left = held.term.map(|term| term.id).filter(|id| hangs_on != Some(*id));
        self.orphans.extend(left.filter(|id| self.is_own(*id)));
        outbox.tell(Event::LeaseLost { subnet, revision, to });
        if self.policy.on_expiry == OnExpiry::Fence {
            self.carried = None;
            self.fence_at = None;
        }
        match self.policy.on_loss {
            OnLoss::Reclaim => {}
            OnLoss::Reallocate => {
                self.preferred = PreviousSubnet::default();
                self.avoided = Some(subnet);
            }
            OnLoss::Exit => self.given_up = Some(subnet),
        }
        if self.lost_at.is_none_or(|at| outbox.now > at + LOSSES_FORGOTTEN) {
            self.losses.reset();
        }
        self.lost_at = Some(outbox.now);
        self.state = State::Waiting(outbox.now + self.losses.wait(&mut outbox.rng));
    }

    /// Stops carrying traffic before the lease ends, if that is the policy and no renewal came through.
    pub(super) fn fence(&mut self, outbox: &mut Outbox) {
        if self.fence_at.is_none_or(|at| at > outbox.now) {
            return;
        }
        self.fence_at = None;
        if let Some(subnet) = self.carried.take() {
            outbox.tell(Event::Fenced { subnet });
        }
    }

    /// Stops serving a subnet that was lost once another node's lease covers it, or another machine holds it.
    pub(super) fn yield_if_claimed(&mut self, claim: &Claim<'_>, follower: &Follower) {
        let Some(carried) = self.carried else { return };
        if self.held().is_none() && self.is_anothers(&carried, claim, follower) {
            self.carried = None;
        }
    }

    /// Tells whether a subnet that this node had is another node's, or another machine's, as far as the view shows.
    pub(crate) fn is_anothers(&self, carried: &Subnet, claim: &Claim<'_>, follower: &Follower) -> bool {
        let own = claim.addresses();
        let leases = follower.leases();
        let key = leases.get(&leases.key_of(carried));
        // What came after the own key takes nothing away.
        let is_own = |entry: &&Entry| {
            // Its address was another when it wrote it; of a reservation its revision alone tells.
            let is_as_known = self.known > Revision(0) && entry.mod_revision == self.known;
            is_as_known || entry.is_of(own) || entry.etcd_lease.is_some_and(|lease| self.holds_by(lease))
        };
        let claimed = match key.filter(is_own) {
            Some(entry) => leases.is_shadowed(entry, carried, own, claim.network),
            None => leases
                .overlapping(carried)
                .any(|(entry, subnet)| claim.network.gives_out(&subnet) && entry.is_of_another(own)),
        };
        let is_held_by_other = |entry: &Entry| {
            let maker = entry.etcd_lease.map(|lease| self.machine.maker_of(lease));
            maker.is_some_and(Maker::has_taken) && entry.mod_revision > self.known
        };
        let taken = self.known > Revision(0) && key.is_some_and(is_held_by_other);
        claimed || taken
    }
}

impl Held {
    /// Tells whether the key is as this node wrote it; its address may be another since.
    fn is_written_in(&self, entry: &Entry) -> bool {
        entry.mod_revision == self.mod_revision && entry.etcd_lease == self.term.map(|term| term.id)
    }
}

//! Noticing that the lease is gone, another's, or changed.

use core::net::Ipv4Addr;
use core::time::Duration;

use super::{Claim, Held, Keeper, State, Term};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::leases::Entry;
use crate::setup::{OnExpiry, OnLoss};
use crate::store::Revision;
use crate::subnet_file::PreviousSubnet;

/// How long an etcd lease that an operator put the key on is trusted before it was kept alive once.
const UNKNOWN_TERM: Duration = Duration::from_secs(10);

impl Keeper {
    pub(super) fn forget_revisions(&mut self) {
        if let State::Held { held, .. } = &mut self.state {
            held.mod_revision = Revision(0);
        }
    }

    /// Compares the lease held with the view: it may be gone, another's, or changed by an operator.
    ///
    /// A view that is older than the node's own write says nothing about it. In a newer one the key is what counts:
    /// in a store that was restored from a backup the write may never have happened, and its revision may be that
    /// of another's.
    pub(super) fn check_held(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let own_ip = claim.record.public_ip;
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases();
        match leases.get(&held.key) {
            Some(entry) if leases.is_shadowed(entry, &held.subnet, own_ip, claim.network) => {
                self.lose(follower, outbox);
            }
            None | Some(_) if leases.revision() < held.mod_revision => {}
            Some(entry) if held.is_written_in(entry, own_ip) => {}
            Some(entry) if entry.is_of(own_ip) => {
                let term = entry.etcd_lease.map(|id| match held.term {
                    Some(term) if term.id == id => term,
                    Some(_) | None => Term::new(id, outbox.now, UNKNOWN_TERM),
                });
                let held = Held {
                    mod_revision: entry.mod_revision,
                    term,
                    ..held.clone()
                };
                self.schedule(held, outbox);
            }
            None | Some(_) => self.lose(follower, outbox),
        }
    }

    pub(super) fn lose(&mut self, follower: &Follower, outbox: &mut Outbox) {
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases();
        let subnet = held.subnet;
        let revision = leases.revision();
        let hangs_on = leases.get(&held.key).and_then(|entry| entry.etcd_lease);
        self.orphan = held.term.map(|term| term.id).filter(|id| hangs_on != Some(*id));
        outbox.tell(Event::LeaseLost { subnet, revision });
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
        self.wait(outbox);
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

    /// Stops serving a subnet that was lost once another node's lease covers it.
    pub(super) fn yield_if_claimed(&mut self, claim: &Claim<'_>, follower: &Follower) {
        let own_ip = claim.record.public_ip;
        let Some(carried) = self.carried else { return };
        if self.held().is_some() {
            return;
        }
        let claimed = follower
            .leases()
            .overlapping(&carried)
            .any(|(entry, subnet)| claim.network.gives_out(&subnet) && entry.is_of_another(own_ip));
        if claimed {
            self.carried = None;
        }
    }
}

impl Held {
    /// Tells whether the key is as this node wrote it.
    fn is_written_in(&self, entry: &Entry, own_ip: Ipv4Addr) -> bool {
        entry.is_of(own_ip)
            && entry.mod_revision == self.mod_revision
            && entry.etcd_lease == self.term.map(|term| term.id)
    }
}

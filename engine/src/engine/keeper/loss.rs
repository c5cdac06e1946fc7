//! Noticing that the lease is gone, another's, or changed.

use super::{Claim, Held, Keeper, State, Term};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::lease::LeaseRecord;
use crate::store::Revision;

impl Keeper {
    pub(super) fn forget_revisions(&mut self) {
        if let State::Held { held, .. } = &mut self.state {
            held.mod_revision = Revision(0);
        }
    }

    /// Compares the lease held with the view: it may be gone, another's, or changed by an operator.
    pub(super) fn check_held(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let own_ip = claim.record.public_ip;
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases();
        match leases.get(&held.key) {
            Some(entry) if leases.is_shadowed(entry, &held.subnet, own_ip, claim.network) => {
                self.lose(leases.revision(), outbox);
            }
            None if leases.revision() < held.mod_revision => {}
            Some(entry) if entry.mod_revision <= held.mod_revision => {}
            Some(entry)
                if entry
                    .record
                    .as_ref()
                    .is_ok_and(|record| record.public_ip == own_ip) =>
            {
                let term = entry.etcd_lease.map(|id| match held.term {
                    Some(term) if term.id == id => term,
                    Some(_) | None => Term {
                        id,
                        until: outbox.now,
                    },
                });
                let held = Held {
                    mod_revision: entry.mod_revision,
                    term,
                    ..held.clone()
                };
                self.schedule(held, outbox);
            }
            None | Some(_) => self.lose(leases.revision(), outbox),
        }
    }

    pub(super) fn lose(&mut self, revision: Revision, outbox: &mut Outbox) {
        let State::Held { held, .. } = &self.state else {
            return;
        };
        outbox.tell(Event::LeaseLost {
            subnet: held.subnet,
            revision,
        });
        self.wait(outbox);
    }

    /// Stops serving a subnet that was lost once another node's lease covers it.
    pub(super) fn yield_if_claimed(&mut self, claim: &Claim<'_>, follower: &Follower) {
        let own_ip = claim.record.public_ip;
        let Some(carried) = self.carried else { return };
        if self.held().is_some() {
            return;
        }
        let is_others =
            |record: &Result<LeaseRecord, _>| record.as_ref().is_ok_and(|record| record.public_ip != own_ip);
        let claimed = follower
            .leases()
            .subnets_of(claim.network)
            .any(|(entry, subnet)| subnet.overlaps(&carried) && is_others(&entry.record));
        if claimed {
            self.carried = None;
        }
    }
}

//! Giving back what the node holds beside its lease.
//!
//! A store that was restored from a backup may hold a lease that the node wrote before, and whose revision does not show
//! it: the node's view knows nothing of it until the next list, and the node takes another subnet meanwhile.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Claim, Keeper, State};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::store::{EtcdLeaseId, StoreRequest};

/// The time between two tries: longer than an answer may take.
const PAUSE: Duration = Duration::from_mins(1);

impl Keeper {
    /// Revokes the etcd leases that this machine made since it was booted and that other keys of the node's hang on.
    pub(super) fn release_surplus(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let State::Held { held, .. } = &self.state else {
            return;
        };
        let leases = follower.leases().of_node(claim.addresses());
        let surplus: Vec<EtcdLeaseId> = leases
            .filter(|(entry, _)| *entry.key != *held.key)
            .filter_map(|(entry, _)| entry.etcd_lease)
            .filter(|id| self.is_own(*id) && held.term.is_none_or(|term| term.id != *id))
            .collect();
        let is_under_way = self.surplus_released_at.is_some_and(|at| at + PAUSE > outbox.now);
        if surplus.is_empty() || is_under_way {
            return;
        }
        self.surplus_released_at = Some(outbox.now);
        for id in surplus {
            outbox.request(StoreRequest::LeaseRevoke { id });
        }
    }
}

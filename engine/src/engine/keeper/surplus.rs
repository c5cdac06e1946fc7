//! Giving back what the node holds beside its lease.
//!
//! A store that was restored from a backup may hold a lease that the node wrote before, and whose revision does not show
//! it: the node's view knows nothing of it until the next list, and the node takes another subnet meanwhile.

use alloc::vec::Vec;

use super::{Claim, Keeper, State};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::store::{EtcdLeaseId, StoreRequest};

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
        for id in surplus {
            outbox.request(StoreRequest::LeaseRevoke { id });
        }
    }
}

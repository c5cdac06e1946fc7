//! Saying anew who the node is, when its address or its device is another.

use super::write::Write;
use super::{Claim, Keeper, Renewal, State};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;

impl Keeper {
    /// Writes the key of the lease held again if it says something else about the node than is true now. The subnet and
    /// the etcd lease stay.
    pub(super) fn announce(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let State::Held {
            held,
            renewal: Renewal::Due(_) | Renewal::Never,
        } = &self.state
        else {
            return;
        };
        let Some(entry) = follower.leases().get(&held.key) else {
            return;
        };
        if entry.mod_revision == held.mod_revision && entry.record.as_ref() != Ok(claim.record) {
            let lease = held.term;
            self.write(Write::update(held, claim.record), lease, outbox);
        }
    }
}

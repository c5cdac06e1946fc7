//! Two machines that announce the same public IP (faults.md, 35 and 36).
//!
//! Both find the same lease and would share its subnet. Which machine wrote a key last is told by its etcd lease
//! ([`crate::machine_id`]); whose it is, by compare-and-swap alone:
//!
//! - A node that finds its lease made by another machine *claims* it: it moves the key to an etcd lease of its own that
//!   is marked as a claim, and carries nothing yet. It may be that same machine after a reboot, or a twin.
//! - A holder that sees its key claimed moves it back, if it still is as the claim left it. It never stops carrying.
//! - After [`PROBATION`] the claimant moves the key to an etcd lease that is no claim, if it still is as the claim left
//!   it. Only then it holds the subnet.
//!
//! The last two compare with the same revision, so one of them succeeds, whatever is slow or lost; the other node is
//! refused and tries again ever more rarely. Clocks decide only how much time the holder has, never who holds.
//!
//! What this cannot give: a holder that is cut off from the store for longer than the probation does not hear of its
//! loss, and carries the subnet until it reaches the store again or, with `--on-lease-expiry=fence`, its lease ends.

use alloc::vec::Vec;
use core::time::Duration;

use super::write::Write;
use super::{Claim, Keeper, State};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::leases::Entry;
use crate::machine_id::Maker;
use crate::setup::OnLoss;
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::time::Instant;

/// How long a claimant gives the holder to object: enough for a watch event and a write at a store that takes a second
/// for each; a node that was rebooted waits no longer than that for its own lease.
pub(super) const PROBATION: Duration = Duration::from_secs(3);

/// How long the claim of another machine is left alone: its probation, and the time to say how that ended.
const PATIENCE: Duration = PROBATION.saturating_mul(2);

/// The first and the longest wait after a refusal. Each try costs two writes that every node hears of.
pub(super) const REFUSED_WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// A claim that waits for objections.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    key: Vec<u8>,
    subnet: Subnet,
    /// The claim is as it was written while the key has this revision.
    mod_revision: Revision,
    until: Instant,
}

/// Whose claim it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claimant {
    /// This machine's.
    This,
    /// Another's; it is let finish.
    Other,
}

impl Contest {
    /// Makes the contest about the claim that `entry` shows.
    pub(super) fn about(entry: &Entry, subnet: Subnet, by: Claimant, now: Instant) -> Self {
        let wait = match by {
            Claimant::This => PROBATION,
            Claimant::Other => PATIENCE,
        };
        Self {
            key: entry.key.to_vec(),
            subnet,
            mod_revision: entry.mod_revision,
            until: now + wait,
        }
    }

    /// Makes the contest about a claim that this node has just written.
    pub(super) fn begun(write: Write, written: Revision, now: Instant) -> Self {
        Self {
            key: write.key,
            subnet: write.subnet,
            mod_revision: written,
            until: now + PROBATION,
        }
    }

    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    pub(super) const fn claim(&self) -> Revision {
        self.mod_revision
    }
}

impl Keeper {
    /// Looks whether a claim met an objection.
    pub(super) fn check_contest(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let State::Contesting(contest) = &self.state else {
            return;
        };
        let leases = follower.leases();
        if leases.revision() < contest.mod_revision {
            return;
        }
        let entry = leases.get(&contest.key);
        match entry {
            Some(entry) if entry.mod_revision == contest.mod_revision => {}
            Some(entry) if self.is_anothers(entry, claim) => {
                self.refuse(contest.subnet, claim, outbox);
            }
            Some(_) | None => {
                self.state = State::Listing;
                self.decide(claim, follower, outbox);
            }
        }
    }

    /// Takes a key back that another machine claims, before that may hold it.
    pub(super) fn defend(&mut self, write: Write, claim: &Claim<'_>, outbox: &mut Outbox) {
        outbox.tell(Event::PublicIpContested {
            public_ip: claim.record.public_ip,
            subnet: write.subnet,
        });
        self.grant(write, outbox);
    }

    /// Leaves the subnet to the other machine, and carries nothing.
    pub(super) fn refuse(&mut self, subnet: Subnet, claim: &Claim<'_>, outbox: &mut Outbox) {
        if let State::Held { held, .. } = &self.state {
            let left = held.term.map(|term| term.id).filter(|id| self.is_own(*id));
            self.orphans.extend(left);
            self.given_up = (self.policy.on_loss == OnLoss::Exit).then_some(subnet);
        }
        let mut claims = core::mem::take(&mut self.superseded);
        claims.retain(|id| self.is_own(*id));
        self.orphans.append(&mut claims);
        self.carried = None;
        self.fence_at = None;
        self.release_spare(outbox);
        let retry_in = self.refusals.wait(&mut outbox.rng);
        self.state = State::Waiting(outbox.now + retry_in);
        outbox.tell(Event::DuplicatePublicIp {
            public_ip: claim.record.public_ip,
            subnet,
            retry_in,
        });
    }

    /// Tells whether a key with this node's public IP was written by another machine.
    fn is_anothers(&self, entry: &Entry, claim: &Claim<'_>) -> bool {
        let by_other = |lease| match self.machine.maker_of(lease) {
            Maker::Other(_) => true,
            Maker::This(_) | Maker::Unknown => false,
        };
        entry.is_of(claim.record.public_ip) && entry.etcd_lease.is_some_and(by_other)
    }
}

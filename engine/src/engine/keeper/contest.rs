//! Two machines that announce the same public IP (faults.md, 35 and 36), and one machine after a reboot.
//!
//! All of them find the same lease and would share its subnet. Which machine wrote a key last, and in which boot, is told
//! by its etcd lease ([`crate::machine_id`]); whose it is, by compare-and-swap alone. A node that finds its lease made
//!
//! - by *this boot of this machine* was restarted: nobody else can hold the lease. It takes it over at once, without a write.
//! - by *another boot of this machine*, or by *nobody who signs* (flannel, an older version), most likely had it before:
//!   a reboot ends the boot before, and an upgrade ends flannel. It carries the subnet at once and *resumes* the lease: it
//!   moves the key to an etcd lease of its own that is marked so. Only a copy of the machine that shares its firmware's
//!   identity, too, or a twin that runs flannel, is mistaken for this machine's past; the copy objects.
//! - by *another machine* may have a twin that is alive. It *claims* the lease in the same way, and carries nothing yet.
//!
//! From there on:
//!
//! - A holder that sees its key claimed, or resumed by a copy, moves it back, if it still is as the other left it. It
//!   never stops carrying, and needs about as long for it as the store takes for an event and a write. If another machine
//!   *resumed* the lease, it held it meanwhile: this node has lost it.
//! - After [`PROBATION`] the other moves the key to an etcd lease without mark, if it still is as it left it. Only then it
//!   holds the subnet.
//!
//! The last two compare with the same revision, so one of them succeeds, whatever is slow or lost. The other node is
//! refused: it carries nothing, says so with the cure, and tries again ever more rarely, now by claims alone. Clocks decide
//! only how much time the holder has, never who holds.
//!
//! While the store takes no writes, nothing is contested: who carries goes on, who may resume carries, who has to claim
//! waits. The time for objections begins only with a claim that was written, and a holder tries to object more often than
//! it lasts.
//!
//! A daemon that was restarted with another public IP finds no lease under it, but the one that this boot of the machine
//! wrote: it keeps that. After a reboot with another public IP the node is a new one, for the machine's identity alone may
//! be a copy's.
//!
//! What this cannot give: a holder that is cut off from the store for longer than the probation does not hear of its
//! loss, and carries the subnet until it reaches the store again or, with `--on-lease-expiry=fence`, its lease ends. A
//! reservation hangs on no etcd lease, so that twins on one are not told apart. A copy with the identity of the firmware,
//! too, carries the subnet once, for as long as the first objection takes, `--on-lease-expiry=fence` or not.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::write::Write;
use super::{Claim, Keeper, State, Term};
use crate::engine::follower::Follower;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::leases::Entry;
use crate::machine_id::{Maker, Standing};
use crate::setup::OnLoss;
use crate::store::Revision;
use crate::subnet::Subnet;
use crate::text_bytes;
use crate::time::Instant;
use crate::twin::{Rival, Twin};

/// How long a claimant gives the holder to object: enough for a watch event and a write at a store that takes a second
/// for each, and little for a machine that was installed anew under its old address.
pub(super) const PROBATION: Duration = Duration::from_secs(3);

/// How long the claim of another machine is left alone: its probation, and the time to say how that ended.
const PATIENCE: Duration = PROBATION.saturating_mul(2);

/// The first and the longest wait after a refusal. Each try costs two writes that every node hears of.
pub(super) const REFUSED_WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// The time between two objections, or tries to object: so much shorter than the probation that each claim meets one, and
/// so long that a twin which claims whenever it is started, once a second, does not wear the holder and the store down.
pub(super) const OBJECTION_PAUSE: Duration = Duration::from_secs(2);

/// A claim that waits for objections.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Contest {
    #[serde(with = "text_bytes")]
    key: Vec<u8>,
    subnet: Subnet,
    /// The claim is as it was written while the key has this revision.
    mod_revision: Revision,
    until: Instant,
}

/// Another machine that was seen to write the node's lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) subnet: Subnet,
    pub(super) rival: Rival,
}

impl Sighting {
    fn of_twin(self, claim: &Claim<'_>) -> Twin {
        let Self { subnet, rival } = self;
        let public_ip = claim.addresses().first();
        Twin {
            public_ip: public_ip.unwrap_or(IpAddr::V4(claim.record.public_ip)),
            subnet,
            rival,
        }
    }
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
        let (key, subnet) = (&contest.key, contest.subnet);
        match leases.get(key) {
            Some(entry) if entry.mod_revision == contest.mod_revision => {}
            Some(entry) => match self.rival(entry, claim) {
                Some(rival) if self.carried != Some(subnet) => {
                    self.refuse(Sighting { subnet, rival }, claim, outbox);
                }
                Some(_) | None => self.decide_anew(claim, follower, outbox),
            },
            None => self.decide_anew(claim, follower, outbox),
        }
    }

    /// Answers a claim at once that comes while the node waits to try something again.
    pub(super) fn check_challenge(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        let (State::Waiting(_), Some(carried)) = (&self.state, self.carried) else {
            return;
        };
        let leases = follower.leases();
        let Some(entry) = leases.get(&leases.key_of(&carried)) else {
            return;
        };
        let is_new = self.known > Revision(0) && entry.mod_revision > self.known.max(self.answered);
        if is_new && self.rival(entry, claim).is_some() {
            self.decide_anew(claim, follower, outbox);
        }
    }

    /// Tells whether a claim of another machine stands that was answered in vain.
    pub(super) fn is_defending(&self) -> bool {
        self.carried.is_some() && self.answered > self.known
    }

    /// Begins to wait for objections to a claim that this node has just written.
    pub(super) fn begin_contest(&mut self, write: Write, written: Revision, outbox: &mut Outbox) {
        if write.standing == Standing::Resumed && self.carried == Some(write.subnet) {
            self.known = written;
        }
        if write.standing == Standing::Claimed {
            outbox.tell(Event::LeaseClaimed {
                subnet: write.subnet,
                wait: PROBATION,
            });
        }
        self.state = State::Contesting(Contest::begun(write, written, outbox.now));
    }

    /// Carries a subnet while the claim on its lease, whose etcd lease lives as `term` says, is made.
    pub(super) fn carry_meanwhile(&mut self, write: &Write, term: Term, outbox: &mut Outbox) {
        let before = self.carried;
        self.carry(write.subnet, Some(term), write.seen(), outbox);
        self.twin = None;
        if let Some(carried) = self.carried {
            self.preferred = carried.into();
        }
        if self.carried != before && self.carried.is_some() {
            outbox.tell(Event::LeaseResumed { subnet: write.subnet });
        }
    }

    /// Takes a key back that another machine claims, before that may hold it.
    pub(super) fn defend(&mut self, write: Write, rival: Rival, claim: &Claim<'_>, outbox: &mut Outbox) {
        if write.seen() > self.answered {
            let subnet = write.subnet;
            let twin = Sighting { subnet, rival }.of_twin(claim);
            outbox.tell(Event::PublicIpContested { twin });
        }
        self.answered = write.seen();
        match self.objected_at.map(|at| at + OBJECTION_PAUSE) {
            Some(next) if next > outbox.now => self.state = State::Waiting(next),
            Some(_) | None => {
                self.objected_at = Some(outbox.now);
                self.grant(write, outbox);
            }
        }
    }

    /// Leaves the subnet to the other machine, and carries nothing.
    pub(super) fn refuse(&mut self, sighting: Sighting, claim: &Claim<'_>, outbox: &mut Outbox) {
        if let State::Held { held, .. } = &self.state {
            let left = held.term.map(|term| term.id).filter(|id| self.is_own(*id));
            self.orphans.extend(left);
            self.given_up = (self.policy.on_loss == OnLoss::Exit).then_some(sighting.subnet);
        }
        let mut claims = core::mem::take(&mut self.superseded);
        claims.retain(|id| self.is_own(*id));
        self.orphans.append(&mut claims);
        self.carried = None;
        self.fence_at = None;
        self.release_spare(outbox);
        let retry_in = self.refusals.wait(&mut outbox.rng);
        self.state = State::Waiting(outbox.now + retry_in);
        let twin = sighting.of_twin(claim);
        outbox.tell(Event::DuplicatePublicIp { twin, retry_in });
        self.twin = Some(twin);
    }

    fn decide_anew(&mut self, claim: &Claim<'_>, follower: &Follower, outbox: &mut Outbox) {
        self.state = State::Listing;
        self.decide(claim, follower, outbox);
    }

    /// Returns what wrote a key with this node's public IP, unless it was this machine in this boot.
    fn rival(&self, entry: &Entry, claim: &Claim<'_>) -> Option<Rival> {
        if !entry.is_of(claim.addresses()) {
            return None;
        }
        match self.machine.maker_of(entry.etcd_lease?) {
            maker @ (Maker::Other(_) | Maker::OtherBoot(_)) => Some(Rival::of(maker)),
            Maker::This(_) | Maker::Unknown => None,
        }
    }
}

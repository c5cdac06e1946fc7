//! The full set of objects that ought to exist, and the way there.

mod admission;
mod object_id;
mod repairs;
mod reporting;
mod retries;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) use self::admission::Admission;
pub(crate) use self::object_id::ObjectId;
use self::repairs::Repairs;
pub(crate) use self::retries::FailureNews;
use self::retries::Retries;
use crate::action::OpId;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::kernel::{
    IpVersion, KernelError, KernelErrorKind, KernelObject, KernelOp, LinkKind, LinkName, RulesetName, Vxlan,
};
use crate::snapshot::keyed::{self, Keyed};
use crate::snapshot::pairs;
use crate::time::Instant;

/// Makes the node hold the desired objects, in a safe order, and holds it to them.
///
/// What is present is known from surveys, from the results of operations and from notices. The node's own objects are
/// made kind by kind: one is begun when all kinds before it stand, so that nothing is hung on a device that is not there
/// yet. A peer's follow in the same order, each peer by itself, so that none waits for another's.
///
/// For n objects a change of one takes O(log n) steps.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Reconciler {
    #[serde(with = "keyed")]
    desired: BTreeMap<ObjectId, KernelObject>,
    #[serde(with = "keyed")]
    present: BTreeMap<ObjectId, KernelObject>,
    /// Who wants an object, or was the last to want one that is still there.
    #[serde(with = "pairs")]
    owners: BTreeMap<ObjectId, Owner>,
    /// What others want as well: two leases of one node lead to the same device.
    #[serde(default, with = "pairs")]
    shares: BTreeMap<(ObjectId, Owner), KernelObject>,
    #[serde(with = "pairs")]
    belongings: BTreeMap<Owner, BTreeSet<ObjectId>>,
    /// What is not as desired.
    #[serde(skip)]
    differing: BTreeSet<ObjectId>,
    /// What has to be looked at: it changed, or something that it waits for.
    due: BTreeSet<ObjectId>,
    in_flight: BTreeMap<OpId, KernelOp>,
    #[serde(skip)]
    busy: BTreeSet<ObjectId>,
    retries: Retries,
    repairs: Repairs,
    #[serde(default)]
    admission: Admission,
}

/// Who wants an object.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The node itself.
    Node,
    /// The peer with this range.
    Peer(IpNet),
}

/// A failure that the engine decides about.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) object: KernelObject,
    pub(crate) error: KernelError,
    pub(crate) retry_in: Duration,
    pub(crate) news: FailureNews,
}

impl Reconciler {
    /// Makes what a snapshot leaves out because it follows from the rest.
    pub(crate) fn derive_the_rest(&mut self) {
        let ops = self.in_flight.values();
        self.busy = ops.map(|op| ObjectId::of(op.object())).collect();
        let differs = |id: &&ObjectId| self.desired.get(*id) != self.present.get(*id);
        let all = self.desired.keys().chain(self.present.keys());
        self.differing = all.filter(differs).cloned().collect();
    }

    /// Replaces what an owner wants.
    pub(crate) fn desire(&mut self, owner: Owner, objects: Vec<KernelObject>) {
        let wanted: BTreeMap<_, _> = objects
            .into_iter()
            .map(|object| (ObjectId::of(&object), object))
            .collect();
        let former = self.belongings.get(&owner).cloned().unwrap_or_default();
        for id in former.iter().filter(|id| !wanted.contains_key(id)) {
            self.abandon(owner, id);
        }
        for (id, object) in wanted {
            self.claim(owner, id, object);
        }
        self.wake(owner);
    }

    /// Wants nothing any more.
    pub(crate) fn desire_nothing(&mut self) {
        let owners: Vec<Owner> = self.belongings.keys().copied().collect();
        for owner in owners {
            self.desire(owner, Vec::new());
        }
    }

    /// Returns the peers that objects are wanted for, or still there of.
    pub(crate) fn peers(&self) -> impl Iterator<Item = IpNet> {
        self.belongings.keys().filter_map(|owner| match owner {
            Owner::Node => None,
            Owner::Peer(net) => Some(*net),
        })
    }

    /// Starts every operation whose time has come. What is not wanted any more goes first: it must not stand in the way
    /// of its successor.
    pub(crate) fn reconcile(&mut self, outbox: &mut Outbox) {
        self.due.extend(self.retries.due(outbox.now));
        let due = core::mem::take(&mut self.due);
        let (stale, missing): (Vec<_>, Vec<_>) = due.iter().partition(|id| !self.desired.contains_key(id));
        for id in stale.into_iter().rev().chain(missing) {
            if let Some(op) = self.next_op(id) {
                self.busy.insert(id.clone());
                let number = outbox.kernel(op.clone());
                self.in_flight.insert(number, op);
            }
        }
    }

    /// Takes the result of an operation; returns the failure if it failed.
    pub(crate) fn handle_done(
        &mut self,
        number: OpId,
        result: Result<(), KernelError>,
        outbox: &mut Outbox,
    ) -> Option<Failure> {
        let op = self.in_flight.remove(&number)?;
        let id = ObjectId::of(op.object());
        self.busy.remove(&id);
        let owners = self.all_owners(&id);
        let (object, result) = match op {
            KernelOp::Ensure(object) | KernelOp::Replace(object) => {
                if result.is_ok() {
                    self.present.insert(id.clone(), object.clone());
                }
                (object, result)
            }
            KernelOp::Remove(object) => match result {
                Err(error) if error.kind != KernelErrorKind::NotFound => (object, Err(error)),
                Ok(()) | Err(_) => {
                    self.forget(&id);
                    self.forget_members_of(&id);
                    (object, Ok(()))
                }
            },
        };
        self.note(&id);
        let Err(error) = result else {
            self.retries.forget(&id);
            self.wake_each(owners);
            return None;
        };
        let (retry_in, news) = self.retries.postpone(id, &error, outbox);
        self.wake_each(owners);
        Some(Failure {
            object,
            error,
            retry_in,
            news,
        })
    }

    /// Takes note that an object is gone, or differs.
    pub(crate) fn handle_vanished(&mut self, object: &KernelObject, outbox: &mut Outbox) {
        self.lose(&ObjectId::of(object), outbox);
    }

    /// Takes note that a device is gone, and all that hung on it.
    pub(crate) fn handle_link_vanished(&mut self, name: &LinkName, outbox: &mut Outbox) {
        self.lose(&ObjectId::Link(name.clone()), outbox);
    }

    /// Takes what a survey found of ours; objects of kinds that surveys do not see stay as they were.
    pub(crate) fn handle_survey(&mut self, found: BTreeMap<ObjectId, KernelObject>, outbox: &mut Outbox) {
        let gone = self.present.keys().filter(|id| id.is_surveyed());
        let gone: Vec<_> = gone.filter(|id| !found.contains_key(id)).cloned().collect();
        for id in gone {
            if !self.busy.contains(&id) {
                self.lose(&id, outbox);
            }
        }
        for (id, object) in found {
            // What an operation that is under way does to it, the survey came too early to see.
            if self.busy.contains(&id) || self.present.get(&id) == Some(&object) {
                continue;
            }
            if !self.present.contains_key(&id) {
                // What stood in its way is its own.
                self.retries.forget(&id);
            } else if self.desired.contains_key(&id) {
                self.tell_repair(&id, outbox);
            }
            self.present.insert(id.clone(), object);
            self.note(&id);
        }
        self.wake(Owner::Node);
    }

    /// Tries everything again that waits for its time: why it failed is gone.
    pub(crate) fn hurry(&mut self, outbox: &Outbox) {
        self.retries.hurry(outbox.now);
    }

    /// Returns when the next operation that waits for its time alone falls due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retries.first()
    }

    /// Tells whether everything that traffic depends on is present: what the node wants itself, and of what it wants for
    /// its peers all that does not fail.
    pub(crate) fn is_settled(&self) -> bool {
        self.awaited().next().is_none()
    }

    /// Returns what is not present yet of what traffic depends on.
    fn awaited(&self) -> impl Iterator<Item = &ObjectId> {
        // Members come last, and traffic does not depend on them.
        let weighty = self.differing.iter().take_while(|id| !id.is_member());
        weighty.filter(|id| {
            let is_of_failing_peer = match self.owners.get(id).copied() {
                Some(owner @ Owner::Peer(_)) => self.fails(owner),
                Some(Owner::Node) | None => false,
            };
            !id.is_optional() && !is_of_failing_peer && self.desired.contains_key(id)
        })
    }

    /// Returns what would have to be done.
    pub(crate) fn plan(&self) -> Vec<KernelOp> {
        let stale = self.differing.iter().rev();
        let stale = stale.filter(|id| !self.desired.contains_key(id));
        let missing = self.differing.iter().filter(|id| self.desired.contains_key(id));
        stale.chain(missing).filter_map(|id| self.op(id)).collect()
    }

    /// Returns what ought to exist.
    pub(crate) fn desired(&self) -> impl Iterator<Item = &KernelObject> {
        self.desired.values()
    }

    /// Returns what ought to exist in the place of an object.
    pub(crate) fn wanted(&self, id: &ObjectId) -> Option<&KernelObject> {
        self.desired.get(id)
    }

    /// Returns what is there in the place of an object, as far as is known.
    pub(crate) fn present(&self, id: &ObjectId) -> Option<&KernelObject> {
        self.present.get(id)
    }

    /// Tells whether every member that is wanted is there.
    pub(crate) fn has_all_members(&self) -> bool {
        let mut differing = self.differing.iter().rev().take_while(|id| id.is_member());
        !differing.any(|id| self.desired.contains_key(id))
    }

    /// Tells whether an object is there, as far as is known.
    pub(crate) fn holds(&self, id: &ObjectId) -> bool {
        self.present.contains_key(id)
    }

    /// Returns the operation that an object needs now.
    fn next_op(&self, id: &ObjectId) -> Option<KernelOp> {
        if self.busy.contains(id) || self.retries.is_waiting(id) || self.has_to_wait(id) {
            return None;
        }
        self.op(id)
    }

    fn op(&self, id: &ObjectId) -> Option<KernelOp> {
        match (self.desired.get(id), self.present.get(id)) {
            (None, Some(present)) if *id != ObjectId::SubnetFile => Some(KernelOp::Remove(present.clone())),
            (None, None | Some(_)) => None,
            (Some(desired), None) => Some(KernelOp::Ensure(desired.clone())),
            (Some(desired), Some(present)) if desired == present => None,
            (Some(desired), Some(present)) if can_become(present, desired) => {
                Some(KernelOp::Replace(desired.clone()))
            }
            (Some(_), Some(present)) => Some(KernelOp::Remove(present.clone())),
        }
    }

    /// Tells whether something else has to be done before.
    fn has_to_wait(&self, id: &ObjectId) -> bool {
        let owner = self.owners.get(id).copied();
        if id.is_member() {
            return !self.holds(&ObjectId::Ruleset(RulesetName::Membership));
        }
        if !self.desired.contains_key(id) {
            return match owner {
                // As long as something leads there.
                Some(owner @ Owner::Peer(_)) => {
                    let belongings = self.belongings.get(&owner).into_iter().flatten();
                    let mut later = belongings.filter(|other| other.rank() > id.rank());
                    later.any(|other| self.differs_and_may_heal(other))
                }
                // With its last address a device loses its routes: the new one comes first.
                Some(Owner::Node) | None if id.is_address() => self.lacks_address(id),
                Some(Owner::Node) | None => false,
            };
        }
        let waits_for = |owner: Owner, rank: u8| {
            let belongings = self.belongings.get(&owner).into_iter().flatten();
            let mut earlier = belongings.filter(|other| other.rank() < rank && !other.is_optional());
            earlier.any(|other| self.stands_in_the_way(other))
        };
        match owner {
            Some(owner @ Owner::Peer(_)) => {
                waits_for(Owner::Node, ObjectId::SubnetFile.rank())
                    || waits_for(owner, id.rank())
                    || self.waits_for_admission(owner, id)
            }
            Some(Owner::Node) | None => waits_for(Owner::Node, id.rank()) || self.has_stale_to_remove(),
        }
    }

    /// Tells whether an object that others hang on is missing; one that is not wanted any more only until it is gone.
    fn stands_in_the_way(&self, id: &ObjectId) -> bool {
        self.desired
            .get(id)
            .is_some_and(|desired| self.present.get(id) != Some(desired))
    }

    /// Tells whether something of the node's own is still there that is not wanted any more.
    fn has_stale_to_remove(&self) -> bool {
        let own = self.belongings.get(&Owner::Node).into_iter().flatten();
        let is_kept = |id: &ObjectId| *id == ObjectId::SubnetFile || id.is_address();
        let mut stale = own.filter(|id| !self.desired.contains_key(id) && !is_kept(id));
        stale.any(|id| self.present.contains_key(id) && !self.retries.contains(id))
    }

    /// Tells whether an address is still to be added to the device that this one is on.
    fn lacks_address(&self, id: &ObjectId) -> bool {
        let missing = self.differing.iter().filter(|other| other.is_address());
        let mut missing = missing.filter(|other| other.link() == id.link());
        missing.any(|other| self.desired.contains_key(other) && !self.retries.contains(other))
    }

    fn fails(&self, owner: Owner) -> bool {
        let mut belongings = self.belongings.get(&owner).into_iter().flatten();
        belongings.any(|id| self.retries.contains(id))
    }

    fn differs_and_may_heal(&self, id: &ObjectId) -> bool {
        self.differing.contains(id) && !self.retries.contains(id)
    }

    /// Wants an object for an owner; what another wants already, both have.
    fn claim(&mut self, owner: Owner, id: ObjectId, object: KernelObject) {
        self.belongings.entry(owner).or_default().insert(id.clone());
        if let Some(other) = self.owners.get(&id).copied().filter(|other| *other != owner) {
            if self.desired.contains_key(&id) {
                self.shares.insert((id, owner), object);
                return;
            }
            self.disown(other, &id);
        }
        self.owners.insert(id.clone(), owner);
        self.want(&id, object);
    }

    /// Wants an object no more for an owner; another that wants it has it from now on.
    fn abandon(&mut self, owner: Owner, id: &ObjectId) {
        if self.shares.remove(&(id.clone(), owner)).is_some() {
            return self.disown(owner, id);
        }
        let heir = self.sharers(id).next();
        let share = heir.and_then(|heir| self.shares.remove(&(id.clone(), heir)));
        if let Some((heir, object)) = heir.zip(share) {
            self.owners.insert(id.clone(), heir);
            self.disown(owner, id);
            self.want(id, object);
        } else if self.desired.remove(id).is_some() {
            self.retries.forget(id);
            self.note(id);
        }
    }

    fn want(&mut self, id: &ObjectId, object: KernelObject) {
        if self.desired.get(id) != Some(&object) {
            self.desired.insert(id.clone(), object);
            self.note(id);
        }
    }

    /// Returns who else wants an object.
    fn sharers(&self, id: &ObjectId) -> impl Iterator<Item = Owner> {
        let shares = self.shares.range((id.clone(), Owner::Node)..);
        let shares = shares.take_while(move |((other, _), _)| other == id);
        shares.map(|((_, owner), _)| *owner)
    }

    /// Takes note that an object that was there is not any more, or is another, without our doing.
    fn lose(&mut self, id: &ObjectId, outbox: &mut Outbox) {
        if !self.present.contains_key(id) {
            return;
        }
        if self.desired.contains_key(id) {
            self.tell_repair(id, outbox);
        }
        self.forget(id);
    }

    fn tell_repair(&mut self, id: &ObjectId, outbox: &mut Outbox) {
        if let Some(object) = self.present.get(id).cloned() {
            outbox.tell(Event::KernelRepairing { object });
        }
        if let Some(wait) = self.repairs.note(id, outbox) {
            self.retries.wait_until(id.clone(), outbox.now + wait);
        }
    }

    /// Forgets an object that is gone, and with a device all that hung on it.
    fn forget(&mut self, id: &ObjectId) {
        self.present.remove(id);
        self.note(id);
        let ObjectId::Link(name) = id else { return };
        let gone = self.present.keys().filter(|id| id.link() == Some(name));
        // A route's device is not part of what it is.
        let routes = self
            .present
            .iter()
            .filter(|(_, object)| leads_out_of(object, name));
        let gone: Vec<_> = gone.chain(routes.map(|(id, _)| id)).cloned().collect();
        for id in gone {
            self.present.remove(&id);
            self.note(&id);
        }
    }

    /// Forgets the members that went with the rules that knew them; where somebody else removed the rules, they come back
    /// with them.
    fn forget_members_of(&mut self, id: &ObjectId) {
        if *id != ObjectId::Ruleset(RulesetName::Membership) {
            return;
        }
        let members = self.present.keys().filter(|id| id.is_member());
        for id in members.cloned().collect::<Vec<_>>() {
            self.present.remove(&id);
            self.note(&id);
        }
    }

    /// Works out whether an object is as desired.
    fn note(&mut self, id: &ObjectId) {
        let (desired, present) = (self.desired.get(id), self.present.get(id));
        if desired == present {
            self.differing.remove(id);
        } else {
            self.differing.insert(id.clone());
            self.due.insert(id.clone());
        }
        if desired.is_none() && present.is_none() {
            self.repairs.forget(id);
            if let Some(owner) = self.owners.remove(id) {
                self.disown(owner, id);
            }
        }
    }

    fn disown(&mut self, owner: Owner, id: &ObjectId) {
        if let Some(belongings) = self.belongings.get_mut(&owner) {
            belongings.remove(id);
            if belongings.is_empty() {
                self.belongings.remove(&owner);
            }
        }
    }

    /// Returns everybody who wants an object.
    fn all_owners(&self, id: &ObjectId) -> Vec<Owner> {
        let first = self.owners.get(id).copied();
        first.into_iter().chain(self.sharers(id)).collect()
    }

    /// Looks again at what may have waited for an object of these owners.
    fn wake_each(&mut self, owners: Vec<Owner>) {
        for owner in owners {
            self.wake(owner);
        }
    }

    /// Looks again at what may have waited for an object of this owner: for the node's own that is everything.
    fn wake(&mut self, owner: Owner) {
        match owner {
            Owner::Peer(_) => {
                let belongings = self.belongings.get(&owner).into_iter().flatten();
                let waiting = belongings.filter(|id| self.differing.contains(id));
                self.due.extend(waiting.cloned());
            }
            Owner::Node => self.due.extend(self.differing.iter().cloned()),
        }
    }
}

/// Tells whether an object can be changed into another of its identity while it stays in place.
fn can_become(present: &KernelObject, desired: &KernelObject) -> bool {
    let (KernelObject::Link(present), KernelObject::Link(desired)) = (present, desired) else {
        return true;
    };
    match (&present.kind, &desired.kind) {
        (LinkKind::Vxlan(present), LinkKind::Vxlan(desired)) => {
            let lasting = |vxlan: &Vxlan| {
                let version = IpVersion::of(vxlan.local);
                (vxlan.vni, vxlan.port, vxlan.group_policy, version)
            };
            lasting(present) == lasting(desired)
        }
        (LinkKind::Tun, LinkKind::Tun) => true,
        (LinkKind::Tun, LinkKind::Vxlan(_)) | (LinkKind::Vxlan(_), LinkKind::Tun) => false,
    }
}

fn leads_out_of(object: &KernelObject, name: &LinkName) -> bool {
    matches!(object, KernelObject::Route(route) if route.hop.link() == name)
}

impl Keyed for KernelObject {
    type Key = ObjectId;

    fn key(&self) -> ObjectId {
        ObjectId::of(self)
    }
}

#[cfg(test)]
mod tests;

//! The full set of objects that ought to exist, and the way there.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddrV4};
use core::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::action::OpId;
use crate::backoff::Backoff;
use crate::engine::outbox::Outbox;
use crate::event::Event;
use crate::kernel::{
    KernelError, KernelErrorKind, KernelObject, KernelOp, LinkName, MacAddress, Member, RulesetName,
};
use crate::snapshot::keyed::{self, Keyed};
use crate::snapshot::pairs;
use crate::time::Instant;

/// Makes the node hold the desired objects, in a safe order, and holds it to them.
///
/// What is present is known from the results of operations and from notifications. A kind of object is begun
/// when all kinds before it stand, so that nothing is hung on a device that is not there yet.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Reconciler {
    #[serde(with = "keyed")]
    desired: BTreeMap<ObjectId, KernelObject>,
    #[serde(with = "keyed")]
    present: BTreeMap<ObjectId, KernelObject>,
    in_flight: BTreeMap<OpId, KernelOp>,
    #[serde(with = "pairs")]
    failing: BTreeMap<ObjectId, Failing>,
}

/// What makes an object the same one although its attributes change; in the order of making.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) enum ObjectId {
    Socket(SocketAddrV4),
    Link(LinkName),
    Sysctl(LinkName, Cow<'static, str>),
    Address(LinkName, IpNet),
    Ruleset(RulesetName),
    Member(Member),
    FdbEntry(LinkName, MacAddress),
    Neighbour(LinkName, IpAddr),
    Route(IpNet),
    SubnetFile,
}

#[derive(Debug, Deserialize, Serialize)]
struct Failing {
    backoff: Backoff,
    retry_at: Instant,
}

/// A failure that the engine decides about.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) object: KernelObject,
    pub(crate) error: KernelError,
    pub(crate) retry_in: Duration,
}

impl Reconciler {
    /// Replaces the desired set.
    pub(crate) fn desire(&mut self, objects: Vec<KernelObject>) {
        self.desired = objects
            .into_iter()
            .map(|object| (ObjectId::of(&object), object))
            .collect();
        self.failing.retain(|id, _| self.desired.contains_key(id));
    }

    /// Starts every operation whose time has come.
    pub(crate) fn reconcile(&mut self, outbox: &mut Outbox) {
        for op in self.due(outbox.now) {
            let id = outbox.kernel(op.clone());
            self.in_flight.insert(id, op);
        }
    }

    /// Takes the result of an operation; returns the failure if it failed.
    pub(crate) fn handle_done(
        &mut self,
        id: OpId,
        result: Result<(), KernelError>,
        outbox: &mut Outbox,
    ) -> Option<Failure> {
        let (object, result) = match self.in_flight.remove(&id)? {
            KernelOp::Ensure(object) | KernelOp::Replace(object) => {
                if result.is_ok() {
                    self.present.insert(ObjectId::of(&object), object.clone());
                }
                (object, result)
            }
            KernelOp::Remove(object) => {
                let gone = match result {
                    Err(error) if error.kind != KernelErrorKind::NotFound => Err(error),
                    Ok(()) | Err(_) => {
                        self.present.remove(&ObjectId::of(&object));
                        Ok(())
                    }
                };
                (object, gone)
            }
        };
        let id = ObjectId::of(&object);
        let Err(error) = result else {
            self.failing.remove(&id);
            return None;
        };
        let retry_in = self.postpone(id, outbox);
        Some(Failure {
            object,
            error,
            retry_in,
        })
    }

    /// Takes note that an object is gone.
    pub(crate) fn handle_vanished(&mut self, object: &KernelObject, outbox: &mut Outbox) {
        self.forget(&ObjectId::of(object), outbox);
    }

    /// Takes note that a device is gone, and all that hung on it.
    pub(crate) fn handle_link_vanished(&mut self, name: &LinkName, outbox: &mut Outbox) {
        let gone = self.ids_where(|object| match object {
            KernelObject::Link(link) => link.name == *name,
            KernelObject::Sysctl(sysctl) => sysctl.link == *name,
            KernelObject::Address(address) => address.link == *name,
            KernelObject::FdbEntry(entry) => entry.link == *name,
            KernelObject::Neighbour(neighbour) => neighbour.link == *name,
            KernelObject::Route(route) => route.hop.link() == name,
            KernelObject::Socket(_)
            | KernelObject::Ruleset(_)
            | KernelObject::Member(_)
            | KernelObject::SubnetFile(_) => false,
        });
        for id in gone {
            self.forget(&id, outbox);
        }
    }

    /// Takes note that a device was set down, which took its routes.
    pub(crate) fn handle_link_down(&mut self, name: &LinkName, outbox: &mut Outbox) {
        let gone = self.ids_where(|object| match object {
            KernelObject::Link(link) => link.name == *name,
            KernelObject::FdbEntry(entry) => entry.link == *name,
            KernelObject::Neighbour(neighbour) => neighbour.link == *name,
            KernelObject::Route(route) => route.hop.link() == name,
            KernelObject::Sysctl(_)
            | KernelObject::Address(_)
            | KernelObject::Ruleset(_)
            | KernelObject::Member(_)
            | KernelObject::Socket(_)
            | KernelObject::SubnetFile(_) => false,
        });
        for id in gone {
            self.forget(&id, outbox);
        }
    }

    /// Returns when the next operation that waits for its time alone falls due: not one under way, and not one
    /// that others have to precede.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.due(Instant::from_nanos(u64::MAX));
        waiting
            .iter()
            .filter_map(|op| self.failing.get(&ObjectId::of(op.object())))
            .map(|failing| failing.retry_at)
            .min()
    }

    /// Tells whether everything desired that traffic depends on is present.
    pub(crate) fn is_settled(&self) -> bool {
        self.desired
            .iter()
            .all(|(id, object)| id.is_optional() || self.present.get(id) == Some(object))
    }

    /// Returns what would have to be done.
    pub(crate) fn plan(&self) -> Vec<KernelOp> {
        let stale = self.stale().map(|object| KernelOp::Remove(object.clone()));
        let missing = self.missing().map(|(_, object)| KernelOp::Ensure(object.clone()));
        stale.chain(missing).collect()
    }

    /// Returns what ought to exist.
    pub(crate) fn desired(&self) -> impl Iterator<Item = &KernelObject> {
        self.desired.values()
    }

    /// Returns how many objects it keeps in mind, and how many operations are under way.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        let objects = self.desired.len() + self.present.len() + self.failing.len();
        (objects, self.in_flight.len())
    }

    /// Removals come first: a stale route must not stand in the way of its successor.
    fn due(&self, now: Instant) -> Vec<KernelOp> {
        let stale: Vec<_> = self.stale().collect();
        if !stale.is_empty() {
            return stale
                .into_iter()
                .filter(|object| self.is_due(&ObjectId::of(object), now))
                .map(|object| KernelOp::Remove(object.clone()))
                .collect();
        }
        let Some(rank) = self
            .missing()
            .map(|(id, _)| id)
            .find(|id| !id.is_optional())
            .map(ObjectId::rank)
        else {
            return self.ensure_up_to(u8::MAX, now);
        };
        self.ensure_up_to(rank, now)
    }

    fn ensure_up_to(&self, rank: u8, now: Instant) -> Vec<KernelOp> {
        self.missing()
            .filter(|(id, _)| id.rank() <= rank && self.is_due(id, now))
            .map(|(_, object)| KernelOp::Ensure(object.clone()))
            .collect()
    }

    fn stale(&self) -> impl Iterator<Item = &KernelObject> {
        let kept = |id: &ObjectId| self.desired.contains_key(id) || *id == ObjectId::SubnetFile;
        self.present
            .iter()
            .rev()
            .filter(move |(id, _)| !kept(id))
            .map(|(_, object)| object)
    }

    fn missing(&self) -> impl Iterator<Item = (&ObjectId, &KernelObject)> {
        self.desired
            .iter()
            .filter(|(id, object)| self.present.get(id) != Some(object))
    }

    fn is_due(&self, id: &ObjectId, now: Instant) -> bool {
        let busy = self.in_flight.values().any(|op| ObjectId::of(op.object()) == *id);
        !busy && self.failing.get(id).is_none_or(|failing| failing.retry_at <= now)
    }

    fn postpone(&mut self, id: ObjectId, outbox: &mut Outbox) -> Duration {
        let failing = self.failing.entry(id).or_insert_with(|| Failing {
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            retry_at: Instant::ZERO,
        });
        let retry_in = failing.backoff.wait(&mut outbox.rng);
        failing.retry_at = outbox.now + retry_in;
        retry_in
    }

    fn forget(&mut self, id: &ObjectId, outbox: &mut Outbox) {
        let Some(object) = self.present.remove(id) else {
            return;
        };
        if self.desired.contains_key(id) {
            outbox.tell(Event::KernelRepairing { object });
        }
    }

    fn ids_where(&self, wanted: impl Fn(&KernelObject) -> bool) -> Vec<ObjectId> {
        self.present
            .iter()
            .filter(|(_, object)| wanted(object))
            .map(|(id, _)| id.clone())
            .collect()
    }
}

impl Keyed for KernelObject {
    type Key = ObjectId;

    fn key(&self) -> ObjectId {
        ObjectId::of(self)
    }
}

impl ObjectId {
    fn of(object: &KernelObject) -> Self {
        match object {
            KernelObject::Socket(local) => Self::Socket(*local),
            KernelObject::Link(link) => Self::Link(link.name.clone()),
            KernelObject::Sysctl(sysctl) => Self::Sysctl(sysctl.link.clone(), sysctl.key.clone()),
            KernelObject::Address(address) => Self::Address(address.link.clone(), address.net),
            KernelObject::Ruleset(ruleset) => Self::Ruleset(ruleset.name),
            KernelObject::Member(member) => Self::Member(*member),
            KernelObject::FdbEntry(entry) => Self::FdbEntry(entry.link.clone(), entry.mac),
            KernelObject::Neighbour(neighbour) => Self::Neighbour(neighbour.link.clone(), neighbour.address),
            KernelObject::Route(route) => Self::Route(route.destination),
            KernelObject::SubnetFile(_) => Self::SubnetFile,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Socket(_) => 0,
            Self::Link(_) => 1,
            Self::Sysctl(..) => 2,
            Self::Address(..) => 3,
            Self::Ruleset(_) => 4,
            Self::Member(_) => 5,
            Self::FdbEntry(..) => 6,
            Self::Neighbour(..) => 7,
            Self::Route(_) => 8,
            Self::SubnetFile => 9,
        }
    }

    /// Without a setting or a rule the node still carries traffic.
    const fn is_optional(&self) -> bool {
        match self {
            Self::Sysctl(..) | Self::Ruleset(_) | Self::Member(_) => true,
            Self::Socket(_)
            | Self::Link(_)
            | Self::Address(..)
            | Self::FdbEntry(..)
            | Self::Neighbour(..)
            | Self::Route(_)
            | Self::SubnetFile => false,
        }
    }
}

#[cfg(test)]
mod tests;

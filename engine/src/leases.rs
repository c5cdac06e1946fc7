//! The node's view of all leases in the store.

mod holders;
mod released;
mod span_index;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Bound;

use serde::{Deserialize, Serialize};

pub use self::holders::Holders;
use self::released::Released;
use self::span_index::{EntryId, Prefix, SpanIndex};
use crate::lease::LeaseRecord;
use crate::network_config::NetworkConfig;
use crate::public_addresses::PublicAddresses;
use crate::reject_reason::RejectReason;
use crate::setup::StorePrefix;
use crate::snapshot::keyed::{self, Keyed};
use crate::store::{EtcdLeaseId, Header, KeyValue, Revision, WatchEvent};
use crate::subnet::Subnet;
use crate::text_bytes;

/// All keys under the lease prefix, as of a revision.
///
/// A key that is no subnet, or whose value is no record, is remembered with its reason and harms nothing else. For n
/// keys a change, and a search by address or by range, takes O(log n) steps, and one for each key found.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Leases {
    prefix: StorePrefix,
    revision: Revision,
    #[serde(with = "keyed")]
    entries: BTreeMap<Arc<[u8]>, Entry>,
    last_id: EntryId,
    #[serde(skip)]
    by_address: BTreeMap<(IpAddr, EntryId), Arc<[u8]>>,
    #[serde(skip)]
    v4: SpanIndex,
    #[serde(skip)]
    v6: SpanIndex,
    #[serde(with = "text_bytes::map")]
    changes: Changes,
    released: Released,
    extent: Extent,
}

/// How many records are read: more than the largest IPv4 network has subnets of a usual size.
///
/// A view holds twice as many at most: what a list does not reach stays as it was known.
pub(crate) const MAX_RECORDS: usize = 100_000;

/// Whether every record is in a view, or there are more than [`MAX_RECORDS`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Extent {
    #[default]
    Whole,
    /// Some records are left out, so that nobody can tell what is free.
    Cut,
}

/// The keys that changed since somebody last asked, in order.
pub(crate) type Changes = BTreeMap<Arc<[u8]>, Changed>;

/// What is known of a key that changed, apart from what it is now.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Changed {
    /// The subnet that the key names.
    pub(crate) subnet: Result<Subnet, RejectReason>,
    /// How the key went, if it is gone.
    pub(crate) departure: Departure,
}

/// How a key went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Departure {
    /// While this node followed the store: it was deleted or it expired.
    Seen,
    /// While nobody looked: the store lost it, or it expired because its node could not reach the store either.
    Unseen,
}

/// One key under the lease prefix.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    #[serde(with = "text_bytes")]
    pub(crate) key: Arc<[u8]>,
    /// The subnet that the key names.
    pub(crate) subnet: Result<Subnet, RejectReason>,
    /// What the value says.
    pub(crate) record: Result<LeaseRecord, RejectReason>,
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) etcd_lease: Option<EtcdLeaseId>,
    id: EntryId,
}

/// Whether the view changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    Some,
    None,
}

impl Leases {
    pub(crate) fn new(prefix: StorePrefix) -> Self {
        Self {
            prefix,
            revision: Revision(0),
            entries: BTreeMap::new(),
            last_id: EntryId(0),
            by_address: BTreeMap::new(),
            v4: SpanIndex::default(),
            v6: SpanIndex::default(),
            changes: Changes::new(),
            extent: Extent::Whole,
            released: Released::default(),
        }
    }

    /// Returns the revision up to which every change is in the view.
    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn key_of(&self, subnet: &Subnet) -> Vec<u8> {
        self.prefix.lease_key(subnet)
    }

    /// Returns all keys, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// Returns the key on an etcd lease that was created last: whoever granted that lease drew its id.
    pub(crate) fn newest(&self) -> Option<&Entry> {
        let entries = self.entries().filter(|entry| entry.etcd_lease.is_some());
        entries.max_by_key(|entry| entry.create_revision)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the keys that changed since this was last called.
    pub(crate) fn take_changes(&mut self) -> Changes {
        core::mem::take(&mut self.changes)
    }

    /// Returns every subnet of the network that a key names, also those whose value is unusable: they are taken all
    /// the same. What lies outside the network, or covers all of it, takes nothing from anybody.
    pub(crate) fn subnets_of(&self, network: &NetworkConfig) -> impl Iterator<Item = (&Entry, Subnet)> {
        self.entries
            .values()
            .filter_map(|entry| Some((entry, entry.subnet.ok()?)))
            .filter(|(_, subnet)| network.gives_out(subnet))
    }

    /// Returns the leases of a node, in key order.
    pub(crate) fn of_node(&self, node: PublicAddresses) -> impl Iterator<Item = (&Entry, Subnet)> {
        let bounds = |address| (address, EntryId(0))..=(address, EntryId(u64::MAX));
        let keys: BTreeSet<_> = node
            .iter()
            .flat_map(|address| self.by_address.range(bounds(address)))
            .map(|(_, key)| key)
            .collect();
        keys.into_iter().filter_map(move |key| {
            let entry = self.entries.get(key).filter(|entry| entry.is_of(node))?;
            Some((entry, entry.subnet.ok()?))
        })
    }

    /// Returns the leases whose subnet shares an address with `subnet`, in either family; some come twice.
    pub(crate) fn overlapping(&self, subnet: &Subnet) -> impl Iterator<Item = (&Entry, Subnet)> {
        let v4 = subnet.v4().map(|v4| self.v4.overlapping(v4.into()));
        let v6 = subnet.v6().map(|v6| self.v6.overlapping(v6.into()));
        let keys = v4.into_iter().flatten().chain(v6.into_iter().flatten());
        keys.filter_map(|key| {
            let entry = self.entries.get(key)?;
            Some((entry, entry.subnet.ok()?))
        })
    }

    /// Tells whether an older lease of another node covers part of `subnet`, which `entry` names.
    pub(crate) fn is_shadowed(
        &self,
        entry: &Entry,
        subnet: &Subnet,
        own: PublicAddresses,
        network: &NetworkConfig,
    ) -> bool {
        self.overlapping(subnet).any(|(other, range)| {
            other.create_revision < entry.create_revision
                && network.gives_out(&range)
                && other.is_of_another(own)
        })
    }

    /// Makes the indexes anew, which a snapshot leaves out.
    pub(crate) fn index_all(&mut self) {
        let entries = core::mem::take(&mut self.entries);
        for entry in entries.values() {
            self.index(entry);
        }
        self.entries = entries;
    }

    /// Returns the subnets that were released as far as this node saw it, the one that was released first at the beginning.
    pub(crate) fn released(&self) -> impl Iterator<Item = Subnet> {
        self.released.oldest_first()
    }

    /// Returns who has the subnets.
    pub(crate) fn holders(&self) -> Holders {
        Holders::of(self.entries.values())
    }

    /// Tells whether every record is in the view.
    pub(crate) const fn extent(&self) -> Extent {
        self.extent
    }

    /// Tells whether a list of all keys cannot come from the history that the view is from: at a revision that both know,
    /// they differ.
    pub(crate) fn contradicts(&self, header: &Header, kvs: &[KeyValue], extent: Extent) -> bool {
        if extent == Extent::Cut || self.extent == Extent::Cut || header.revision < self.revision {
            return false;
        }
        let is_known = |revision: Revision| revision <= self.revision;
        let differs = |kv: &KeyValue| match self.get(&kv.key) {
            None => true,
            Some(entry) if !is_known(entry.mod_revision) => false,
            Some(entry) => entry.mod_revision != kv.mod_revision || entry.etcd_lease != kv.lease,
        };
        let listed = kvs.iter().filter(|kv| is_known(kv.mod_revision));
        let shared = listed.clone().count();
        let known = self.entries.values().filter(|entry| is_known(entry.mod_revision));
        let lacks_some = header.revision == self.revision && known.count() > shared;
        lacks_some || listed.into_iter().any(differs)
    }

    /// Replaces the view by a list of all keys, or as much of it as the list reaches; whatever it lacks went in this way.
    pub(crate) fn apply_list(
        &mut self,
        header: &Header,
        kvs: Vec<KeyValue>,
        extent: Extent,
        departure: Departure,
    ) -> Change {
        let mut gone: BTreeSet<_> = match (extent, kvs.last()) {
            (Extent::Whole, _) | (Extent::Cut, None) => self.entries.keys().cloned().collect(),
            (Extent::Cut, Some(last)) => {
                let bounds = (Bound::Unbounded, Bound::Included(last.key.as_slice()));
                let reached = self.entries.range::<[u8], _>(bounds);
                reached.map(|(key, _)| key.clone()).collect()
            }
        };
        self.extent = extent;
        let mut change = Change::None;
        for kv in kvs {
            gone.remove(kv.key.as_slice());
            let entry = self.entry(kv);
            if self
                .entries
                .get(&entry.key)
                .is_none_or(|known| !known.is_same(&entry))
            {
                self.insert(entry);
                change = Change::Some;
            }
        }
        for key in &gone {
            self.remove(key, departure);
            change = Change::Some;
        }
        self.revision = header.revision;
        change
    }

    /// Applies the changes that are newer than the view; nobody looked when those up to `unseen` happened.
    pub(crate) fn apply_events(
        &mut self,
        header: &Header,
        events: Vec<WatchEvent>,
        unseen: Revision,
    ) -> Change {
        let known = self.revision;
        let mut change = Change::None;
        if events.is_empty() {
            self.revision = self.revision.max(header.revision);
        }
        for event in events {
            let revision = match &event {
                WatchEvent::Put(kv) => kv.mod_revision,
                WatchEvent::Delete { mod_revision, .. } => *mod_revision,
            };
            let departure = if revision <= unseen {
                Departure::Unseen
            } else {
                Departure::Seen
            };
            if revision > known && self.apply_event(event, departure) == Change::Some {
                change = Change::Some;
            }
            self.revision = self.revision.max(revision);
        }
        change
    }

    /// Records a key that this node wrote, before the watch reports it.
    pub(crate) fn apply_own(&mut self, kv: KeyValue) {
        if kv.mod_revision > self.revision {
            self.apply_event(WatchEvent::Put(kv), Departure::Seen);
        }
    }

    fn apply_event(&mut self, event: WatchEvent, departure: Departure) -> Change {
        let (key, revision) = match &event {
            WatchEvent::Put(kv) => (&kv.key, kv.mod_revision),
            WatchEvent::Delete { key, mod_revision } => (key, *mod_revision),
        };
        let known = self.entries.get(key.as_slice());
        match event {
            _ if known.is_some_and(|entry| entry.mod_revision >= revision) => Change::None,
            WatchEvent::Put(_) if known.is_none() && self.entries.len() >= MAX_RECORDS => {
                self.extent = Extent::Cut;
                Change::None
            }
            WatchEvent::Put(kv) => {
                let entry = self.entry(kv);
                self.insert(entry);
                Change::Some
            }
            WatchEvent::Delete { .. } if known.is_none() => Change::None,
            WatchEvent::Delete { key, .. } => {
                self.remove(&key, departure);
                Change::Some
            }
        }
    }

    fn insert(&mut self, entry: Entry) {
        self.remove(&entry.key.clone(), Departure::Seen);
        self.index(&entry);
        if let Ok(subnet) = &entry.subnet {
            self.released.remove(subnet);
        }
        let changed = Changed {
            subnet: entry.subnet,
            departure: Departure::Seen,
        };
        self.changes.insert(entry.key.clone(), changed);
        self.entries.insert(entry.key.clone(), entry);
    }

    fn index(&mut self, entry: &Entry) {
        let (key, id) = (&entry.key, entry.id);
        if let Ok(record) = &entry.record {
            for address in PublicAddresses::of(record).iter() {
                self.by_address.insert((address, id), key.clone());
            }
        }
        for (index, prefix) in spans(&mut self.v4, &mut self.v6, entry.subnet) {
            index.insert(prefix, id, key.clone());
        }
    }

    fn remove(&mut self, key: &[u8], departure: Departure) {
        let Some(entry) = self.entries.remove(key) else {
            return;
        };
        if let Ok(record) = &entry.record {
            for address in PublicAddresses::of(record).iter() {
                self.by_address.remove(&(address, entry.id));
            }
        }
        for (index, prefix) in spans(&mut self.v4, &mut self.v6, entry.subnet) {
            index.remove(prefix, entry.id);
        }
        if let Ok(subnet) = entry.subnet {
            self.released.insert(subnet);
        }
        let changed = Changed {
            subnet: entry.subnet,
            departure,
        };
        self.changes.insert(entry.key, changed);
    }

    fn entry(&mut self, kv: KeyValue) -> Entry {
        let subnet = self
            .prefix
            .subnet_text(&kv.key)
            .ok_or(RejectReason::BadKey)
            .and_then(Subnet::parse);
        self.last_id.0 += 1;
        Entry {
            subnet,
            record: LeaseRecord::decode(&kv.value),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            etcd_lease: kv.lease,
            key: kv.key.into(),
            id: self.last_id,
        }
    }
}

impl Keyed for Entry {
    type Key = Arc<[u8]>;

    fn key(&self) -> Arc<[u8]> {
        self.key.clone()
    }
}

impl Entry {
    /// Tells whether the record is this node's.
    pub(crate) fn is_of(&self, node: PublicAddresses) -> bool {
        self.addresses()
            .is_some_and(|addresses| addresses.is_same_node(node))
    }

    /// Tells whether the record is another node's.
    pub(crate) fn is_of_another(&self, node: PublicAddresses) -> bool {
        self.addresses()
            .is_some_and(|addresses| !addresses.is_same_node(node))
    }

    /// Returns the addresses that the record announces, if it can be read.
    pub(crate) fn addresses(&self) -> Option<PublicAddresses> {
        self.record.as_ref().ok().map(PublicAddresses::of)
    }

    /// Tells whether the store says the same of the key.
    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
            && self.record == other.record
            && self.create_revision == other.create_revision
            && self.mod_revision == other.mod_revision
            && self.etcd_lease == other.etcd_lease
    }
}

/// Returns a key for people.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// Returns the indexes that a subnet belongs in, with its prefix there.
fn spans<'a>(
    v4: &'a mut SpanIndex,
    v6: &'a mut SpanIndex,
    subnet: Result<Subnet, RejectReason>,
) -> impl Iterator<Item = (&'a mut SpanIndex, Prefix)> {
    let subnet = subnet.ok();
    let v4_prefix = subnet.and_then(|subnet| subnet.v4()).map(Prefix::from);
    let v6_prefix = subnet.and_then(|subnet| subnet.v6()).map(Prefix::from);
    [(v4, v4_prefix), (v6, v6_prefix)]
        .into_iter()
        .filter_map(|(index, prefix)| Some((index, prefix?)))
}

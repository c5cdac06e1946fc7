//! The node's view of all leases in the store.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::lease::LeaseRecord;
use crate::network_config::NetworkConfig;
use crate::reject_reason::RejectReason;
use crate::setup::StorePrefix;
use crate::store::{EtcdLeaseId, Header, KeyValue, Revision, WatchEvent};
use crate::subnet::Subnet;

/// All keys under the lease prefix, as of a revision.
///
/// A key that is no subnet, or whose value is no record, is remembered with its reason and harms nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    prefix: StorePrefix,
    revision: Revision,
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// One key under the lease prefix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    /// The subnet that the key names.
    pub(crate) subnet: Result<Subnet, RejectReason>,
    /// What the value says.
    pub(crate) record: Result<LeaseRecord, RejectReason>,
    pub(crate) create_revision: Revision,
    pub(crate) mod_revision: Revision,
    pub(crate) etcd_lease: Option<EtcdLeaseId>,
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

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns every subnet of the network that a key names, also those whose value is unusable: they are taken all
    /// the same. What lies outside the network, or covers all of it, takes nothing from anybody.
    pub(crate) fn subnets_of(&self, network: &NetworkConfig) -> impl Iterator<Item = (&Entry, Subnet)> {
        self.subnets().filter(|(_, subnet)| network.gives_out(subnet))
    }

    /// Returns the leases that announce a public IP, in key order.
    pub(crate) fn of_public_ip(&self, public_ip: Ipv4Addr) -> impl Iterator<Item = (&Entry, Subnet)> {
        self.subnets().filter(move |(entry, _)| {
            entry
                .record
                .as_ref()
                .is_ok_and(|record| record.public_ip == public_ip)
        })
    }

    /// Tells whether an older lease of another node covers part of `subnet`, which `entry` names.
    pub(crate) fn is_shadowed(
        &self,
        entry: &Entry,
        subnet: &Subnet,
        own_ip: Ipv4Addr,
        network: &NetworkConfig,
    ) -> bool {
        self.subnets_of(network).any(|(other, range)| {
            other.create_revision < entry.create_revision
                && range.overlaps(subnet)
                && other
                    .record
                    .as_ref()
                    .is_ok_and(|record| record.public_ip != own_ip)
        })
    }

    /// Replaces the view by a list of all keys.
    pub(crate) fn apply_list(&mut self, header: &Header, kvs: Vec<KeyValue>) -> Change {
        let entries = kvs
            .into_iter()
            .map(|kv| (kv.key.clone(), self.entry(kv)))
            .collect();
        let change = if entries == self.entries {
            Change::None
        } else {
            Change::Some
        };
        self.entries = entries;
        self.revision = header.revision;
        change
    }

    /// Applies the changes that are newer than the view.
    pub(crate) fn apply_events(&mut self, header: &Header, events: Vec<WatchEvent>) -> Change {
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
            if revision > known && self.apply_event(event) == Change::Some {
                change = Change::Some;
            }
            self.revision = self.revision.max(revision);
        }
        change
    }

    /// Records a key that this node wrote, before the watch reports it.
    pub(crate) fn apply_own(&mut self, kv: KeyValue) {
        if kv.mod_revision > self.revision {
            self.apply_event(WatchEvent::Put(kv));
        }
    }

    fn subnets(&self) -> impl Iterator<Item = (&Entry, Subnet)> {
        self.entries
            .values()
            .filter_map(|entry| Some((entry, entry.subnet.ok()?)))
    }

    fn apply_event(&mut self, event: WatchEvent) -> Change {
        match event {
            WatchEvent::Put(kv) => {
                if self
                    .entries
                    .get(&kv.key)
                    .is_some_and(|entry| entry.mod_revision >= kv.mod_revision)
                {
                    return Change::None;
                }
                let entry = self.entry(kv);
                self.entries.insert(entry.key.clone(), entry);
                Change::Some
            }
            WatchEvent::Delete { key, mod_revision } => {
                if self
                    .entries
                    .get(&key)
                    .is_none_or(|entry| entry.mod_revision >= mod_revision)
                {
                    return Change::None;
                }
                self.entries.remove(&key);
                Change::Some
            }
        }
    }

    fn entry(&self, kv: KeyValue) -> Entry {
        let subnet = self
            .prefix
            .subnet_text(&kv.key)
            .ok_or(RejectReason::BadKey)
            .and_then(Subnet::parse);
        Entry {
            subnet,
            record: LeaseRecord::decode(&kv.value),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            etcd_lease: kv.lease,
            key: kv.key,
        }
    }
}

impl Entry {
    /// Tells whether the record announces this public IP.
    pub(crate) fn is_of(&self, public_ip: Ipv4Addr) -> bool {
        self.record
            .as_ref()
            .is_ok_and(|record| record.public_ip == public_ip)
    }

    /// Returns the key for people.
    pub(crate) fn key_text(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const KEY: &[u8] = b"/coreos.com/network/subnets/10.5.1.0-24";

    #[test]
    fn events_at_or_below_the_known_revision_change_nothing() {
        let mut leases = Leases::new(StorePrefix::default());
        leases.apply_list(&at(10), vec![kv(10)]);

        assert_eq!(leases.apply_events(&at(12), vec![deleted(9)]), Change::None);
        assert_eq!(leases.apply_events(&at(12), vec![deleted(10)]), Change::None);
        assert_eq!(leases.apply_events(&at(12), vec![deleted(11)]), Change::Some);
        assert_eq!(leases.len(), 0);
    }

    #[test]
    fn a_progress_notice_moves_the_revision_and_a_batch_only_as_far_as_its_events() {
        let mut leases = Leases::new(StorePrefix::default());
        leases.apply_list(&at(3), Vec::new());

        leases.apply_events(&at(20), vec![WatchEvent::Put(kv(8))]);
        assert_eq!(leases.revision(), Revision(8));

        leases.apply_events(&at(20), Vec::new());
        assert_eq!(leases.revision(), Revision(20));
    }

    #[test]
    fn an_own_write_that_the_watch_has_overtaken_is_not_brought_back() {
        let mut leases = Leases::new(StorePrefix::default());
        leases.apply_list(&at(3), Vec::new());
        leases.apply_events(&at(6), vec![WatchEvent::Put(kv(5)), deleted(6)]);

        leases.apply_own(kv(5));

        assert!(leases.get(KEY).is_none());
    }

    fn at(revision: i64) -> Header {
        Header {
            revision: Revision(revision),
            ..Header::default()
        }
    }

    fn kv(revision: i64) -> KeyValue {
        KeyValue {
            key: KEY.to_vec(),
            value: br#"{"PublicIP":"192.0.2.1"}"#.to_vec(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            version: 1,
            lease: None,
        }
    }

    fn deleted(revision: i64) -> WatchEvent {
        WatchEvent::Delete {
            key: KEY.to_vec(),
            mod_revision: Revision(revision),
        }
    }
}

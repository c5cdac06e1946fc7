//! The leases' keys in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::{MacAddress, Revision};

use super::subnet_map::SubnetMap;
use crate::node_id::NodeId;

/// Every lease's key that is in the store, by all that it is looked up by.
#[derive(Debug)]
pub(super) struct Keys {
    all: BTreeMap<Vec<u8>, Key>,
    v4_names: SubnetMap<Ipv4Net, Names>,
    v6_names: SubnetMap<Ipv6Net, Names>,
    names_of: BTreeMap<Ipv4Addr, Names>,
}

/// A lease's key in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) v4: Ipv4Net,
    pub(super) v6: Option<Ipv6Net>,
    pub(super) owner: Option<Ipv4Addr>,
    /// How packets get to the owner, if it says so.
    pub(super) way: Option<Way>,
    pub(super) is_reserved: bool,
    pub(super) create_revision: Revision,
}

/// What nodes of the cluster's backend need to know of a peer besides its address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// Nothing.
    Address,
    /// The hardware address of its VXLAN device.
    Vtep(MacAddress),
}

type Names = BTreeSet<Vec<u8>>;

impl Keys {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            v4_names: SubnetMap::new(),
            v6_names: SubnetMap::new(),
            names_of: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Sets what a key says, and returns what it said before.
    pub(super) fn insert(&mut self, name: &[u8], key: Key) -> Option<Key> {
        let before = self.remove(name);
        self.v4_names.entry(key.v4).insert(name.to_vec());
        if let Some(v6) = key.v6 {
            self.v6_names.entry(v6).insert(name.to_vec());
        }
        if let Some(owner) = key.owner {
            self.names_of.entry(owner).or_default().insert(name.to_vec());
        }
        self.all.insert(name.to_vec(), key);
        before
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Key> {
        let key = self.all.remove(name)?;
        drop_name(self.v4_names.get_mut(key.v4), name);
        drop_name(key.v6.and_then(|v6| self.v6_names.get_mut(v6)), name);
        if let Some(owner) = key.owner
            && let Some(names) = self.names_of.get_mut(&owner)
        {
            names.remove(name);
            if names.is_empty() {
                self.names_of.remove(&owner);
            }
        }
        Some(key)
    }

    /// Returns the first key of an owner.
    pub(super) fn of_owner(&self, owner: Ipv4Addr) -> Option<&[u8]> {
        Some(self.names_of.get(&owner)?.first()?)
    }

    /// Returns the subnets that keys name.
    pub(super) fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.all.values().map(|key| key.v4)
    }

    /// Returns whom keys name, `None` for one that cannot be read.
    pub(super) fn owners(&self) -> impl Iterator<Item = Option<Ipv4Addr>> {
        self.all.values().map(|key| key.owner)
    }

    /// Tells whether a key that is not of this node has addresses in common with a subnet.
    pub(super) fn covers_for_others(&self, subnet: Ipv4Net, node: NodeId) -> bool {
        let mut names = self.v4_names.overlapping(subnet).flat_map(|(_, names)| names);
        names.any(|name| self.all.get(name).is_some_and(|key| !key.is_of(node)))
    }

    /// Tells whether a key for this very subnet and node hangs on no etcd lease.
    pub(super) fn is_reserved(&self, subnet: Ipv4Net, node: NodeId) -> bool {
        let names = self.v4_names.get(subnet).into_iter().flatten();
        let mut keys = names.filter_map(|name| self.all.get(name));
        keys.any(|key| key.is_reserved && key.is_of(node))
    }

    /// Returns the oldest readable key that names this very subnet.
    pub(super) fn oldest_of(&self, subnet: Ipv4Net) -> Option<&Key> {
        let names = self.v4_names.get(subnet)?.iter();
        let keys = names.filter_map(|name| self.all.get(name));
        let readable = keys.filter(|key| key.owner.is_some());
        readable.min_by_key(|key| key.create_revision)
    }

    /// Returns the first other key, of another owner, that has addresses of either family in common with `key`, unless
    /// this one was the owner's already.
    pub(super) fn rival_of(&self, name: &[u8], key: &Key) -> Option<&[u8]> {
        if self.all.get(name).is_some_and(|known| known.has_owner_of(key)) {
            return None;
        }
        let v4 = self.v4_names.overlapping(key.v4).flat_map(|(_, names)| names);
        let v6 = key.v6.into_iter().flat_map(|v6| self.v6_names.overlapping(v6));
        v4.chain(v6.flat_map(|(_, names)| names))
            .filter(|other| other.as_slice() != name)
            .filter(|other| self.all.get(*other).is_some_and(|other| !other.has_owner_of(key)))
            .min()
            .map(Vec::as_slice)
    }
}

impl Key {
    /// Returns whom packets for the subnet go to, and the hardware address of its VXLAN device, if they have one.
    pub(super) fn holder(&self) -> Option<(Ipv4Addr, Option<MacAddress>)> {
        match self.way? {
            Way::Address => Some((self.owner?, None)),
            Way::Vtep(mac) => Some((self.owner?, Some(mac))),
        }
    }

    fn is_of(&self, node: NodeId) -> bool {
        self.owner.is_some_and(|owner| node.is_at(owner))
    }

    /// Tells whether both are of one host; its address may be another since it wrote one of them.
    fn has_owner_of(&self, other: &Self) -> bool {
        let number = |key: &Self| NodeId::by_public_ip(key.owner?, usize::MAX);
        self.owner == other.owner || (number(self).is_some() && number(self) == number(other))
    }
}

fn drop_name(names: Option<&mut Names>, name: &[u8]) {
    if let Some(names) = names {
        names.remove(name);
    }
}

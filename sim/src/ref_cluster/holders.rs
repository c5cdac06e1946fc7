//! Who holds which subnet now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::subnet_map::SubnetMap;

/// The leases that live, by subnet and by owner.
#[derive(Debug)]
pub(super) struct Holders {
    by_subnet: SubnetMap<Ipv4Net, Ipv4Addr>,
    by_owner: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Net>>,
}

impl Holders {
    pub(super) const fn new() -> Self {
        Self {
            by_subnet: SubnetMap::new(),
            by_owner: BTreeMap::new(),
        }
    }

    /// Sets who holds a subnet, or that nobody does.
    pub(super) fn set(&mut self, subnet: Ipv4Net, owner: Option<Ipv4Addr>) {
        let before = match owner {
            Some(owner) => self.by_subnet.insert(subnet, owner),
            None => self.by_subnet.remove(subnet),
        };
        if let Some(before) = before {
            self.drop_from(before, subnet);
        }
        if let Some(owner) = owner {
            self.by_owner.entry(owner).or_default().insert(subnet);
        }
    }

    pub(super) fn holder(&self, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        self.by_subnet.get(subnet).copied()
    }

    /// Returns every lease, in the order of the subnets.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (Ipv4Net, Ipv4Addr)> {
        self.by_subnet.iter().map(|(subnet, owner)| (subnet, *owner))
    }

    /// Returns the leases that share an address with a subnet, in order.
    pub(super) fn overlapping(&self, subnet: Ipv4Net) -> impl Iterator<Item = (Ipv4Net, Ipv4Addr)> {
        let overlapping = self.by_subnet.overlapping(subnet);
        overlapping.map(|(subnet, owner)| (subnet, *owner))
    }

    /// Returns what an owner holds, in order.
    pub(super) fn of_owner(&self, owner: Ipv4Addr) -> impl Iterator<Item = Ipv4Net> {
        self.by_owner.get(&owner).into_iter().flatten().copied()
    }

    fn drop_from(&mut self, owner: Ipv4Addr, subnet: Ipv4Net) {
        let Some(held) = self.by_owner.get_mut(&owner) else {
            return;
        };
        held.remove(&subnet);
        if held.is_empty() {
            self.by_owner.remove(&owner);
        }
    }
}

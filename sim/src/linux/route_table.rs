//! The main routing tables, one for each IP version.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use selvedge_engine::{FoundHop, FoundRoute};

/// The routes of everybody; the longest prefix wins, of equal ones the lowest priority.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RouteTable {
    v4: Routes,
    v6: Routes,
}

type Routes = BTreeMap<Key, Entry>;

/// A place for a route; the order is that of prefix lengths.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    length: u8,
    /// The first address, in the low bits.
    network: u128,
    priority: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Entry {
    destination: IpNet,
    hop: FoundHop,
    protocol: u8,
}

impl RouteTable {
    /// Returns the route that packets to an address take.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<FoundHop> {
        let (routes, width, bits) = match address {
            IpAddr::V4(address) => (&self.v4, 32, u128::from(address.to_bits())),
            IpAddr::V6(address) => (&self.v6, 128, address.to_bits()),
        };
        let mut longest = width;
        loop {
            let (Key { length, .. }, _) = routes.range(..=Key::last(longest)).next_back()?;
            let (first, last) = Key::all_of(*length, masked(bits, width, *length));
            if let Some((_, entry)) = routes.range(first..=last).next() {
                return Some(entry.hop);
            }
            longest = length.checked_sub(1)?;
        }
    }

    /// Returns what has the place of a route.
    pub(super) fn get(&self, destination: IpNet, priority: u32) -> Option<FoundRoute> {
        let entry = self.routes(destination).get(&Key::new(destination, priority))?;
        Some(entry.found(priority))
    }

    /// Puts a route into its place, whatever has it.
    pub(super) fn insert(&mut self, route: &FoundRoute) {
        let destination = route.destination.trunc();
        let entry = Entry {
            destination,
            hop: route.hop,
            protocol: route.protocol,
        };
        let key = Key::new(destination, route.priority);
        self.routes_mut(destination).insert(key, entry);
    }

    /// Puts a route into its place if nothing has it.
    pub(super) fn insert_if_free(&mut self, route: &FoundRoute) {
        if self.get(route.destination, route.priority).is_none() {
            self.insert(route);
        }
    }

    /// Keeps the routes that are wanted.
    pub(super) fn retain(&mut self, mut is_wanted: impl FnMut(&FoundRoute) -> bool) {
        for routes in [&mut self.v4, &mut self.v6] {
            routes.retain(|key, entry| is_wanted(&entry.found(key.priority)));
        }
    }

    /// Returns all routes, IPv4 first.
    pub(super) fn iter(&self) -> impl Iterator<Item = FoundRoute> {
        let all = self.v4.iter().chain(&self.v6);
        all.map(|(key, entry)| entry.found(key.priority))
    }

    const fn routes(&self, destination: IpNet) -> &Routes {
        match destination {
            IpNet::V4(_) => &self.v4,
            IpNet::V6(_) => &self.v6,
        }
    }

    const fn routes_mut(&mut self, destination: IpNet) -> &mut Routes {
        match destination {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        }
    }
}

/// Returns the device that a route leads to.
pub(super) const fn link_of(hop: FoundHop) -> Option<u32> {
    match hop {
        FoundHop::Link(link) | FoundHop::Gateway { link, .. } | FoundHop::OnLink { link, .. } => Some(link),
        FoundHop::Other => None,
    }
}

impl Key {
    fn new(destination: IpNet, priority: u32) -> Self {
        let network = match destination.network() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        Self {
            length: destination.prefix_len(),
            network,
            priority,
        }
    }

    /// Returns the last place of a prefix length.
    const fn last(length: u8) -> Self {
        Self {
            length,
            network: u128::MAX,
            priority: u32::MAX,
        }
    }

    /// Returns the first and the last place of a destination.
    const fn all_of(length: u8, network: u128) -> (Self, Self) {
        let first = Self {
            length,
            network,
            priority: 0,
        };
        let last = Self {
            priority: u32::MAX,
            ..first
        };
        (first, last)
    }
}

impl Entry {
    const fn found(&self, priority: u32) -> FoundRoute {
        FoundRoute {
            destination: self.destination,
            hop: self.hop,
            protocol: self.protocol,
            priority,
        }
    }
}

fn masked(bits: u128, width: u8, length: u8) -> u128 {
    let host = u32::from(width.saturating_sub(length));
    u128::MAX.checked_shl(host).map_or(0, |mask| bits & mask)
}

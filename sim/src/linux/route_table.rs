//! The main routing table.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{LinkName, Route};

/// The daemon's routes to devices; the longest prefix wins.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct RouteTable {
    routes: BTreeMap<(Reverse<u8>, Ipv4Net), LinkName>,
}

/// Where the routing decision sends a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// To the node itself.
    Local,
    /// To the pods' bridge.
    Bridge(Ipv4Net),
    /// Out of a device.
    Link(LinkName),
    /// Nowhere.
    Unreachable,
}

impl RouteTable {
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    pub(super) fn insert(&mut self, destination: Ipv4Net, link: LinkName) {
        self.routes.insert(key(destination), link);
    }

    /// Removes a route; tells whether it was there.
    pub(super) fn remove(&mut self, destination: Ipv4Net, link: &LinkName) -> bool {
        let was_there = self.routes.get(&key(destination)) == Some(link);
        if was_there {
            self.routes.remove(&key(destination));
        }
        was_there
    }

    pub(super) fn remove_link(&mut self, link: &LinkName) {
        self.routes.retain(|_, own| own != link);
    }

    pub(super) fn take_all(&mut self) -> Vec<Route> {
        std::mem::take(&mut self.routes)
            .into_iter()
            .map(|((_, destination), link)| Route { destination, link })
            .collect()
    }

    pub(super) fn lookup(&self, destination: Ipv4Addr) -> Option<(Ipv4Net, &LinkName)> {
        self.routes
            .iter()
            .find(|((_, net), _)| net.contains(&destination))
            .map(|((_, net), link)| (*net, link))
    }
}

fn key(destination: Ipv4Net) -> (Reverse<u8>, Ipv4Net) {
    (Reverse(destination.prefix_len()), destination.trunc())
}

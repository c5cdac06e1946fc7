//! Which nodes are on a link of this one, by the routes outside the overlay.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::kernel::{FoundHop, KernelFacts, LinkName, ROUTE_PROTOCOL};

/// The routes of the main tables that are neither ours nor lead into the overlay.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Ways {
    routes: Vec<Way>,
}

#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
struct Way {
    destination: IpNet,
    priority: u32,
    /// The device if the destinations are on its link, none if somebody else forwards to them.
    link: Option<LinkName>,
}

impl Ways {
    /// Takes the routes from a survey; what lies inside the overlay's networks is not part of the underlay.
    pub(crate) fn of(facts: &KernelFacts, networks: &[IpNet]) -> Self {
        let names: BTreeMap<u32, &LinkName> =
            facts.links.iter().map(|link| (link.index, &link.name)).collect();
        let is_inside = |net: &IpNet| networks.iter().any(|network| network.contains(net));
        let routes = facts.routes.iter();
        let routes =
            routes.filter(|route| route.protocol != ROUTE_PROTOCOL && !is_inside(&route.destination));
        let mut routes: Vec<Way> = routes
            .map(|route| Way {
                destination: route.destination,
                priority: route.priority,
                link: match route.hop {
                    FoundHop::Link(index) => names.get(&index).copied().cloned(),
                    FoundHop::Gateway { .. } | FoundHop::OnLink { .. } | FoundHop::Other => None,
                },
            })
            .collect();
        routes.sort();
        Self { routes }
    }

    /// Returns the device on whose link an address is, if it is on one: the longest prefix decides, of equal ones the
    /// lowest priority (backends.md, 2.5).
    pub(crate) fn link_to(&self, address: IpAddr) -> Option<&LinkName> {
        let routes = self.routes.iter();
        let matching = routes.filter(|route| route.destination.contains(&address));
        let best = matching.min_by_key(|route| {
            let shortness = u8::MAX.saturating_sub(route.destination.prefix_len());
            (shortness, route.priority)
        });
        best?.link.as_ref()
    }
}

#[cfg(test)]
mod tests;

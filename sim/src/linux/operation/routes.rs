//! Routes of the main tables.

use std::net::IpAddr;

use ipnet::IpNet;
use selvedge_engine::{FoundHop, FoundRoute, KernelError, NextHop, Route};

use super::refusal::{not_found, other, taken};
use super::{Linux, Occupant};

impl Linux {
    pub(super) fn ensure_route(&mut self, route: &Route, occupant: Occupant) -> Result<(), KernelError> {
        let destination = route.destination;
        let link = route.hop.link();
        let (index, device) = self.device(link)?;
        if !device.is_up() {
            return Err(not_found(format_args!(
                "cannot add a route to {destination}: {link} is down"
            )));
        }
        let wanted = found_route(route, index);
        let there = self.routes.get(wanted.destination, wanted.priority);
        if there == Some(wanted) {
            return Ok(());
        }
        if there.is_some() && occupant == Occupant::Stays {
            return Err(taken(format_args!(
                "another route to {destination} exists already"
            )));
        }
        self.check_gateway(&wanted)?;
        self.routes.insert(&wanted);
        Ok(())
    }

    /// Deletes a route that is as described, the mark of its maker included.
    pub(super) fn remove_route(&mut self, route: &Route) {
        if let Some(index) = self.index_of(route.hop.link()) {
            let wanted = found_route(route, index);
            self.drop_routes(|there| *there == wanted);
        }
    }

    /// The kernel takes a gateway only if it finds it on the link by another route.
    fn check_gateway(&self, route: &FoundRoute) -> Result<(), KernelError> {
        let (gateway, link) = match route.hop {
            FoundHop::Gateway { gateway, link } => (gateway, link),
            FoundHop::OnLink { .. } | FoundHop::Link(_) | FoundHop::Other => return Ok(()),
        };
        let is_own = matches!(gateway, IpAddr::V4(address) if self.is_own(address));
        if is_own || self.routes.lookup(gateway) != Some(FoundHop::Link(link)) {
            return Err(other(format_args!(
                "cannot add a route to {} via {gateway}: network is unreachable",
                route.destination
            )));
        }
        Ok(())
    }
}

/// Returns a route as the kernel shows it.
pub(in crate::linux) fn found_route(route: &Route, link: u32) -> FoundRoute {
    let destination = route.destination.trunc();
    FoundRoute {
        destination,
        hop: found_hop(&route.hop, link),
        protocol: route.mark.protocol(),
        priority: usual_priority(destination),
    }
}

pub(in crate::linux) const fn found_hop(hop: &NextHop, link: u32) -> FoundHop {
    match *hop {
        NextHop::Link(_) => FoundHop::Link(link),
        NextHop::Gateway { gateway, .. } => FoundHop::Gateway { gateway, link },
        NextHop::OnLink { gateway, .. } => FoundHop::OnLink { gateway, link },
    }
}

/// Returns the priority of a route that is made without one (`IP6_RT_PRIO_USER`).
const fn usual_priority(destination: IpNet) -> u32 {
    match destination {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1024,
    }
}

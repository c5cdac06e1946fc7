//! Which of the objects that a survey found are ours: made by us, or left by the flannel that ran on this node before.
//!
//! A device is ours by its alias, a route by its protocol number. Of what bears no mark, only that is taken over which
//! has a form that flannel alone gives it (backends.md, 15): nothing else is ever changed or removed.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::backend::udp;
use crate::desired::{ObjectId, Reconciler};
use crate::kernel::{
    Address, FLANNEL_ROUTE_PROTOCOL, FoundHop, FoundKind, FoundLink, FoundRoute, FoundVxlan, KernelFacts,
    KernelObject, Link, LinkKind, LinkName, LinkState, MacAddress, NextHop, ROUTE_PROTOCOL, Route, RouteMark,
    Ruleset, RulesetName, Vni, Vxlan,
};
use crate::subnet::Subnet;

/// The priority that the kernel gives an IPv6 route without one (`IP6_RT_PRIO_USER`).
const DEFAULT_PRIORITY_V6: u32 = 1024;

/// Devices' names by their indexes.
type Names<'a> = BTreeMap<u32, &'a LinkName>;

/// By what a node tells its own objects from others'.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ownership<'a> {
    /// The alias of its devices.
    pub(crate) alias: &'a str,
    /// The devices that it has or wants.
    pub(crate) tunnels: &'a [LinkName],
    /// The overlay, and what was the overlay before.
    pub(crate) networks: &'a [IpNet],
    /// What it wants, and what it knows that it made.
    pub(crate) reconciler: &'a Reconciler,
    pub(crate) tuns: Tuns,
    /// The subnet that the node carries.
    pub(crate) carried: Option<Subnet>,
    /// The name of the interface to the other nodes.
    pub(crate) underlay: Option<&'a str>,
}

/// Whose the TUN devices are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tuns {
    /// Those that this engine made are its own: the device is gone with the daemon that made it.
    OwnAlone,
    /// Those with a name of ours belong to the daemon that runs here.
    Daemons,
}

impl Ownership<'_> {
    /// Returns all objects of ours that a survey found.
    pub(crate) fn of(&self, facts: &KernelFacts) -> BTreeMap<ObjectId, KernelObject> {
        let names: Names<'_> = facts.links.iter().map(|link| (link.index, &link.name)).collect();
        let links: Vec<&FoundLink> = facts.links.iter().filter(|link| self.owns_link(link)).collect();
        let tunnels: Names<'_> = links.iter().map(|link| (link.index, &link.name)).collect();
        let devices = links
            .iter()
            .filter_map(|link| self.link(link, &names))
            .map(KernelObject::Link);
        let addresses = facts.addresses.iter().filter_map(|found| {
            let net = IpNet::new(found.address, found.prefix_len).ok()?;
            let link = (*tunnels.get(&found.link)?).clone();
            let address = Address { link, net };
            let is_wanted = self
                .reconciler
                .wanted(&ObjectId::of(&KernelObject::Address(address.clone())));
            (is_wanted.is_some() || self.covers(net)).then_some(KernelObject::Address(address))
        });
        let is_ours = |name: &LinkName| links.iter().any(|link| link.name == *name);
        let neighbours = facts.neighbours.iter();
        let neighbours = neighbours
            .filter(|neighbour| is_ours(&neighbour.link) && self.covers(neighbour.address.into()))
            .cloned();
        let fdb = facts.fdb.iter().filter(|entry| is_ours(&entry.link)).cloned();
        let routes = facts.routes.iter();
        let routes = routes.filter_map(|route| {
            let index = route.link()?;
            self.route(route, names.get(&index)?, tunnels.get(&index).copied())
        });
        let rulesets = facts.firewall.rulesets.iter().map(|name| self.ruleset(*name));
        let members = facts.firewall.members.iter().copied().map(KernelObject::Member);
        devices
            .chain(addresses)
            .chain(rulesets)
            .chain(members)
            .chain(fdb.map(KernelObject::FdbEntry))
            .chain(neighbours.map(KernelObject::Neighbour))
            .chain(routes.map(KernelObject::Route))
            .map(|object| (ObjectId::of(&object), object))
            .collect()
    }

    /// Describes a ruleset. What is in it only its maker can tell: one of an earlier run is written again.
    fn ruleset(&self, name: RulesetName) -> KernelObject {
        let known = self.reconciler.present(&ObjectId::Ruleset(name)).cloned();
        known.unwrap_or_else(|| {
            let script = String::new();
            KernelObject::Ruleset(Ruleset { name, script })
        })
    }

    fn owns_link(&self, link: &FoundLink) -> bool {
        match link.kind {
            FoundKind::Vxlan(_) => {
                link.alias == self.alias || (link.alias.is_empty() && self.tunnels.contains(&link.name))
            }
            FoundKind::Tun => match self.tuns {
                Tuns::OwnAlone => self.reconciler.holds(&ObjectId::Link(link.name.clone())),
                Tuns::Daemons => udp::may_be_called(&link.name),
            },
            FoundKind::Other => false,
        }
    }

    /// Describes a device; one that is down and only has to be set up is none.
    fn link(&self, found: &FoundLink, names: &Names<'_>) -> Option<Link> {
        let kind = match &found.kind {
            FoundKind::Vxlan(vxlan) => LinkKind::Vxlan(describe(vxlan, found.mac, names)),
            FoundKind::Tun => LinkKind::Tun,
            FoundKind::Other => return None,
        };
        let link = Link {
            name: found.name.clone(),
            kind,
            mtu: found.mtu,
            alias: found.alias.clone(),
        };
        let wanted = self.reconciler.wanted(&ObjectId::Link(link.name.clone()));
        let is_wanted = matches!(wanted, Some(KernelObject::Link(wanted)) if wanted.kind == link.kind);
        (found.state == LinkState::Up || !is_wanted).then_some(link)
    }

    fn route(&self, found: &FoundRoute, link: &LinkName, tunnel: Option<&LinkName>) -> Option<Route> {
        if !has_default_priority(found) {
            return None;
        }
        let link = link.clone();
        let hop = match found.hop {
            FoundHop::Link(_) => NextHop::Link(link),
            FoundHop::Gateway { gateway, .. } => NextHop::Gateway { gateway, link },
            FoundHop::OnLink { gateway, .. } => NextHop::OnLink { gateway, link },
            FoundHop::Other => return None,
        };
        let route = |mark| Route {
            destination: found.destination,
            hop: hop.clone(),
            mark,
        };
        match found.protocol {
            ROUTE_PROTOCOL if tunnel.is_some() || self.includes(found.destination) => {
                Some(route(RouteMark::Ours))
            }
            FLANNEL_ROUTE_PROTOCOL if self.is_flannels(found.destination, &hop, tunnel) => {
                Some(route(RouteMark::Flannel))
            }
            _ => None,
        }
    }

    /// Tells whether a route without our mark has the form of flannel's: out of its device to the first address of the
    /// destination, or as this node wants it, or by a gateway on the underlay to a peer's subnet or to this node's own, which
    /// was another node's; or the place of one that we made.
    fn is_flannels(&self, destination: IpNet, hop: &NextHop, tunnel: Option<&LinkName>) -> bool {
        let is_vteps = tunnel.is_some()
            && matches!(hop, NextHop::OnLink { gateway, .. } if *gateway == destination.network());
        let id = ObjectId::Route(destination);
        let wanted = self.reconciler.wanted(&id);
        let is_wanted = matches!(wanted, Some(KernelObject::Route(wanted))
            if wanted.hop == *hop || (is_to_peer(&wanted.hop) && self.leaves_by_underlay(hop)));
        let is_own = self
            .carried
            .is_some_and(|carried| carried.ranges().any(|range| range == destination));
        // Who changes a route with iproute2 leaves it without our mark.
        let was_ours = wanted.is_some() && self.reconciler.holds(&id);
        self.includes(destination)
            && (is_vteps || is_wanted || was_ours || (is_own && self.leaves_by_underlay(hop)))
    }

    fn leaves_by_underlay(&self, hop: &NextHop) -> bool {
        matches!(hop, NextHop::Gateway { link, .. } if Some(link.0.as_str()) == self.underlay)
    }

    fn includes(&self, net: IpNet) -> bool {
        self.networks.iter().any(|network| network.contains(&net))
    }

    fn covers(&self, net: IpNet) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&net) && network.prefix_len() < net.prefix_len())
    }
}

/// Describes a VXLAN device in our terms; what it lacks is what no device of ours has.
fn describe(found: &FoundVxlan, mac: Option<MacAddress>, names: &Names<'_>) -> Vxlan {
    let underlay = found
        .underlay
        .and_then(|index| names.get(&index).copied().cloned());
    Vxlan {
        vni: Vni::new(found.vni).unwrap_or_default(),
        local: found.local.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        underlay: underlay.unwrap_or_else(|| LinkName(String::new())),
        port: found.port,
        learning: found.learning,
        group_policy: found.group_policy,
        mac: mac.unwrap_or(MacAddress([0; 6])),
    }
}

const fn is_to_peer(hop: &NextHop) -> bool {
    match hop {
        NextHop::Gateway { .. } | NextHop::OnLink { .. } => true,
        NextHop::Link(_) => false,
    }
}

const fn has_default_priority(route: &FoundRoute) -> bool {
    match route.destination {
        IpNet::V4(_) => route.priority == 0,
        IpNet::V6(_) => route.priority == DEFAULT_PRIORITY_V6,
    }
}

#[cfg(test)]
mod tests;

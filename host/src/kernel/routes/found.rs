//! What the kernel says of a route.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use selvedge_engine::{FoundHop, FoundRoute, RouteLookup};

use super::super::netlink::attribute;

/// Reads a route of the main table; IPv6's own, to link-local and multicast addresses, are left out.
pub(in crate::kernel) fn found(message: &RouteMessage) -> Option<FoundRoute> {
    let destination = destination(message)?;
    let is_own = match destination.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    };
    (is_main(message) && !is_own).then(|| FoundRoute {
        destination,
        hop: hop(message),
        protocol: message.header.protocol.into(),
        priority: priority(message),
    })
}

/// Reads the kernel's answer to the question for a way.
pub(in crate::kernel) fn lookup(message: &RouteMessage) -> Option<RouteLookup> {
    Some(RouteLookup {
        interface: output(message)?,
        source: attribute!(message, RouteAttribute::PrefSource(address) => ip(address))?,
    })
}

/// Returns the device of a route with one next hop.
pub(in crate::kernel) fn output(route: &RouteMessage) -> Option<u32> {
    attribute!(route, RouteAttribute::Oif(index) => Some(*index))
}

fn hop(message: &RouteMessage) -> FoundHop {
    let is_unicast = message.header.kind == RouteType::Unicast;
    let Some(link) = output(message).filter(|_| is_unicast) else {
        return FoundHop::Other;
    };
    let has_gateway = message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)));
    if !has_gateway {
        return FoundHop::Link(link);
    }
    let Some(gateway) = gateway(message) else {
        return FoundHop::Other;
    };
    if message.header.flags.contains(RouteFlags::Onlink) {
        return FoundHop::OnLink { gateway, link };
    }
    FoundHop::Gateway { gateway, link }
}

fn gateway(message: &RouteMessage) -> Option<IpAddr> {
    let same = attribute!(message, RouteAttribute::Gateway(address) => ip(address));
    same.or_else(
        || attribute!(message, RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address))),
    )
}

/// Returns the destinations of an IP route; a default route does not name them.
pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let family = message.header.address_family;
    let unspecified = if family == AddressFamily::Inet {
        IpAddr::from([0; 4])
    } else if family == AddressFamily::Inet6 {
        IpAddr::from([0; 16])
    } else {
        return None;
    };
    let address = attribute!(message, RouteAttribute::Destination(address) => ip(address));
    IpNet::new(
        address.unwrap_or(unspecified),
        message.header.destination_prefix_length,
    )
    .ok()
}

/// Returns the priority of a route, 0 if it has none.
pub(super) fn priority(message: &RouteMessage) -> u32 {
    attribute!(message, RouteAttribute::Priority(priority) => Some(*priority)).unwrap_or(0)
}

/// Tells whether a route is in the main table.
pub(super) fn is_main(message: &RouteMessage) -> bool {
    let table = attribute!(message, RouteAttribute::Table(table) => Some(*table));
    table.unwrap_or_else(|| u32::from(message.header.table)) == u32::from(RouteHeader::RT_TABLE_MAIN)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(address) = address {
        return Some(IpAddr::V4(*address));
    }
    if let RouteAddress::Inet6(address) = address {
        return Some(IpAddr::V6(*address));
    }
    None
}

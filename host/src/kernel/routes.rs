//! Routes of the main table.

mod found;

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteVia};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;
use selvedge_engine::{
    FoundHop, FoundRoute, IpVersion, KernelError, KernelErrorKind, NextHop, ROUTE_PROTOCOL, Route,
};

use self::found::{destination, is_main, priority};
pub(super) use self::found::{found, lookup, output};
use super::error::Attempt;
use super::links::name_of;
use super::netlink::{Mode, Netlink, Removal, is, removal};

/// The priority that the kernel gives an IPv6 route without one (`IP6_RT_PRIO_USER`).
const DEFAULT_PRIORITY_V6: u32 = 1024;

/// Makes a route, at once; one that is as described is fine, and what carries our mark is ours to replace.
pub(super) fn put(
    netlink: &Netlink,
    index: u32,
    route: Route,
    mode: Mode,
) -> impl Future<Output = Result<(), KernelError>> + use<> {
    let netlink = netlink.clone();
    let message = message(index, &route);
    let sent = netlink.change(RouteNetlinkMessage::NewRoute(message), mode.flags());
    async move {
        let error = match sent.await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match mode {
            Mode::Ensure if is(&error, Errno::EEXIST) || is_elsewhere(&route, &error) => {
                settle(&netlink, index, &route, error).await
            }
            Mode::Replace if is_elsewhere(&route, &error) => {
                let put = put_with_host_route(&netlink, index, &route, mode).await;
                put.map_err(|error| Attempt::Route(route).failed(&error))
            }
            Mode::Ensure | Mode::Replace => Err(Attempt::Route(route).failed(&error)),
        }
    }
}

/// Deletes a route, at once, if its protocol number is that of its mark; one that is not there is fine.
pub(super) fn remove(
    netlink: &Netlink,
    index: u32,
    route: Route,
) -> impl Future<Output = Result<Removal, KernelError>> + use<> {
    let mut message = message(index, &route);
    if IpVersion::of(route.destination.addr()) == IpVersion::V6 {
        // Without a priority the kernel would delete a route of any.
        message
            .attributes
            .push(RouteAttribute::Priority(DEFAULT_PRIORITY_V6));
    }
    let sent = netlink.change(RouteNetlinkMessage::DelRoute(message), 0);
    async move {
        let removal = removal(sent.await, &[Errno::ESRCH]);
        removal.map_err(|error| Attempt::Route(route).failed(&error))
    }
}

/// Deals with what has the place of a route.
async fn settle(netlink: &Netlink, index: u32, route: &Route, refusal: io::Error) -> Result<(), KernelError> {
    let failed = |error: io::Error| Attempt::Route(route.clone()).failed(&error);
    let version = IpVersion::of(route.destination.addr());
    let present = netlink.routes(version).await.map_err(failed)?;
    let mut rivals = present.iter().filter(|present| competes(present, route));
    let wanted = FoundRoute {
        destination: route.destination.trunc(),
        hop: found_hop(index, &route.hop),
        protocol: route.mark.protocol(),
        priority: default_priority(version),
    };
    // The kernel uses the first; it makes no second without being told to append.
    let Some(rival) = rivals.next().and_then(found) else {
        if !is_elsewhere(route, &refusal) {
            // It vanished in the meantime.
            return Err(failed(refusal));
        }
        let put = put_with_host_route(netlink, index, route, Mode::Ensure).await;
        return put.map_err(failed);
    };
    if rival == wanted {
        return Ok(());
    }
    if rival.protocol != ROUTE_PROTOCOL {
        return Err(taken(&rival));
    }
    let replaced = put_with_host_route(netlink, index, route, Mode::Replace).await;
    replaced.map_err(failed)
}

/// Tells whether the kernel may have refused a route because it has another way to its gateway.
///
/// For IPv6 `onlink` does not mean "whatever the other routes say": the kernel looks the gateway up, and refuses a device other
/// than the one it finds (`ip6_route_check_nh_onlink`). What it finds may be the very route that is to be replaced.
fn is_elsewhere(route: &Route, refusal: &io::Error) -> bool {
    let is_v6 = IpVersion::of(route.destination.addr()) == IpVersion::V6;
    is_v6 && matches!(route.hop, NextHop::OnLink { .. }) && is(refusal, Errno::EINVAL)
}

/// Makes a route while its gateway, if it has one, has a route of its own on the same device.
async fn put_with_host_route(netlink: &Netlink, index: u32, route: &Route, mode: Mode) -> io::Result<()> {
    let put = || netlink.change(RouteNetlinkMessage::NewRoute(message(index, route)), mode.flags());
    let NextHop::OnLink { gateway, link } = &route.hop else {
        return put().await;
    };
    let host_route = Route::new(IpNet::from(*gateway), NextHop::Link(link.clone()));
    let host_route = message(index, &host_route);
    let added = netlink.change(
        RouteNetlinkMessage::NewRoute(host_route.clone()),
        Mode::Ensure.flags(),
    );
    let was_there = matches!(added.await, Err(error) if is(&error, Errno::EEXIST));
    let outcome = put().await;
    if !was_there {
        let removed = netlink.change(RouteNetlinkMessage::DelRoute(host_route), 0).await;
        removal(removed, &[Errno::ESRCH])?;
    }
    outcome
}

/// Describes a route to the kernel: table main, type unicast, scope global, and no priority.
fn message(index: u32, route: &Route) -> RouteMessage {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .output_interface(index)
        .protocol(RouteProtocol::from(route.mark.protocol()));
    if let NextHop::OnLink { .. } = route.hop {
        builder = builder.onlink();
    }
    let mut message = builder.build();
    let destination = route.destination.trunc();
    message.header.address_family = match destination {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = destination.prefix_len();
    message
        .attributes
        .push(RouteAttribute::Destination(destination.addr().into()));
    message.attributes.extend(
        route
            .hop
            .gateway()
            .map(|gateway| via(destination.addr(), gateway)),
    );
    message
}

/// Names a next hop; one of the other IP version has an attribute of its own (RFC 5549).
fn via(destination: IpAddr, gateway: IpAddr) -> RouteAttribute {
    match (destination, gateway) {
        (IpAddr::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (IpAddr::V4(_) | IpAddr::V6(_), gateway) => RouteAttribute::Gateway(gateway.into()),
    }
}

/// Tells whether the kernel takes two routes for the same: table, destination, TOS and priority are equal.
fn competes(present: &RouteMessage, wanted: &Route) -> bool {
    let version = IpVersion::of(wanted.destination.addr());
    is_main(present)
        && destination(present) == Some(wanted.destination.trunc())
        && present.header.tos == 0
        && priority(present) == default_priority(version)
}

const fn default_priority(version: IpVersion) -> u32 {
    match version {
        IpVersion::V4 => 0,
        IpVersion::V6 => DEFAULT_PRIORITY_V6,
    }
}

const fn found_hop(link: u32, hop: &NextHop) -> FoundHop {
    match hop {
        NextHop::Link(_) => FoundHop::Link(link),
        NextHop::Gateway { gateway, .. } => FoundHop::Gateway {
            gateway: *gateway,
            link,
        },
        NextHop::OnLink { gateway, .. } => FoundHop::OnLink {
            gateway: *gateway,
            link,
        },
    }
}

fn taken(present: &FoundRoute) -> KernelError {
    let FoundRoute {
        destination,
        hop,
        protocol,
        ..
    } = present;
    let way = match hop {
        FoundHop::Link(link) => format!("through {}", name_of(*link)),
        FoundHop::Gateway { gateway, link } | FoundHop::OnLink { gateway, link } => {
            format!("via {gateway} through {}", name_of(*link))
        }
        FoundHop::Other => "with several hops or none".to_owned(),
    };
    let ip = match destination {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip -6",
    };
    KernelError {
        kind: KernelErrorKind::Taken,
        message: format!(
            "a route to {destination} {way} (protocol {protocol}) exists already and is not ours; \
             remove it with `{ip} route del {destination}` or change Network"
        ),
    }
}

//! What the kernel says that it has, put into the engine's terms.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::NeighbourMessage;
use selvedge_engine::{FoundLink, IpVersion, KernelFacts, LinkName, RouteLookup, Survey};

use super::netlink::Netlink;
use super::{addresses, links, neighbours, routes};

/// Looks at the node.
///
/// # Errors
///
/// If netlink fails.
pub(crate) async fn look(netlink: &Netlink, survey: &Survey) -> io::Result<KernelFacts> {
    let links: Vec<FoundLink> = netlink.links().await?.iter().filter_map(links::found).collect();
    let mut facts = KernelFacts {
        addresses: netlink
            .addresses()
            .await?
            .iter()
            .filter_map(addresses::found)
            .collect(),
        lookup: look_up(netlink, survey.destination).await,
        ..KernelFacts::default()
    };
    for version in [IpVersion::V4, IpVersion::V6] {
        let routes = netlink.routes(version).await?;
        facts.routes.extend(routes.iter().filter_map(routes::found));
    }

    let tunnels: BTreeMap<u32, &LinkName> = links
        .iter()
        .filter(|link| survey.tunnels.contains(&link.name))
        .map(|link| (link.index, &link.name))
        .collect();
    if !tunnels.is_empty() {
        let at = |message: &NeighbourMessage| tunnels.get(&message.header.ifindex).copied();
        let neighbours = netlink.neighbours().await?;
        let found = neighbours
            .iter()
            .filter_map(|message| neighbours::found(at(message)?, message));
        facts.neighbours.extend(found);
        let entries = netlink.fdb().await?;
        let found = entries
            .iter()
            .filter_map(|message| neighbours::found_fdb_entry(at(message)?, message));
        facts.fdb.extend(found);
    }
    facts.links = links;
    Ok(facts)
}

async fn look_up(netlink: &Netlink, destination: Option<IpAddr>) -> Option<RouteLookup> {
    let destination = destination?;
    match netlink.way_to(destination).await {
        Ok(route) => routes::lookup(&route),
        Err(error) => {
            tracing::debug!(%error, %destination, "the kernel knows no way");
            None
        }
    }
}

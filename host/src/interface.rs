//! The interface that carries the tunnel, found by netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use selvedge_engine::Underlay;

use crate::kernel::netlink::{Netlink, destination, output};

/// Why no interface was found.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not say.
    #[error("cannot ask the kernel for its interfaces: {0}")]
    Netlink(#[from] io::Error),
    /// Nothing fits.
    #[error("{0}")]
    NotFound(String),
}

/// Finds the interface that the flags ask for.
///
/// # Errors
///
/// If there is none now; later there may be.
pub async fn find(wanted: &[String], public_ip: Option<Ipv4Addr>) -> Result<Underlay, InterfaceError> {
    let netlink = Netlink::open()?;
    let links = netlink.links().await?;
    let addresses = netlink.addresses().await?;
    let wanted: Vec<String> = match (wanted, public_ip) {
        ([], Some(address)) => vec![address.to_string()],
        (wanted, _) => wanted.to_vec(),
    };
    let candidates: Vec<(u32, Option<Ipv4Addr>)> = if wanted.is_empty() {
        let routes = netlink.routes().await?;
        routes
            .iter()
            .filter(|route| {
                route.header.destination_prefix_length == 0 && destination(route).is_unspecified()
            })
            .filter_map(|route| Some((output(route)?, None)))
            .collect()
    } else {
        wanted
            .iter()
            .filter_map(|name| by_name(name, &links, &addresses))
            .collect()
    };
    for (index, address) in candidates {
        let address = address.or_else(|| first_address(index, &addresses));
        let link = links.iter().find(|link| link.header.index == index);
        if let (Some(address), Some(link)) = (address, link) {
            return Ok(Underlay {
                interface: name_of(link).unwrap_or_default(),
                index,
                mtu: mtu_of(link),
                address,
                public_ip: public_ip.unwrap_or(address),
                public_ipv6: None,
            });
        }
    }
    Err(InterfaceError::NotFound(if wanted.is_empty() {
        "no default route; name the interface with --iface".to_owned()
    } else {
        format!("no interface {} with an IPv4 address", wanted.join(", "))
    }))
}

fn by_name(
    name: &str,
    links: &[LinkMessage],
    addresses: &[AddressMessage],
) -> Option<(u32, Option<Ipv4Addr>)> {
    if let Ok(address) = name.parse::<Ipv4Addr>() {
        return addresses
            .iter()
            .find(|message| local_of(message) == Some(address))
            .map(|message| (message.header.index, Some(address)));
    }
    links
        .iter()
        .find(|link| name_of(link).as_deref() == Some(name))
        .map(|link| (link.header.index, None))
}

fn first_address(index: u32, addresses: &[AddressMessage]) -> Option<Ipv4Addr> {
    addresses
        .iter()
        .filter(|message| message.header.index == index && message.header.family == AddressFamily::Inet)
        .filter(|message| message.header.scope == AddressScope::Universe)
        .find_map(local_of)
}

fn local_of(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}

fn name_of(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn mtu_of(link: &LinkMessage) -> u32 {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
        .unwrap_or_default()
}

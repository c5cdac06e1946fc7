//! The interface that carries the tunnel: the kernel's facts, put to the engine's choice.

use std::io;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use selvedge_engine::{
    AddressFlags, Attachments, Interface, InterfaceAddress, InterfaceChoice, RouteLookup, SelectError,
    Selection, Underlay,
};

use crate::kernel::netlink::{Netlink, attribute, destination, output, preferred_source};

/// Why no interface was found.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The kernel does not say.
    #[error("cannot ask the kernel for its interfaces: {0}")]
    Netlink(#[from] io::Error),
    /// None fits.
    #[error(transparent)]
    Select(#[from] SelectError),
}

/// Finds the interface that is asked for; must be called inside a tokio runtime.
///
/// # Errors
///
/// If there is none now; later there may be.
pub async fn find(selection: &Selection) -> Result<Underlay, InterfaceError> {
    let attachments = attachments(selection).await?;
    Ok(Underlay::select(&attachments, selection)?)
}

async fn attachments(selection: &Selection) -> io::Result<Attachments> {
    let netlink = Netlink::open()?;
    let addresses = netlink.addresses().await?;
    let links = netlink.links().await?;
    Ok(Attachments {
        interfaces: links
            .iter()
            .filter_map(|link| interface(link, &addresses))
            .collect(),
        default_routes: default_interfaces(&netlink.routes().await?),
        default_routes_v6: default_interfaces(&netlink.routes_v6().await?),
        lookup: look_up(&netlink, selection).await,
    })
}

async fn look_up(netlink: &Netlink, selection: &Selection) -> Option<RouteLookup> {
    let wanted = selection.interfaces.iter().find_map(|choice| match choice {
        InterfaceChoice::CanReach(destination) => Some(*destination),
        InterfaceChoice::Name(_) | InterfaceChoice::Address(_) => None,
    })?;
    match netlink.way_to(wanted).await {
        Ok(route) => Some(RouteLookup {
            interface: output(&route)?,
            source: preferred_source(&route)?,
        }),
        Err(error) => {
            tracing::debug!(%error, destination = %wanted, "the kernel knows no way");
            None
        }
    }
}

fn interface(link: &LinkMessage, addresses: &[AddressMessage]) -> Option<Interface> {
    let index = link.header.index;
    let own = addresses.iter().filter(|address| address.header.index == index);
    Some(Interface {
        name: attribute!(link, LinkAttribute::IfName(name) => Some(name.clone()))?,
        index,
        mtu: attribute!(link, LinkAttribute::Mtu(mtu) => Some(*mtu))?,
        addresses: own.filter_map(interface_address).collect(),
    })
}

/// Reads an address; on a point-to-point link the other attribute holds the peer's, so the local one is
/// preferred.
fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let local = attribute!(message, AddressAttribute::Local(address) => Some(*address));
    let address =
        local.or_else(|| attribute!(message, AddressAttribute::Address(address) => Some(*address)))?;
    let flags = attribute!(message, AddressAttribute::Flags(flags) => Some(flags.bits()));
    Some(InterfaceAddress {
        address,
        flags: AddressFlags(flags.unwrap_or_else(|| u32::from(message.header.flags.bits()))),
    })
}

fn default_interfaces(routes: &[RouteMessage]) -> Vec<u32> {
    routes
        .iter()
        .filter(|route| route.header.destination_prefix_length == 0)
        .filter(|route| destination(route).is_unspecified())
        .filter_map(output)
        .collect()
}

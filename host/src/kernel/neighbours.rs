//! Neighbours, and the entries of forwarding databases: to the kernel both are `ndmsg` (`rtnetlink(7)`).

use std::io;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use selvedge_engine::{FdbEntry, KernelError, KernelErrorKind, LinkName, MacAddress, Neighbour};

use super::error::Attempt;
use super::netlink::{Mode, Netlink, Removal, attribute, is, removal};

/// Makes a neighbour, at once; what the kernel found out by itself gives way.
pub(super) fn put(
    netlink: &Netlink,
    index: u32,
    neighbour: Neighbour,
    mode: Mode,
) -> impl Future<Output = Result<(), KernelError>> + use<> {
    let netlink = netlink.clone();
    let sent = netlink.change(
        RouteNetlinkMessage::NewNeighbour(message(index, &neighbour)),
        mode.flags(),
    );
    async move {
        match sent.await {
            Err(error) if mode == Mode::Ensure && is(&error, Errno::EEXIST) => {
                settle(&netlink, index, &neighbour).await
            }
            result => result.map_err(|error| Attempt::Neighbour(neighbour).failed(&error)),
        }
    }
}

/// Deletes a neighbour, at once; one that is not there is fine.
pub(super) fn remove(
    netlink: &Netlink,
    index: u32,
    neighbour: Neighbour,
) -> impl Future<Output = Result<Removal, KernelError>> + use<> {
    let message = message(index, &neighbour);
    let sent = netlink.change(RouteNetlinkMessage::DelNeighbour(message), 0);
    async move {
        let removal = removal(sent.await, &[Errno::ENOENT, Errno::ENODEV]);
        removal.map_err(|error| Attempt::Neighbour(neighbour).failed(&error))
    }
}

/// Makes a forwarding entry, at once; what the device learnt gives way.
pub(super) fn put_fdb_entry(
    netlink: &Netlink,
    index: u32,
    entry: FdbEntry,
    mode: Mode,
) -> impl Future<Output = Result<(), KernelError>> + use<> {
    let netlink = netlink.clone();
    let sent = netlink.change(
        RouteNetlinkMessage::NewNeighbour(fdb_message(index, &entry)),
        mode.flags(),
    );
    async move {
        match sent.await {
            Err(error) if mode == Mode::Ensure && is(&error, Errno::EEXIST) => {
                settle_fdb_entry(&netlink, index, &entry).await
            }
            result => result.map_err(|error| Attempt::FdbEntry(entry).failed(&error)),
        }
    }
}

/// Deletes a forwarding entry, at once; one that is not there is fine.
pub(super) fn remove_fdb_entry(
    netlink: &Netlink,
    index: u32,
    entry: FdbEntry,
) -> impl Future<Output = Result<Removal, KernelError>> + use<> {
    let message = fdb_message(index, &entry);
    let sent = netlink.change(RouteNetlinkMessage::DelNeighbour(message), 0);
    async move {
        let removal = removal(sent.await, &[Errno::ENOENT, Errno::ENODEV]);
        removal.map_err(|error| Attempt::FdbEntry(entry).failed(&error))
    }
}

/// Reads a permanent neighbour.
pub(super) fn found(link: &LinkName, message: &NeighbourMessage) -> Option<Neighbour> {
    is_permanent(message).then_some(())?;
    Some(Neighbour {
        link: link.clone(),
        address: destination(message)?,
        mac: mac(message)?,
    })
}

/// Reads a permanent forwarding entry of a device itself, not of a bridge above it; the one for unknown addresses is left
/// out.
pub(super) fn found_fdb_entry(link: &LinkName, message: &NeighbourMessage) -> Option<FdbEntry> {
    (is_permanent(message) && message.header.flags.contains(NeighbourFlags::Own)).then_some(())?;
    Some(FdbEntry {
        link: link.clone(),
        mac: mac(message).filter(|mac| mac.0 != [0; 6])?,
        node: destination(message)?,
    })
}

/// Tells whether an entry stays until it is deleted; other states may be set besides.
pub(super) fn is_permanent(message: &NeighbourMessage) -> bool {
    let permanent = u16::from(NeighbourState::Permanent);
    u16::from(message.header.state) & permanent == permanent
}

/// Returns the hardware address.
pub(super) fn mac(message: &NeighbourMessage) -> Option<MacAddress> {
    attribute!(message, NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok().map(MacAddress))
}

/// Returns the next hop of a neighbour, or the node of a forwarding entry.
pub(super) fn destination(message: &NeighbourMessage) -> Option<IpAddr> {
    attribute!(message, NeighbourAttribute::Destination(address) => ip(address))
}

/// Deals with what has the place of a neighbour.
async fn settle(netlink: &Netlink, index: u32, wanted: &Neighbour) -> Result<(), KernelError> {
    let failed = |error: io::Error| Attempt::Neighbour(wanted.clone()).failed(&error);
    let present = netlink.neighbours().await.map_err(failed)?;
    let present = present
        .iter()
        .filter(|present| present.header.ifindex == index)
        .filter_map(|present| found(&wanted.link, present))
        .find(|present| present.address == wanted.address);
    match present {
        Some(present) if present == *wanted => Ok(()),
        Some(present) => Err(taken(
            &present.to_string(),
            &format!("ip neigh del {} dev {}", present.address, present.link),
        )),
        None => {
            let message = RouteNetlinkMessage::NewNeighbour(message(index, wanted));
            let replaced = netlink.change(message, Mode::Replace.flags());
            replaced.await.map_err(failed)
        }
    }
}

/// Deals with what has the place of a forwarding entry.
async fn settle_fdb_entry(netlink: &Netlink, index: u32, wanted: &FdbEntry) -> Result<(), KernelError> {
    let failed = |error: io::Error| Attempt::FdbEntry(wanted.clone()).failed(&error);
    let present = netlink.fdb().await.map_err(failed)?;
    let present = present
        .iter()
        .filter(|present| present.header.ifindex == index)
        .filter_map(|present| found_fdb_entry(&wanted.link, present))
        .find(|present| present.mac == wanted.mac);
    match present {
        Some(present) if present == *wanted => Ok(()),
        Some(present) => Err(taken(
            &present.to_string(),
            &format!("bridge fdb del {} dev {} self", present.mac, present.link),
        )),
        None => {
            let message = RouteNetlinkMessage::NewNeighbour(fdb_message(index, wanted));
            let replaced = netlink.change(message, Mode::Replace.flags());
            replaced.await.map_err(failed)
        }
    }
}

fn message(index: u32, neighbour: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match neighbour.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(neighbour.address.into()),
        NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()),
    ];
    message
}

fn fdb_message(index: u32, entry: &FdbEntry) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(entry.mac.0.to_vec()),
        NeighbourAttribute::Destination(entry.node.into()),
    ];
    message
}

/// Reads an address, whose version a forwarding entry tells by its length alone.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    if let NeighbourAddress::Inet(address) = address {
        return Some(IpAddr::V4(*address));
    }
    if let NeighbourAddress::Inet6(address) = address {
        return Some(IpAddr::V6(*address));
    }
    let NeighbourAddress::Other(bytes) = address else {
        return None;
    };
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
        .ok()
}

fn taken(present: &str, remedy: &str) -> KernelError {
    KernelError {
        kind: KernelErrorKind::Taken,
        message: format!("the {present} exists already and is not ours; remove it with `{remedy}`"),
    }
}

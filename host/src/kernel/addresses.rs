//! Addresses on devices.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use selvedge_engine::{self as engine, Address, FoundAddress, KernelError, KernelErrorKind};

use super::error::Attempt;
use super::netlink::{Mode, Netlink, Removal, attribute, is, removal};

/// Makes an address, scope global, without broadcast address and label; one that is as described is fine.
pub(super) async fn put(
    netlink: &Netlink,
    index: u32,
    address: &Address,
    mode: Mode,
) -> Result<(), KernelError> {
    let failed = |error: io::Error| Attempt::Address(address.clone()).failed(&error);
    let message = || RouteNetlinkMessage::NewAddress(message(index, address.net));
    match netlink.change(message(), Mode::Ensure.flags()).await {
        Err(error) if is(&error, Errno::EEXIST) => {}
        result => return result.map_err(failed),
    }

    // IPv6 has an address once, whatever the length of its prefix.
    let present = netlink.addresses().await.map_err(failed)?;
    let present = present.iter().filter_map(found);
    let rivals: Vec<FoundAddress> = present
        .filter(|present| present.link == index && present.address == address.net.addr())
        .collect();
    let is_wanted = |present: &FoundAddress| present.prefix_len == address.net.prefix_len();
    if rivals.iter().any(is_wanted) {
        return Ok(());
    }
    let Some(present) = rivals.first() else {
        // It vanished in the meantime.
        return Err(failed(Errno::EEXIST.into()));
    };
    if mode == Mode::Ensure {
        return Err(taken(address, present.prefix_len));
    }
    if let Ok(net) = IpNet::new(present.address, present.prefix_len) {
        delete(netlink, index, net).await.map_err(failed)?;
    }
    let again = netlink.change(message(), Mode::Replace.flags());
    again.await.map_err(failed)
}

/// Deletes an address; one that is not there is fine.
pub(super) async fn remove(netlink: &Netlink, index: u32, address: &Address) -> Result<Removal, KernelError> {
    let deleted = delete(netlink, index, address.net).await;
    deleted.map_err(|error| Attempt::Address(address.clone()).failed(&error))
}

/// Reads an address; on a point-to-point link the other attribute holds the peer's, so the local one is preferred.
pub(super) fn found(message: &AddressMessage) -> Option<FoundAddress> {
    let local = attribute!(message, AddressAttribute::Local(address) => Some(*address));
    let address =
        local.or_else(|| attribute!(message, AddressAttribute::Address(address) => Some(*address)))?;
    let flags = attribute!(message, AddressAttribute::Flags(flags) => Some(flags.bits()));
    Some(FoundAddress {
        link: message.header.index,
        address,
        prefix_len: message.header.prefix_len,
        flags: engine::AddressFlags(flags.unwrap_or_else(|| u32::from(message.header.flags.bits()))),
    })
}

async fn delete(netlink: &Netlink, index: u32, net: IpNet) -> io::Result<Removal> {
    let message = RouteNetlinkMessage::DelAddress(message(index, net));
    let deleted = netlink.change(message, 0).await;
    removal(deleted, &[Errno::EADDRNOTAVAIL, Errno::ENODEV])
}

/// Describes an address to the kernel; one of IPv6 is usable at once, without asking whether another node has it.
fn message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.attributes = vec![
        AddressAttribute::Local(net.addr()),
        AddressAttribute::Address(net.addr()),
    ];
    match net.addr() {
        IpAddr::V4(_) => message.header.family = AddressFamily::Inet,
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            message.header.flags = AddressHeaderFlags::Nodad;
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

fn taken(wanted: &Address, prefix_len: u8) -> KernelError {
    let Address { link, net } = wanted;
    let address = net.addr();
    KernelError {
        kind: KernelErrorKind::Taken,
        message: format!(
            "{link} has the address {address} with another prefix, /{prefix_len}; \
             remove it with `ip addr del {address}/{prefix_len} dev {link}`"
        ),
    }
}

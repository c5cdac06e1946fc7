//! Devices.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nix::net::if_::{if_indextoname, if_nametoindex};
use rtnetlink::LinkUnspec;
use selvedge_engine::{
    FoundKind, FoundLink, FoundVxlan, GroupPolicy, KernelError, KernelErrorKind, Learning, Link, LinkName,
    LinkState, MacAddress,
};

use super::error::Attempt;
use super::netlink::{Netlink, attribute};

/// Sets a device's name, MTU and alias, and sets it up.
pub(super) async fn set(netlink: &Netlink, index: u32, link: &Link) -> Result<(), KernelError> {
    let mut builder = LinkUnspec::new_with_index(index)
        .name(link.name.0.as_str())
        .mtu(link.mtu);
    if !link.alias.is_empty() {
        builder = builder.alias(link.alias.as_str());
    }
    let message = RouteNetlinkMessage::SetLink(builder.up().build());
    let set = netlink.change(message, 0).await;
    set.map_err(|error| Attempt::SetLink(link.clone()).failed(&error))
}

/// Reads a device.
pub(super) fn found(message: &LinkMessage) -> Option<FoundLink> {
    Some(FoundLink {
        name: name(message)?,
        index: message.header.index,
        kind: kind(message),
        mtu: attribute!(message, LinkAttribute::Mtu(mtu) => Some(*mtu))?,
        mac: mac(message),
        state: state(message),
        alias: attribute!(message, LinkAttribute::IfAlias(alias) => Some(alias.clone())).unwrap_or_default(),
    })
}

/// Returns a device's index.
///
/// # Errors
///
/// If there is no such device.
pub(super) fn index_of(name: &LinkName) -> Result<u32, KernelError> {
    if_nametoindex(name.0.as_str()).map_err(|_| KernelError {
        kind: KernelErrorKind::NotFound,
        message: format!("there is no device {name}"),
    })
}

/// Returns a device's name, for people.
pub(super) fn name_of(index: u32) -> String {
    let name = if_indextoname(index).ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "another device".to_owned())
}

/// Returns a device's name.
pub(super) fn name(message: &LinkMessage) -> Option<LinkName> {
    attribute!(message, LinkAttribute::IfName(name) => Some(LinkName(name.clone())))
}

/// Returns a device's hardware address, if it has one of Ethernet's length.
pub(super) fn mac(message: &LinkMessage) -> Option<MacAddress> {
    let bytes = attribute!(message, LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok());
    bytes.filter(|bytes| *bytes != [0; 6]).map(MacAddress)
}

/// Tells whether a device is up.
pub(super) fn state(message: &LinkMessage) -> LinkState {
    if message.header.flags.contains(LinkFlags::Up) {
        LinkState::Up
    } else {
        LinkState::Down
    }
}

/// Tells what a device is.
pub(super) fn kind(message: &LinkMessage) -> FoundKind {
    match info_kind(message) {
        Some(InfoKind::Tun) => FoundKind::Tun,
        Some(InfoKind::Vxlan) => FoundKind::Vxlan(found_vxlan(vxlan_data(message))),
        _ => FoundKind::Other,
    }
}

/// Returns what the kernel calls a kind of device; a network card has none.
pub(super) fn info_kind(message: &LinkMessage) -> Option<&InfoKind> {
    let info = attribute!(message, LinkAttribute::LinkInfo(info) => Some(info))?;
    info.iter().find_map(|info| {
        if let LinkInfo::Kind(kind) = info {
            Some(kind)
        } else {
            None
        }
    })
}

fn vxlan_data(message: &LinkMessage) -> &[InfoVxlan] {
    let info = attribute!(message, LinkAttribute::LinkInfo(info) => Some(info.as_slice()));
    info.unwrap_or_default()
        .iter()
        .find_map(|info| {
            if let LinkInfo::Data(InfoData::Vxlan(data)) = info {
                Some(data.as_slice())
            } else {
                None
            }
        })
        .unwrap_or_default()
}

fn found_vxlan(data: &[InfoVxlan]) -> FoundVxlan {
    let mut found = FoundVxlan {
        vni: 0,
        local: None,
        underlay: None,
        port: 0,
        learning: Learning::Off,
        group_policy: GroupPolicy::Off,
    };
    for attribute in data {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the other attributes are the same for all our devices"
        )]
        match attribute {
            InfoVxlan::Id(vni) => found.vni = *vni,
            InfoVxlan::Local(address) => found.local = Some(IpAddr::V4(*address)),
            InfoVxlan::Local6(address) => found.local = Some(IpAddr::V6(*address)),
            InfoVxlan::Link(index) => found.underlay = Some(*index),
            InfoVxlan::Port(port) => found.port = *port,
            InfoVxlan::Learning(true) => found.learning = Learning::On,
            InfoVxlan::Gbp => found.group_policy = GroupPolicy::On,
            _ => {}
        }
    }
    found
}

//! VXLAN devices.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage};
use nix::errno::Errno;
use rtnetlink::{LinkUnspec, LinkVxlan};
use selvedge_engine::{
    FoundKind, FoundLink, FoundVxlan, GroupPolicy, KernelError, KernelErrorKind, Learning, Link, LinkName,
    LinkState, Vxlan,
};

use super::error::Attempt;
use super::links::{found, index_of, info_kind, kind, mac, name_of, set, state};
use super::netlink::{Mode, Netlink, attribute, removal};

/// Makes a VXLAN device and returns its index, with what it was before if it was there.
///
/// One that is there keeps what it cannot change; if that is not as described, it is another's.
pub(super) async fn put(
    netlink: &Netlink,
    link: &Link,
    vxlan: &Vxlan,
    mode: Mode,
) -> Result<(u32, Option<FoundLink>), KernelError> {
    let underlay = index_of(&vxlan.underlay)?;
    let present = netlink.link(&link.name).await;
    let present = present.map_err(|error| Attempt::SetLink(link.clone()).failed(&error))?;
    let Some(present) = present else {
        let message = RouteNetlinkMessage::NewLink(new_vxlan(link, vxlan, underlay));
        let created = netlink.change(message, NLM_F_CREATE | NLM_F_EXCL).await;
        created.map_err(|error| Attempt::CreateVxlan(link.clone()).failed(&error))?;
        let index = index_of(&link.name)?;
        // The kernel takes no alias from who makes a device.
        set(netlink, index, link).await?;
        return Ok((index, None));
    };

    let index = present.header.index;
    let before = found(&present);
    let FoundKind::Vxlan(found) = kind(&present) else {
        return Err(taken(&link.name, &describe(&present)));
    };
    if !can_become(&found, vxlan, underlay, mode) {
        return Err(taken(&link.name, &describe_vxlan(&found)));
    }
    let Some(change) = change(&present, &found, link, vxlan, underlay, mode) else {
        return Ok((index, before));
    };
    let changed = netlink.change(RouteNetlinkMessage::NewLink(change), 0).await;
    changed.map_err(|error| Attempt::SetLink(link.clone()).failed(&error))?;
    Ok((index, before))
}

/// Deletes a VXLAN device and returns the index that it had; one that is not there is fine, another kind stays.
pub(super) async fn remove(netlink: &Netlink, name: &LinkName) -> Result<Option<u32>, KernelError> {
    let failed = |error: io::Error| Attempt::RemoveLink(name.clone()).failed(&error);
    let present = netlink.link(name).await.map_err(failed)?;
    let is_vxlan = |present: &LinkMessage| matches!(kind(present), FoundKind::Vxlan(_));
    let Some(present) = present.filter(is_vxlan) else {
        return Ok(None);
    };
    let index = present.header.index;
    let message = LinkUnspec::new_with_index(index).build();
    let deleted = netlink.change(RouteNetlinkMessage::DelLink(message), 0);
    removal(deleted.await, &[Errno::ENODEV]).map_err(failed)?;
    Ok(Some(index))
}

/// Describes a new VXLAN device to the kernel (backends.md, 4.2): without transmit queue, and up.
fn new_vxlan(link: &Link, vxlan: &Vxlan, underlay: u32) -> LinkMessage {
    let mut builder = LinkVxlan::new(&link.name.0, vxlan.vni.into())
        .dev(underlay)
        .port(vxlan.port)
        .learning(vxlan.learning == Learning::On)
        .udp_zero_csum6_tx(false)
        .udp_zero_csum6_rx(false)
        .append_info_data(local(vxlan.local))
        .address(vxlan.mac.0.to_vec())
        .mtu(link.mtu)
        .txqueuelen(0);
    if vxlan.group_policy == GroupPolicy::On {
        builder = builder.gbp();
    }
    builder.up().build()
}

/// Tells whether a VXLAN device can be made as described without making another: what makes up its socket stays, and only
/// of one of ours does the way of its outer packets change.
fn can_become(found: &FoundVxlan, wanted: &Vxlan, underlay: u32, mode: Mode) -> bool {
    let is_same = found.vni == u32::from(wanted.vni)
        && found.port == wanted.port
        && found.group_policy == wanted.group_policy
        && found
            .local
            .is_none_or(|local| local.is_ipv4() == wanted.local.is_ipv4());
    let is_same_way = found.local.is_none_or(|local| local == wanted.local)
        && found.underlay.is_none_or(|index| index == underlay);
    match mode {
        Mode::Ensure => is_same && is_same_way,
        Mode::Replace => is_same,
    }
}

/// Lists what a VXLAN device lacks to be as described. Only in place of one of ours does that include its hardware
/// address, and the way of its outer packets.
fn change(
    present: &LinkMessage,
    found: &FoundVxlan,
    wanted: &Link,
    vxlan: &Vxlan,
    underlay: u32,
    mode: Mode,
) -> Option<LinkMessage> {
    let mut attributes = Vec::new();
    if attribute!(present, LinkAttribute::Mtu(mtu) => Some(*mtu)) != Some(wanted.mtu) {
        attributes.push(LinkAttribute::Mtu(wanted.mtu));
    }
    let alias = attribute!(present, LinkAttribute::IfAlias(alias) => Some(alias.as_str()));
    if alias.unwrap_or_default() != wanted.alias {
        attributes.push(LinkAttribute::IfAlias(wanted.alias.clone()));
    }
    if mode == Mode::Replace {
        if mac(present) != Some(vxlan.mac) {
            attributes.push(LinkAttribute::Address(vxlan.mac.0.to_vec()));
        }
        let way = way(found, vxlan, underlay);
        if !way.is_empty() {
            let info = vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(way)),
            ];
            attributes.push(LinkAttribute::LinkInfo(info));
        }
    }
    let is_up = state(present) == LinkState::Up;
    if attributes.is_empty() && is_up {
        return None;
    }
    let mut message = LinkUnspec::new_with_index(present.header.index).up().build();
    message.attributes = attributes;
    Some(message)
}

/// Lists how the way of a device's outer packets, and whether it learns, differs from what is wanted.
fn way(found: &FoundVxlan, wanted: &Vxlan, underlay: u32) -> Vec<InfoVxlan> {
    let mut way = Vec::new();
    if found.local != Some(wanted.local) {
        way.push(local(wanted.local));
    }
    if found.underlay != Some(underlay) {
        way.push(InfoVxlan::Link(underlay));
    }
    if found.learning != wanted.learning {
        way.push(InfoVxlan::Learning(wanted.learning == Learning::On));
    }
    way
}

const fn local(address: IpAddr) -> InfoVxlan {
    match address {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    }
}

fn describe(present: &LinkMessage) -> String {
    info_kind(present).map_or_else(
        || "a device that is no VXLAN device".to_owned(),
        |kind| format!("a {kind} device"),
    )
}

fn describe_vxlan(found: &FoundVxlan) -> String {
    let FoundVxlan { vni, port, .. } = found;
    let local = found
        .local
        .map_or_else(String::new, |local| format!(" local {local}"));
    let underlay = found
        .underlay
        .map_or_else(String::new, |index| format!(" dev {}", name_of(index)));
    let group_policy = match found.group_policy {
        GroupPolicy::Off => "",
        GroupPolicy::On => " gbp",
    };
    format!("a VXLAN device with other attributes (id {vni}{local}{underlay} dstport {port}{group_policy})")
}

fn taken(name: &LinkName, present: &str) -> KernelError {
    KernelError {
        kind: KernelErrorKind::Taken,
        message: format!(
            "{name} exists already as {present} and is not ours; remove it with `ip link del {name}` or change VNI"
        ),
    }
}

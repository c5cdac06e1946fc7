//! What the kernel tells by itself, as far as it is about objects of ours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use selvedge_engine::{Address, KernelEvent, KernelObject, Link, LinkName, Route};

use super::netlink::{destination, is_ours, output, table};

/// What we have made and not removed: the objects that the engine wants to hear about.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    /// Our device with its index.
    pub(super) link: Option<(Link, u32)>,
    /// Our addresses on it.
    pub(super) addresses: BTreeSet<Address>,
    /// Our routes through it.
    pub(super) routes: BTreeSet<Route>,
}

impl Made {
    /// Forgets a device and all that hangs on it.
    pub(super) fn forget_link(&mut self) {
        *self = Self::default();
    }

    /// Returns the index of our device if that is its name.
    pub(super) fn index_of(&self, name: &LinkName) -> Option<u32> {
        self.link
            .as_ref()
            .filter(|(link, _)| link.name == *name)
            .map(|(_, index)| *index)
    }

    /// Translates a message; `None` if it is not about an object of ours, or no bad news.
    pub(super) fn translate(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<KernelEvent> {
        let NetlinkPayload::InnerMessage(message) = &message.payload else {
            return None;
        };
        let (link, index) = self.link.as_ref()?;
        match message {
            RouteNetlinkMessage::NewLink(changed) if changed.header.index == *index => {
                link_event(link, changed)
            }
            RouteNetlinkMessage::DelLink(deleted) if deleted.header.index == *index => {
                Some(KernelEvent::LinkVanished(link.name.clone()))
            }
            RouteNetlinkMessage::DelAddress(deleted) if deleted.header.index == *index => self
                .address(&link.name, deleted)
                .map(|address| KernelEvent::Vanished(KernelObject::Address(address))),
            RouteNetlinkMessage::DelRoute(deleted) if output(deleted) == Some(*index) => self
                .route(&link.name, deleted)
                .map(|route| KernelEvent::Vanished(KernelObject::Route(route))),
            _ => None,
        }
    }

    fn address(&self, name: &LinkName, message: &AddressMessage) -> Option<Address> {
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })?;
        let address = Address {
            link: name.clone(),
            net: Ipv4Net::new(local, message.header.prefix_len).ok()?,
        };
        self.addresses.contains(&address).then_some(address)
    }

    fn route(&self, name: &LinkName, message: &RouteMessage) -> Option<Route> {
        let in_our_place = message.header.address_family == AddressFamily::Inet
            && table(message) == u32::from(RouteHeader::RT_TABLE_MAIN)
            && is_ours(message);
        if !in_our_place {
            return None;
        }
        let route = Route {
            destination: Ipv4Net::new(destination(message), message.header.destination_prefix_length).ok()?,
            link: name.clone(),
        };
        self.routes.contains(&route).then_some(route)
    }
}

fn link_event(link: &Link, changed: &LinkMessage) -> Option<KernelEvent> {
    if !changed.header.flags.contains(LinkFlags::Up) {
        return Some(KernelEvent::LinkDown(link.name.clone()));
    }
    let differs = changed.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => *mtu != link.mtu,
        LinkAttribute::IfName(name) => *name != link.name.0,
        _ => false,
    });
    differs.then(|| KernelEvent::Vanished(KernelObject::Link(link.clone())))
}

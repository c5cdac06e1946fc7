//! What has become of the objects that we made.
//!
//! The kernel's notifications only raise suspicion: they may be stale when they are read, or lost when there are
//! too many. What is told to the engine is what the kernel answers when it is asked.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use selvedge_engine::{Address, KernelEvent, KernelObject, Link, LinkName, Route};

use super::netlink::{attribute, competes, is_ours, is_through, output};

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

/// What the kernel has.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) links: Vec<LinkMessage>,
    pub(super) addresses: Vec<AddressMessage>,
    pub(super) routes: Vec<RouteMessage>,
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

    /// Tells whether a notification may be bad news about an object of ours.
    pub(super) fn suspects(&self, notification: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
        let Some((link, index)) = &self.link else {
            return false;
        };
        if let NetlinkPayload::Overrun(_) = notification.payload {
            return true;
        }
        let NetlinkPayload::InnerMessage(message) = &notification.payload else {
            return false;
        };
        if let RouteNetlinkMessage::NewLink(changed) = message {
            return changed.header.index == *index && (is_down(changed) || differs(changed, link));
        }
        if let RouteNetlinkMessage::DelLink(deleted) = message {
            return deleted.header.index == *index;
        }
        if let RouteNetlinkMessage::DelAddress(deleted) = message {
            return deleted.header.index == *index;
        }
        if let RouteNetlinkMessage::DelRoute(deleted) = message {
            return is_ours(deleted) && output(deleted) == Some(*index);
        }
        false
    }

    /// Lists what is missing or differs. With a device goes all that hangs on it, with its being up its routes.
    pub(super) fn missing(&self, present: &Present) -> Vec<KernelEvent> {
        let Some((link, index)) = &self.link else {
            return Vec::new();
        };
        let Some(found) = present.links.iter().find(|found| found.header.index == *index) else {
            return vec![KernelEvent::LinkVanished(link.name.clone())];
        };

        let mut events = Vec::new();
        if differs(found, link) {
            events.push(KernelEvent::Vanished(KernelObject::Link(link.clone())));
        }
        let is_gone = |address: &&Address| {
            !present
                .addresses
                .iter()
                .any(|found| is_at(found, *index, address))
        };
        let addresses = self.addresses.iter().filter(is_gone).cloned();
        events.extend(addresses.map(|address| KernelEvent::Vanished(KernelObject::Address(address))));
        if is_down(found) {
            events.push(KernelEvent::LinkDown(link.name.clone()));
            return events;
        }
        let is_gone = |route: &&Route| {
            let stands = |found: &&RouteMessage| competes(found, route) && is_through(found, *index);
            !present.routes.iter().any(|found| stands(&found))
        };
        let routes = self.routes.iter().filter(is_gone).cloned();
        events.extend(routes.map(|route| KernelEvent::Vanished(KernelObject::Route(route))));
        events
    }
}

fn is_down(link: &LinkMessage) -> bool {
    !link.header.flags.contains(LinkFlags::Up)
}

fn differs(found: &LinkMessage, wanted: &Link) -> bool {
    let mtu = attribute!(found, LinkAttribute::Mtu(mtu) => Some(*mtu));
    let name = attribute!(found, LinkAttribute::IfName(name) => Some(name));
    mtu.is_some_and(|mtu| mtu != wanted.mtu) || name.is_some_and(|name| *name != wanted.name.0)
}

fn is_at(found: &AddressMessage, index: u32, wanted: &Address) -> bool {
    found.header.index == index
        && found.header.prefix_len == wanted.net.prefix_len()
        && attribute!(found, AddressAttribute::Local(address) => Some(*address))
            == Some(IpAddr::V4(wanted.net.addr()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlink_packet_route::AddressFamily;
    use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};
    use selvedge_engine::LinkKind;

    use super::super::netlink::route_message;
    use super::*;

    const INDEX: u32 = 7;

    #[test]
    fn nothing_is_missing_when_all_is_there() {
        assert!(made().missing(&present()).is_empty());
    }

    #[test]
    fn a_vanished_device_is_the_only_news() {
        let mut present = present();
        present.links.clear();
        present.addresses.clear();
        present.routes.clear();

        let events = made().missing(&present);

        assert!(matches!(events.as_slice(), [KernelEvent::LinkVanished(name)] if *name == tun().name));
    }

    #[test]
    fn a_device_that_is_down_has_lost_its_routes() {
        let mut present = present();
        present.links[0].header.flags.remove(LinkFlags::Up);
        present.routes.clear();

        let events = made().missing(&present);

        assert!(matches!(events.as_slice(), [KernelEvent::LinkDown(name)] if *name == tun().name));
    }

    #[test]
    fn another_mtu_is_seen() {
        let mut present = present();
        present.links[0].attributes = vec![LinkAttribute::Mtu(1300)];

        let events = made().missing(&present);

        assert!(
            matches!(events.as_slice(), [KernelEvent::Vanished(KernelObject::Link(link))] if *link == tun())
        );
    }

    #[test]
    fn lost_addresses_and_routes_are_seen() {
        let mut present = present();
        present.addresses.clear();
        // The same destination through another device is not our route.
        present.routes = vec![
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(Ipv4Addr::new(10, 5, 0, 0), 16)
                .output_interface(INDEX + 1)
                .build(),
        ];

        let events = made().missing(&present);

        assert!(matches!(
            events.as_slice(),
            [
                KernelEvent::Vanished(KernelObject::Address(lost)),
                KernelEvent::Vanished(KernelObject::Route(gone)),
            ] if *lost == address() && *gone == route()
        ));
    }

    #[test]
    fn only_bad_news_about_our_objects_raises_suspicion() {
        let made = made();
        let message = |message| NetlinkMessage::from(message);
        let mut other_link = present().links[0].clone();
        other_link.header.index = INDEX + 1;
        other_link.header.flags.remove(LinkFlags::Up);

        let link = present().links[0].clone();
        assert!(!made.suspects(&message(RouteNetlinkMessage::NewLink(link.clone()))));
        assert!(!made.suspects(&message(RouteNetlinkMessage::NewLink(other_link.clone()))));
        assert!(!made.suspects(&message(RouteNetlinkMessage::DelLink(other_link))));
        assert!(
            !made.suspects(&message(RouteNetlinkMessage::NewRoute(route_message(
                INDEX,
                &route()
            ))))
        );
        assert!(
            !made.suspects(&message(RouteNetlinkMessage::DelRoute(route_message(
                INDEX + 1,
                &route()
            ))))
        );
        assert!(
            made.suspects(&message(RouteNetlinkMessage::DelRoute(route_message(
                INDEX,
                &route()
            ))))
        );
        assert!(made.suspects(&message(RouteNetlinkMessage::DelLink(link))));
    }

    fn made() -> Made {
        Made {
            link: Some((tun(), INDEX)),
            addresses: BTreeSet::from([address()]),
            routes: BTreeSet::from([route()]),
        }
    }

    fn present() -> Present {
        let mut link = LinkUnspec::new_with_index(INDEX)
            .mtu(1472)
            .name("flannel0")
            .build();
        link.header.flags = LinkFlags::Up;
        let mut address = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(INDEX)
            .address(Ipv4Addr::new(10, 5, 1, 0), 32)
            .build();
        address.header.family = AddressFamily::Inet;
        Present {
            links: vec![link],
            addresses: vec![address],
            routes: vec![route_message(INDEX, &route())],
        }
    }

    fn tun() -> Link {
        Link {
            name: LinkName("flannel0".to_owned()),
            kind: LinkKind::Tun,
            mtu: 1472,
        }
    }

    fn address() -> Address {
        Address {
            link: tun().name,
            net: "10.5.1.0/32".parse().unwrap(),
        }
    }

    fn route() -> Route {
        Route {
            destination: "10.5.0.0/16".parse().unwrap(),
            link: tun().name,
        }
    }
}

//! What the kernel says about the networks that this node is attached to.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::selection::Families;
use crate::kernel::{FoundLink, FoundRoute, KernelFacts};

/// The node's interfaces and the routes that matter for the choice among them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attachments {
    /// The interfaces, in the kernel's order.
    pub interfaces: Vec<Interface>,
    /// The interface index of each IPv4 default route of the main table, in the kernel's order.
    pub default_routes: Vec<u32>,
    /// The same for IPv6.
    pub default_routes_v6: Vec<u32>,
    /// The kernel's answer for the destination of [`InterfaceChoice::CanReach`](super::InterfaceChoice::CanReach).
    pub lookup: Option<RouteLookup>,
}

/// An interface with its addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in the kernel.
    pub index: u32,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// What the kernel says about it.
    pub flags: AddressFlags,
}

/// The flags of an address: `IFA_F_*` of `linux/if_addr.h`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct AddressFlags(pub u32);

/// The kernel's way to a destination.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RouteLookup {
    /// The index of the interface that packets leave by.
    pub interface: u32,
    /// The source address that they get.
    pub source: IpAddr,
}

impl AddressFlags {
    /// A temporary IPv6 address (RFC 8981); the same bit marks a secondary IPv4 address.
    pub const TEMPORARY: Self = Self(0x01);
    /// Past its preferred lifetime: not to be used for anything new.
    pub const DEPRECATED: Self = Self(0x20);
    /// Without a lifetime: set by hand, not by DHCP or router advertisements.
    pub const PERMANENT: Self = Self(0x80);

    /// Tells whether all of the flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Attachments {
    /// Takes them from a survey.
    pub fn of(facts: &KernelFacts) -> Self {
        let interface = |link: &FoundLink| Interface {
            name: link.name.0.clone(),
            index: link.index,
            mtu: link.mtu,
            addresses: facts
                .addresses
                .iter()
                .filter(|found| found.link == link.index)
                .map(|found| InterfaceAddress {
                    address: found.address,
                    flags: found.flags,
                })
                .collect(),
        };
        let default_routes = |is_wanted: fn(&IpNet) -> bool| {
            let routes = facts.routes.iter();
            let routes =
                routes.filter(|route| route.destination.prefix_len() == 0 && is_wanted(&route.destination));
            routes.filter_map(FoundRoute::link).collect()
        };
        Self {
            interfaces: facts.links.iter().map(interface).collect(),
            default_routes: default_routes(|net| matches!(net, IpNet::V4(_))),
            default_routes_v6: default_routes(|net| matches!(net, IpNet::V6(_))),
            lookup: facts.lookup,
        }
    }

    pub(super) fn named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    pub(super) fn indexed(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    pub(super) fn owner_of(&self, address: IpAddr) -> Option<&Interface> {
        let owns = |interface: &&Interface| interface.addresses.iter().any(|own| own.address == address);
        self.interfaces.iter().find(owns)
    }

    /// Names the interfaces that could be chosen, each with the address that it would be used with.
    pub(super) fn usable(&self, families: Families) -> String {
        let mut usable = Vec::new();
        for interface in &self.interfaces {
            let v4 = interface.best_v4().filter(|_| families != Families::V6);
            let v4 = v4.map(IpAddr::V4);
            let v6 = interface.best_v6().filter(|_| families != Families::V4);
            for address in v4.into_iter().chain(v6.map(IpAddr::V6)) {
                usable.push(format!("{} {address}", interface.name));
            }
        }
        if usable.is_empty() {
            return "none".to_string();
        }
        usable.join(", ")
    }
}

impl Interface {
    /// Returns the IPv4 address to use if none is asked for.
    pub(super) fn best_v4(&self) -> Option<Ipv4Addr> {
        let addresses = self.preferred(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        addresses
            .min_by_key(|(_, rank)| *rank)
            .map(|(address, _)| address)
    }

    /// Returns the IPv6 address to use if none is asked for.
    pub(super) fn best_v6(&self) -> Option<Ipv6Addr> {
        let addresses = self.preferred(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        });
        addresses
            .min_by_key(|(_, rank)| *rank)
            .map(|(address, _)| address)
    }

    /// Returns the usable addresses of a family with their ranks, of which the lowest is the best: global before
    /// link-local, permanent before dynamic, lasting before temporary, else in the kernel's order.
    fn preferred<A>(
        &self,
        family: impl Fn(IpAddr) -> Option<A>,
    ) -> impl Iterator<Item = (A, (bool, bool, bool))> {
        self.addresses.iter().filter_map(move |own| {
            let address = family(own.address)?;
            let is_usable = is_unicast(own.address) && !own.flags.contains(AddressFlags::DEPRECATED);
            let rank = (
                is_link_local(own.address),
                !own.flags.contains(AddressFlags::PERMANENT),
                own.flags.contains(AddressFlags::TEMPORARY),
            );
            is_usable.then_some((address, rank))
        })
    }
}

fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || is_broadcast)
}

/// Tells whether an address is valid on its link alone.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

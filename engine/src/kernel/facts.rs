//! What the kernel says that it has, ours and others'.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{FdbEntry, GroupPolicy, Learning, LinkName, MacAddress, Member, Neighbour, RulesetName};
use crate::underlay::{AddressFlags, RouteLookup};

/// What to look at besides all devices, all addresses and the main routing tables.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Survey {
    /// The devices whose neighbours and forwarding entries are asked for.
    pub tunnels: Vec<LinkName>,
    /// The destination for which the kernel is asked the way.
    pub destination: Option<IpAddr>,
}

/// What a survey of the node found, all of one moment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct KernelFacts {
    /// All devices, in the kernel's order.
    pub links: Vec<FoundLink>,
    /// All addresses, in the kernel's order.
    pub addresses: Vec<FoundAddress>,
    /// The permanent neighbours on the devices that were asked about.
    pub neighbours: Vec<Neighbour>,
    /// The permanent forwarding entries of the devices that were asked about.
    pub fdb: Vec<FdbEntry>,
    /// The routes of the main tables, in the kernel's order.
    pub routes: Vec<FoundRoute>,
    /// The kernel's way to the destination that was asked for, if there is one.
    pub lookup: Option<RouteLookup>,
    /// What is there of our rules.
    #[serde(default)]
    pub firewall: FoundFirewall,
}

/// What was found of our rules in the firewall, of this run or of earlier ones, flannel's included.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundFirewall {
    /// The rulesets that exist, whatever they hold.
    pub rulesets: Vec<RulesetName>,
    /// The members that the filter's sets hold.
    pub members: Vec<Member>,
}

/// A device as it was found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundLink {
    /// Its name.
    pub name: LinkName,
    /// Its index in the kernel.
    pub index: u32,
    /// What it is.
    pub kind: FoundKind,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its hardware address, if it has one.
    pub mac: Option<MacAddress>,
    /// Whether it is up.
    pub state: LinkState,
    /// Its alias, empty if it has none.
    pub alias: String,
}

/// What a device was found to be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundKind {
    /// A TUN device.
    Tun,
    /// A VXLAN device.
    Vxlan(FoundVxlan),
    /// Anything else, for example an Ethernet card.
    Other,
}

/// The attributes of a VXLAN device as they were found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundVxlan {
    /// The network identifier.
    pub vni: u32,
    /// The source address of outer packets, if one is set.
    pub local: Option<IpAddr>,
    /// The index of the device that outer packets leave by, if one is set.
    pub underlay: Option<u32>,
    /// The UDP port.
    pub port: u16,
    /// Whether it learns.
    pub learning: Learning,
    /// Whether it carries a group policy.
    pub group_policy: GroupPolicy,
}

/// Whether a device is up (`IFF_UP`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// It is up.
    Up,
    /// It is down.
    Down,
}

/// An address as it was found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundAddress {
    /// The index of the device.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix in bits.
    pub prefix_len: u8,
    /// What the kernel says about it.
    pub flags: AddressFlags,
}

/// A route of the main table as it was found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FoundRoute {
    /// The destinations.
    pub destination: IpNet,
    /// Where it leads.
    pub hop: FoundHop,
    /// Its protocol number: who made it.
    pub protocol: u8,
    /// Its priority (`metric`); of routes to the same destination the lowest is used.
    pub priority: u32,
}

/// Where a route was found to lead.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundHop {
    /// Out of the device of this index.
    Link(u32),
    /// To a neighbour on a device.
    Gateway {
        /// The neighbour.
        gateway: IpAddr,
        /// The index of the device.
        link: u32,
    },
    /// The same, whatever the other routes say (`onlink`).
    OnLink {
        /// The neighbour.
        gateway: IpAddr,
        /// The index of the device.
        link: u32,
    },
    /// Anything else: several hops, or none as in a blackhole.
    Other,
}

impl FoundRoute {
    /// Returns the index of the device that it leads out of, if it is a single one.
    pub const fn link(&self) -> Option<u32> {
        match self.hop {
            FoundHop::Link(link) | FoundHop::Gateway { link, .. } | FoundHop::OnLink { link, .. } => {
                Some(link)
            }
            FoundHop::Other => None,
        }
    }
}

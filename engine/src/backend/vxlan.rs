//! The `vxlan` backend: the kernel carries Ethernet frames in UDP (backends.md, 4; RFC 7348).
//!
//! Each IP version has a device of its own. A peer is a route to its subnet by way of the subnet's first address, a
//! neighbour entry which says that this address is the peer's device, and a forwarding entry which says on which node that
//! device is. With direct routing a peer on the same link is a plain route.

use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::options::{Options, bad};
use super::{ConfigError, Placement, plain_record, subnet_file, vtep};
use crate::firewall::{MembershipFilter, TunnelTraffic};
use crate::kernel::{
    self, Address, FdbEntry, GroupPolicy, IpVersion, KernelObject, Learning, Link, LinkKind, LinkName,
    Neighbour, NextHop, Route, Sysctl, Vni,
};
use crate::lease::LeaseRecord;
use crate::network_config::NetworkConfig;
use crate::peers::Place;
use crate::underlay::Underlay;
use crate::vteps::Vteps;
use crate::ways::Ways;

pub(super) const KIND: &str = "vxlan";

/// The port of the kernel's own choice, which is older than IANA's 4789.
const DEFAULT_PORT: u16 = 8472;
const DEFAULT_VNI: u32 = 1;
/// Outer IP and UDP headers, VXLAN header, inner Ethernet header.
const OVERHEAD_V4: u32 = 20 + 8 + 8 + 14;
const OVERHEAD_V6: u32 = 40 + 8 + 8 + 14;

const VNI_RULE: &str = "a VXLAN network identifier, a number from 0 to 16777215";
const PORT_RULE: &str = "a UDP port, a number from 1 to 65535, or 0 for 8472";
const MTU_RULE: &str = "the underlay's MTU, a number from 118 to 65535 (with IPv6 from 1350)";
/// With it IPv4 and IPv6 carry what they must be able to carry (RFC 791: 68 bytes, RFC 8200: 1280).
const LEAST_MTU_V4: u32 = 68 + OVERHEAD_V4;
const LEAST_MTU_V6: u32 = 1280 + OVERHEAD_V6;

/// The options of the backend.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Vxlan {
    vni: Vni,
    port: u16,
    /// The underlay's MTU, if it is less than the interface's.
    mtu: Option<u32>,
    learning: Learning,
    group_policy: GroupPolicy,
    direct_routing: DirectRouting,
}

/// Whether peers on the same link get plain routes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum DirectRouting {
    Off,
    On,
}

impl Vxlan {
    pub(super) fn new(network: &NetworkConfig) -> Result<Self, ConfigError> {
        let options = Options::of(&network.backend);
        let vni = options.read("VNI", VNI_RULE)?.unwrap_or(DEFAULT_VNI);
        let port = options.read("Port", PORT_RULE)?.filter(|port| *port != 0);
        let learning = options.is_on("Learning")?;
        let group_policy = options.is_on("GBP")?;
        let direct_routing = options.is_on("DirectRouting")?;
        Ok(Self {
            vni: Vni::new(vni).map_err(|_| bad("VNI", &vni, VNI_RULE))?,
            port: port.unwrap_or(DEFAULT_PORT),
            mtu: mtu(&options, network)?,
            learning: if learning { Learning::On } else { Learning::Off },
            group_policy: if group_policy {
                GroupPolicy::On
            } else {
                GroupPolicy::Off
            },
            direct_routing: if direct_routing {
                DirectRouting::On
            } else {
                DirectRouting::Off
            },
        })
    }

    /// Returns the devices, one for each IP version of the network.
    pub(super) fn tunnels(&self, network: &NetworkConfig) -> Vec<LinkName> {
        versions(network).map(|version| self.link_name(version)).collect()
    }

    pub(super) fn lease_record(
        &self,
        underlay: &Underlay,
        network: &NetworkConfig,
        vteps: &Vteps,
    ) -> LeaseRecord {
        let data = |version| vtep::write(self.vni, vteps.mac_of(&self.link_name(version)));
        LeaseRecord {
            backend_type: KIND.to_string(),
            backend_data: network.v4.map(|_| data(IpVersion::V4)),
            backend_v6_data: network.v6.map(|_| data(IpVersion::V6)),
            ..plain_record(underlay, network)
        }
    }

    pub(super) fn desired(&self, placement: &Placement<'_>) -> Vec<KernelObject> {
        let sides = placement.sides();
        let devices = sides
            .iter()
            .flat_map(|side| self.device(placement, side.version, side.own));
        let mtu = sides.iter().map(|side| self.mtu(placement, side.version)).min();
        let file = KernelObject::SubnetFile(subnet_file(placement, mtu.unwrap_or_default()));
        devices.chain([file]).collect()
    }

    /// Returns what leads to a peer; its route is the last to be made and the first to be removed.
    pub(super) fn peer_objects(&self, net: IpNet, place: &Place, ways: &Ways) -> Vec<KernelObject> {
        if self.direct_routing == DirectRouting::On
            && let Some(link) = ways.link_to(place.public_ip)
        {
            let hop = NextHop::Gateway {
                gateway: place.public_ip,
                link: link.clone(),
            };
            return vec![KernelObject::Route(Route::new(net, hop))];
        }
        let Some(mac) = place.vtep else {
            return Vec::new();
        };
        let link = self.link_name(IpVersion::of(net.addr()));
        let gateway = net.network();
        vec![
            KernelObject::FdbEntry(FdbEntry {
                link: link.clone(),
                mac,
                node: place.public_ip,
            }),
            KernelObject::Neighbour(Neighbour {
                link: link.clone(),
                address: gateway,
                mac,
            }),
            KernelObject::Route(Route::new(net, NextHop::OnLink { gateway, link })),
        ]
    }

    pub(super) fn filter(&self, placement: &Placement<'_>) -> MembershipFilter {
        MembershipFilter {
            tunnel: Some(TunnelTraffic {
                port: self.port,
                vni: self.vni,
            }),
            direct: match self.direct_routing {
                DirectRouting::Off => None,
                DirectRouting::On => Some(placement.direct_traffic()),
            },
        }
    }

    /// The address has no room for others, so that no broadcast routes appear; peers reach the node itself by it.
    fn device(&self, placement: &Placement<'_>, version: IpVersion, own: IpNet) -> Vec<KernelObject> {
        let name = self.link_name(version);
        let underlay = &placement.setup.underlay;
        let Some(local) = underlay.address_of(version) else {
            return Vec::new();
        };
        let mac = placement.vteps.mac_of(&name);
        vec![
            KernelObject::Link(Link {
                name: name.clone(),
                kind: LinkKind::Vxlan(kernel::Vxlan {
                    vni: self.vni,
                    local,
                    underlay: LinkName(underlay.interface.clone()),
                    port: self.port,
                    learning: self.learning,
                    group_policy: self.group_policy,
                    mac,
                }),
                mtu: self.mtu(placement, version),
                alias: placement.setup.prefix.alias(),
            }),
            KernelObject::Sysctl(Sysctl {
                link: name.clone(),
                version: IpVersion::V6,
                key: "accept_ra".into(),
                value: "0".into(),
            }),
            KernelObject::Address(Address {
                link: name,
                net: IpNet::from(own.network()),
            }),
        ]
    }

    fn mtu(&self, placement: &Placement<'_>, version: IpVersion) -> u32 {
        let underlay = placement.setup.underlay.mtu;
        let overhead = match version {
            IpVersion::V4 => OVERHEAD_V4,
            IpVersion::V6 => OVERHEAD_V6,
        };
        self.mtu
            .map_or(underlay, |mtu| mtu.min(underlay))
            .saturating_sub(overhead)
    }

    fn link_name(&self, version: IpVersion) -> LinkName {
        let vni = self.vni;
        LinkName(match version {
            IpVersion::V4 => alloc::format!("flannel.{vni}"),
            IpVersion::V6 => alloc::format!("flannel-v6.{vni}"),
        })
    }
}

fn versions(network: &NetworkConfig) -> impl Iterator<Item = IpVersion> {
    let v4 = network.v4.map(|_| IpVersion::V4);
    v4.into_iter().chain(network.v6.map(|_| IpVersion::V6))
}

fn mtu(options: &Options<'_>, network: &NetworkConfig) -> Result<Option<u32>, ConfigError> {
    let least = match network.v6 {
        Some(_) => LEAST_MTU_V6,
        None => LEAST_MTU_V4,
    };
    let given = options.read::<u32>("MTU", MTU_RULE)?.filter(|mtu| *mtu != 0);
    match given {
        Some(mtu) if mtu < least || mtu > u32::from(u16::MAX) => Err(bad("MTU", &mtu, MTU_RULE)),
        given => Ok(given),
    }
}

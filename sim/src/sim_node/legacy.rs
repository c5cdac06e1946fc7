//! What flannel leaves on a node when it ends, and what a daemon of ours finds there (backends.md, 14).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{
    Address, FdbEntry, KernelObject, KernelOp, Link, LinkKind, LinkName, MacAddress, Masquerade, Neighbour,
    NetworkConfig, NextHop, Range4, Route, RouteMark, SubnetFile, Vni, Vxlan,
};

use crate::linux::Linux;
use crate::node_id::NodeId;
use crate::scenario::{Backend, DirectRouting, Legacy, Scenario};
use crate::underlay;

/// Returns the leases that flannel's nodes had, each with the hardware address of its node's VXLAN device.
pub(crate) fn former_leases(scenario: &Scenario) -> Vec<(Ipv4Net, NodeId, Option<MacAddress>)> {
    let config = NetworkConfig::parse(scenario.config.as_bytes());
    let range = config.ok().and_then(|config| config.v4);
    let range = range.filter(|_| scenario.legacy == Legacy::Flannels);
    let leases = scenario.node_ids().filter_map(|node| {
        let vtep = match scenario.backend {
            Backend::Udp => return None,
            Backend::Vxlan => Some(mac_of(node)),
            Backend::HostGw => None,
        };
        Some((subnet_of(&range?, node)?, node, vtep))
    });
    leases.collect()
}

/// Gives a node what flannel left there, if the backend leaves anything and the network has room for it.
pub(super) fn leave(linux: &mut Linux, scenario: &Scenario, node: NodeId) {
    let config = NetworkConfig::parse(scenario.config.as_bytes());
    let Some(range) = config.ok().and_then(|config| config.v4) else {
        return;
    };
    let peers = scenario.node_ids().filter(|other| *other != node);
    let peers: Vec<NodeId> = peers.chain([GHOST]).collect();
    let objects: Option<Vec<KernelObject>> = match scenario.backend {
        Backend::Udp => return,
        Backend::Vxlan => vxlan(scenario, &range, node, &peers),
        Backend::HostGw => gateways(&range, &peers),
    };
    let file = subnet_of(&range, node).map(|subnet| {
        KernelObject::SubnetFile(SubnetFile {
            v4: Some((range.network, subnet)),
            v6: None,
            mtu: underlay::MTU - OVERHEAD,
            masquerade: Masquerade::Off,
        })
    });
    for object in objects.into_iter().flatten().chain(file) {
        // A gateway in another segment is refused, as flannel's was.
        let _refused = linux.apply(&KernelOp::Ensure(object));
    }
}

fn vxlan(scenario: &Scenario, range: &Range4, node: NodeId, peers: &[NodeId]) -> Option<Vec<KernelObject>> {
    let options = &scenario.vxlan;
    let vni = options.vni.unwrap_or(1);
    let name = LinkName(format!("flannel.{vni}"));
    let device = KernelObject::Link(Link {
        name: name.clone(),
        kind: LinkKind::Vxlan(Vxlan {
            vni: Vni::new(vni).ok()?,
            local: node.public_ip().into(),
            underlay: LinkName("eth0".to_owned()),
            port: options.port.unwrap_or(8472),
            learning: options.learning,
            group_policy: options.group_policy,
            mac: mac_of(node),
        }),
        mtu: underlay::MTU - OVERHEAD,
        alias: String::new(),
    });
    let address = KernelObject::Address(Address {
        link: name.clone(),
        net: IpNet::from(IpAddr::V4(subnet_of(range, node)?.network())),
    });
    let mut objects = vec![device, address];
    for peer in peers {
        let subnet = subnet_of(range, *peer)?;
        let is_direct = options.direct_routing == DirectRouting::On
            && scenario.segment(*peer) == scenario.segment(node)
            && *peer != GHOST;
        if is_direct {
            objects.push(gateway(subnet, *peer));
            continue;
        }
        objects.extend([
            KernelObject::FdbEntry(FdbEntry {
                link: name.clone(),
                mac: mac_of(*peer),
                node: peer.public_ip().into(),
            }),
            KernelObject::Neighbour(Neighbour {
                link: name.clone(),
                address: subnet.network().into(),
                mac: mac_of(*peer),
            }),
            KernelObject::Route(Route {
                destination: subnet.into(),
                hop: NextHop::OnLink {
                    gateway: subnet.network().into(),
                    link: name.clone(),
                },
                mark: RouteMark::Flannel,
            }),
        ]);
    }
    Some(objects)
}

fn gateways(range: &Range4, peers: &[NodeId]) -> Option<Vec<KernelObject>> {
    // A route by way of a gateway says nothing of who made it: that to a node which is gone would stay for ever.
    let peers = peers.iter().filter(|peer| **peer != GHOST);
    peers
        .map(|peer| Some(gateway(subnet_of(range, *peer)?, *peer)))
        .collect()
}

fn gateway(subnet: Ipv4Net, peer: NodeId) -> KernelObject {
    KernelObject::Route(Route {
        destination: subnet.into(),
        hop: NextHop::Gateway {
            gateway: peer.public_ip().into(),
            link: LinkName("eth0".to_owned()),
        },
        mark: RouteMark::Flannel,
    })
}

/// Returns the subnet that flannel had given a node, if there are so many.
fn subnet_of(range: &Range4, node: NodeId) -> Option<Ipv4Net> {
    let size = 1_u32.checked_shl(32_u32.checked_sub(range.subnet_len.into())?)?;
    let offset = node.number().checked_sub(1)?.checked_mul(size)?;
    let first = u32::from(range.subnet_min).checked_add(offset)?;
    let subnet = Ipv4Net::new(first.into(), range.subnet_len).ok()?;
    (subnet.network() <= range.subnet_max).then_some(subnet)
}

/// Flannel draws them at random.
fn mac_of(node: NodeId) -> MacAddress {
    let [a, b, c, d] = node.number().to_be_bytes();
    MacAddress::local([0x46, 0x3d, a, b, c, d])
}

/// A node that was there once.
const GHOST: NodeId = NodeId::new(200);
/// What VXLAN takes of a packet.
const OVERHEAD: u32 = 50;

//! The objects of the vxlan and host-gw backends, as backends.md has them in its section 14.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use selvedge_engine::{
    Address, FdbEntry, GroupPolicy, KernelObject, Learning, Link, LinkKind, LinkName, MacAddress, Neighbour,
    NextHop, Route, Vni, Vxlan,
};

use super::support::{OWN, PEER};

pub(crate) const MAC: MacAddress = MacAddress([0x46, 0x3d, 0xa8, 0xdc, 0xed, 0xcb]);
pub(crate) const PEERS_MAC: MacAddress = MacAddress([0x16, 0x00, 0x00, 0x00, 0x00, 0x02]);

pub(crate) fn vxlan() -> Vxlan {
    Vxlan {
        vni: Vni::new(1).unwrap(),
        local: OWN.into(),
        underlay: name("eth0"),
        port: 8472,
        learning: Learning::Off,
        group_policy: GroupPolicy::Off,
        mac: MAC,
    }
}

pub(crate) fn device(vxlan: Vxlan) -> Link {
    Link {
        name: name("flannel.1"),
        kind: LinkKind::Vxlan(vxlan),
        mtu: 1450,
        alias: "selvedge 10.50.0.0/16".to_owned(),
    }
}

pub(crate) fn device_v6() -> Link {
    Link {
        name: name("flannel-v6.1"),
        mtu: 1430,
        ..device(Vxlan {
            local: "2001:db8:77::1".parse().unwrap(),
            ..vxlan()
        })
    }
}

pub(crate) fn link() -> KernelObject {
    KernelObject::Link(device(vxlan()))
}

pub(crate) fn link_v6() -> KernelObject {
    KernelObject::Link(device_v6())
}

/// All that a node with one peer has for IPv4, in the order in which it is made.
pub(crate) fn tunnel() -> Vec<KernelObject> {
    vec![
        link(),
        address("flannel.1", "10.50.1.0/32"),
        fdb_entry("flannel.1", PEERS_MAC, PEER.into()),
        neighbour("flannel.1", "10.50.2.0", PEERS_MAC),
        onlink("flannel.1", "10.50.2.0/24", "10.50.2.0"),
    ]
}

/// The same for IPv6.
pub(crate) fn tunnel_v6() -> Vec<KernelObject> {
    vec![
        link_v6(),
        address("flannel-v6.1", "fd50:0:0:1::/128"),
        fdb_entry("flannel-v6.1", PEERS_MAC, "2001:db8:77::2".parse().unwrap()),
        neighbour("flannel-v6.1", "fd50:0:0:2::", PEERS_MAC),
        onlink("flannel-v6.1", "fd50:0:0:2::/64", "fd50:0:0:2::"),
    ]
}

/// The routes of host-gw to one peer.
pub(crate) fn gateways() -> Vec<KernelObject> {
    vec![
        gateway("eth0", "10.50.2.0/24", "192.0.2.2"),
        gateway("eth0", "fd50:0:0:2::/64", "2001:db8:77::2"),
    ]
}

pub(crate) fn address(link: &str, net: &str) -> KernelObject {
    KernelObject::Address(Address {
        link: name(link),
        net: net.parse().unwrap(),
    })
}

pub(crate) fn fdb_entry(link: &str, mac: MacAddress, node: IpAddr) -> KernelObject {
    KernelObject::FdbEntry(FdbEntry {
        link: name(link),
        mac,
        node,
    })
}

pub(crate) fn neighbour(link: &str, address: &str, mac: MacAddress) -> KernelObject {
    KernelObject::Neighbour(Neighbour {
        link: name(link),
        address: address.parse().unwrap(),
        mac,
    })
}

pub(crate) fn onlink(link: &str, destination: &str, gateway: &str) -> KernelObject {
    route(
        destination,
        NextHop::OnLink {
            gateway: gateway.parse().unwrap(),
            link: name(link),
        },
    )
}

pub(crate) fn gateway(link: &str, destination: &str, gateway: &str) -> KernelObject {
    route(
        destination,
        NextHop::Gateway {
            gateway: gateway.parse().unwrap(),
            link: name(link),
        },
    )
}

pub(crate) fn route(destination: &str, hop: NextHop) -> KernelObject {
    KernelObject::Route(Route::new(destination.parse::<IpNet>().unwrap(), hop))
}

pub(crate) fn name(name: &str) -> LinkName {
    LinkName(name.to_owned())
}

/// The hardware address of the peer of this number.
pub(crate) fn mac_of(peer: u16) -> MacAddress {
    let [high, low] = peer.to_be_bytes();
    MacAddress::local([0, 0, 0, 0, high, low])
}

/// The underlay address of the peer of this number.
pub(crate) fn node_of(peer: u16) -> IpAddr {
    let [high, low] = peer.to_be_bytes();
    Ipv4Addr::new(192, 168, high, low).into()
}

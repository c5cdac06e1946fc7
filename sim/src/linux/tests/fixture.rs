//! The nodes of backends.md, 14: A and B on one segment, C behind a router.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use selvedge_engine::{
    Address, FdbEntry, GroupPolicy, KernelObject, KernelOp, Learning, Link, LinkKind, LinkName, MacAddress,
    Masquerade, Neighbour, NextHop, Route, SubnetFile, Vni, Vxlan,
};

use crate::linux::{Attachment, Linux};

/// A node, its lease, and the hardware address of its VXLAN device.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) address: Ipv4Addr,
    pub(super) lease: Ipv4Net,
    pub(super) mac: MacAddress,
}

pub(super) const A: Node = node(Ipv4Addr::new(192, 0, 2, 1), 1);
pub(super) const B: Node = node(Ipv4Addr::new(192, 0, 2, 2), 2);
pub(super) const C: Node = node(Ipv4Addr::new(198, 51, 100, 3), 3);
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
pub(super) const PORT: u16 = 8472;

const fn node(address: Ipv4Addr, number: u8) -> Node {
    Node {
        address,
        lease: Ipv4Net::new_assert(Ipv4Addr::new(10, 50, number, 0), 24),
        mac: MacAddress([0x46, 0x3d, 0xa8, 0xdc, 0xed, number]),
    }
}

impl Node {
    pub(super) fn pod(self) -> Ipv4Addr {
        let [a, b, c, _] = self.lease.network().octets();
        Ipv4Addr::new(a, b, c, 2)
    }

    /// The lease's first address, which the VXLAN device has.
    pub(super) fn vtep(self) -> IpAddr {
        self.lease.network().into()
    }
}

/// A node of the segment of A and B, without anything of the overlay.
pub(super) fn attached(node: Node) -> Linux {
    Linux::new(Attachment {
        gateway: Some(ROUTER),
        ..Attachment::from(node.address)
    })
}

/// A node with its VXLAN device and all that it needs for these peers.
pub(super) fn vxlan_node(node: Node, peers: &[Node]) -> Linux {
    let mut linux = attached(node);
    make(&mut linux, own_objects(node));
    for peer in peers {
        make(&mut linux, peer_objects(*peer));
    }
    linux
}

/// A node whose routes lead to these peers on its segment.
pub(super) fn host_gw_node(node: Node, peers: &[Node]) -> Linux {
    let mut linux = attached(node);
    make(&mut linux, [subnet_file(node, 1500)]);
    for peer in peers {
        make(&mut linux, [KernelObject::Route(gateway_route(*peer))]);
    }
    linux
}

pub(super) fn make(linux: &mut Linux, objects: impl IntoIterator<Item = KernelObject>) {
    for object in objects {
        linux.apply(&KernelOp::Ensure(object)).unwrap();
    }
}

pub(super) fn own_objects(node: Node) -> Vec<KernelObject> {
    vec![
        KernelObject::Link(device(node)),
        KernelObject::Address(address(node)),
        subnet_file(node, 1450),
    ]
}

/// What a peer costs, in the order in which it is made.
pub(super) fn peer_objects(peer: Node) -> [KernelObject; 3] {
    [
        KernelObject::FdbEntry(fdb_entry(peer)),
        KernelObject::Neighbour(neighbour(peer)),
        KernelObject::Route(onlink_route(peer)),
    ]
}

pub(super) fn device(node: Node) -> Link {
    Link {
        name: flannel1(),
        kind: LinkKind::Vxlan(Vxlan {
            vni: Vni::new(1).unwrap(),
            local: node.address.into(),
            underlay: eth0(),
            port: PORT,
            learning: Learning::Off,
            group_policy: GroupPolicy::Off,
            mac: node.mac,
        }),
        mtu: 1450,
        alias: "selvedge".to_owned(),
    }
}

/// The VXLAN attributes of a device, to be changed.
pub(super) fn vxlan_of(link: &mut Link) -> &mut Vxlan {
    match &mut link.kind {
        LinkKind::Vxlan(vxlan) => vxlan,
        LinkKind::Tun => panic!("no VXLAN device"),
    }
}

pub(super) fn address(node: Node) -> Address {
    Address {
        link: flannel1(),
        net: IpNet::from(node.vtep()),
    }
}

pub(super) fn fdb_entry(peer: Node) -> FdbEntry {
    FdbEntry {
        link: flannel1(),
        mac: peer.mac,
        node: peer.address.into(),
    }
}

pub(super) fn neighbour(peer: Node) -> Neighbour {
    Neighbour {
        link: flannel1(),
        address: peer.vtep(),
        mac: peer.mac,
    }
}

pub(super) fn onlink_route(peer: Node) -> Route {
    let (gateway, link) = (peer.vtep(), flannel1());
    Route::new(peer.lease.into(), NextHop::OnLink { gateway, link })
}

pub(super) fn gateway_route(peer: Node) -> Route {
    let (gateway, link) = (peer.address.into(), eth0());
    Route::new(peer.lease.into(), NextHop::Gateway { gateway, link })
}

pub(super) fn subnet_file(node: Node, mtu: u32) -> KernelObject {
    KernelObject::SubnetFile(SubnetFile {
        v4: Some(("10.50.0.0/16".parse().unwrap(), node.lease)),
        v6: None,
        mtu,
        masquerade: Masquerade::Off,
    })
}

pub(super) fn flannel1() -> LinkName {
    LinkName("flannel.1".to_owned())
}

pub(super) fn eth0() -> LinkName {
    LinkName("eth0".to_owned())
}

use std::net::Ipv4Addr;

use selvedge_engine::{
    Address, KernelErrorKind, KernelObject, KernelOp, Link, LinkKind, LinkName, Masquerade, Route,
    SubnetFile, Sysctl,
};

use super::{Linux, LinuxDrop, Verdict};
use crate::packet;

#[test]
fn a_packet_to_another_subnet_goes_into_the_tunnel_with_a_lower_ttl() {
    let linux = node();
    let mut packet = udp(POD, REMOTE_POD);

    let verdict = linux.forward_from_pod(&mut packet);

    assert_eq!(verdict, Verdict::Tunnel(tunnel()));
    assert_eq!(packet::ttl(&packet), Some(packet::TTL - 1));
    assert!(packet::is_valid(&packet));
}

#[test]
fn a_packet_from_the_tunnel_reaches_the_pod() {
    let linux = node();
    let mut packet = udp(REMOTE_POD, POD);

    assert_eq!(
        linux.forward_from_tunnel(&tunnel(), &mut packet),
        Verdict::Pod(POD)
    );
}

#[test]
fn without_the_daemon_nothing_leaves_the_node() {
    let mut linux = node();

    linux.end_daemon();

    let verdict = linux.forward_from_pod(&mut udp(POD, REMOTE_POD));
    assert_eq!(verdict, Verdict::Dropped(LinuxDrop::NoRoute));
    assert!(linux.subnet_file().is_some());
}

#[test]
fn an_error_from_the_nodes_own_address_is_martian_unless_accepted() {
    let mut linux = node();
    let own = Ipv4Addr::new(10, 5, 1, 0);
    let refused = linux.forward_from_tunnel(&tunnel(), &mut udp(own, POD));

    let sysctl = KernelObject::Sysctl(Sysctl {
        link: tunnel(),
        key: "accept_local",
        value: "1",
    });
    linux.apply(&KernelOp::Ensure(sysctl)).unwrap();

    assert_eq!(refused, Verdict::Dropped(LinuxDrop::MartianSource));
    assert_eq!(
        linux.forward_from_tunnel(&tunnel(), &mut udp(own, POD)),
        Verdict::Pod(POD)
    );
}

#[test]
fn a_packet_above_the_mtu_is_dropped() {
    let linux = node();
    let mut packet = packet::udp(POD, REMOTE_POD, packet::TTL, &[0; 1500]);

    let verdict = linux.forward_from_pod(&mut packet);

    assert_eq!(verdict, Verdict::Dropped(LinuxDrop::TooBig));
}

#[test]
fn a_route_needs_its_device() {
    let mut linux = Linux::new(UNDERLAY);

    let error = linux.apply(&KernelOp::Ensure(route())).unwrap_err();

    assert_eq!(error.kind, KernelErrorKind::NotFound);
}

#[test]
fn deleting_the_device_takes_its_routes_along() {
    let mut linux = node();

    assert!(linux.delete_link(&tunnel()));

    assert_eq!(linux.tunnel(), None);
    let verdict = linux.forward_from_pod(&mut udp(POD, REMOTE_POD));
    assert_eq!(verdict, Verdict::Dropped(LinuxDrop::NoRoute));
}

const UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const POD: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
const REMOTE_POD: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);

fn node() -> Linux {
    let mut linux = Linux::new(UNDERLAY);
    let objects = [
        KernelObject::Link(Link {
            name: tunnel(),
            kind: LinkKind::Tun,
            mtu: 1472,
        }),
        KernelObject::Address(Address {
            link: tunnel(),
            net: "10.5.1.0/32".parse().unwrap(),
        }),
        route(),
        KernelObject::SubnetFile(SubnetFile {
            v4: Some(("10.5.0.0/16".parse().unwrap(), "10.5.1.0/24".parse().unwrap())),
            v6: None,
            mtu: 1472,
            masquerade: Masquerade::Off,
        }),
    ];
    for object in objects {
        linux.apply(&KernelOp::Ensure(object)).unwrap();
    }
    linux
}

fn route() -> KernelObject {
    KernelObject::Route(Route {
        destination: "10.5.0.0/16".parse().unwrap(),
        link: tunnel(),
    })
}

fn tunnel() -> LinkName {
    LinkName("flannel0".to_owned())
}

fn udp(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    packet::udp(source, destination, packet::TTL, b"probe")
}

//! The objects of the udp backend: the TUN device, the socket, and the thread between them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use etherparse::{Ipv4HeaderSlice, PacketBuilder};
use selvedge_engine::{
    Address, ForwardingTable, IpVersion, KernelErrorKind, KernelEvent, KernelObject, Link, LinkKind,
    LinkName, Masquerade, Membership, NextHop, Route, SubnetFile, Sysctl, TunnelParams,
};
use selvedge_tests::need;

use super::support::{Node, OWN, OWN_POD, PEER, in_namespace, ip};

const PORT: u16 = 8285;
const PEER_POD: Ipv4Addr = Ipv4Addr::new(10, 50, 2, 2);

#[test]
fn the_kernel_holds_what_flannel_would_make() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        ensure_all(&mut node).await;

        let link = ip("-d link show flannel0");
        assert!(
            link.contains("<POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1472 qdisc"),
            "{link}"
        );
        assert!(link.contains("qlen 500"), "{link}");
        assert!(
            link.contains("tun type tun pi off vnet_hdr on persist off"),
            "{link}"
        );
        assert!(link.contains("numtxqueues 1 numrxqueues 1"), "{link}");
        let address = ip("-4 -o addr show dev flannel0");
        assert!(
            address.contains("inet 10.50.1.0/32 scope global flannel0"),
            "{address}"
        );
        assert_eq!(
            ip("-d -4 route show table main 10.50.0.0/16").trim(),
            "unicast 10.50.0.0/16 dev flannel0 proto 83 scope global"
        );
        let local = ip("-4 route show table local dev flannel0");
        assert_eq!(
            local.trim(),
            "local 10.50.1.0 proto kernel scope host src 10.50.1.0"
        );
        let accepts = std::fs::read_to_string("/proc/sys/net/ipv4/conf/flannel0/accept_local");
        assert_eq!(accepts.unwrap().trim(), "1");
        let file = std::fs::read_to_string(node.directory.path().join("subnet.env")).unwrap();
        assert_eq!(
            file,
            "FLANNEL_NETWORK=10.50.0.0/16\nFLANNEL_SUBNET=10.50.1.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"
        );
    });
}

#[test]
fn ensuring_and_removing_twice_changes_nothing() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        ensure_all(&mut node).await;
        let before = (ip("-o addr show"), ip("route show"));

        ensure_all(&mut node).await;
        assert_eq!((ip("-o addr show"), ip("route show")), before);

        for _ in 0..2 {
            for object in objects().into_iter().rev() {
                node.remove(object).await;
            }
            assert_eq!(ip("route show").trim(), "");
            assert!(!ip("-o link show").contains("flannel0"));
        }
    });
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        ip("link add flannel0 type bridge");
        assert_eq!(node.refusal(tun()).await.kind, KernelErrorKind::Taken);
        ip("link del flannel0");

        node.ensure(tun()).await;
        ip("route add 10.50.0.0/16 dev lo");
        let error = node.refusal(route()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert!(error.message.contains("through lo (protocol 3)"), "{error}");
        assert_eq!(ip("route show").trim(), "10.50.0.0/16 dev lo scope link");
        node.remove(route()).await;
        assert_eq!(ip("route show").trim(), "10.50.0.0/16 dev lo scope link");

        // A route of ours through another device is an old one of ours.
        ip("route replace 10.50.0.0/16 dev lo proto 83");
        node.ensure(route()).await;
        assert_eq!(ip("route show").trim(), "10.50.0.0/16 dev flannel0 proto 83");
    });
}

#[test]
fn a_taken_port_and_a_foreign_address_are_told_apart() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        let holder = UdpSocket::bind((OWN, PORT)).unwrap();
        let error = node.refusal(socket()).await;
        assert_eq!(error.kind, KernelErrorKind::Taken);
        assert!(error.message.contains("ss -ulpn sport = :8285"), "{error}");
        drop(holder);
        node.ensure(socket()).await;

        let elsewhere = KernelObject::Socket(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), PORT));
        assert_eq!(node.refusal(elsewhere).await.kind, KernelErrorKind::NotFound);
    });
}

#[test]
fn objects_that_vanish_cast_doubt_and_can_be_made_again() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        ensure_all(&mut node).await;
        node.is_quiet().await;

        ip("route del 10.50.0.0/16");
        node.doubts("a lost route").await;
        node.ensure(route()).await;

        // With a device's last address the kernel drops its routes.
        ip("addr del 10.50.1.0/32 dev flannel0");
        node.doubts("a lost address").await;
        node.ensure(address()).await;
        node.ensure(route()).await;

        ip("link set flannel0 mtu 1300");
        node.doubts("another MTU").await;
        node.ensure(tun()).await;

        ip("link set flannel0 down");
        node.doubts("a device that is down").await;
        node.ensure(tun()).await;
        node.ensure(route()).await;
        node.is_quiet().await;

        ip("link del flannel0");
        assert!(matches!(node.event().await, KernelEvent::LinkVanished(name) if name == name_of_tun()));
        node.settle().await;
        ensure_all(&mut node).await;

        assert_eq!(ip("route show").trim(), "10.50.0.0/16 dev flannel0 proto 83");
        assert_carries(&node);
    });
}

#[test]
fn packets_cross_the_tunnel_both_ways() {
    need!(root, tun, ip);

    in_namespace(async || {
        let mut node = Node::new();
        ensure_all(&mut node).await;

        assert_carries(&node);

        let report = node.probe.report().await.unwrap();
        assert_eq!(
            (report.packets.sent, report.packets.delivered),
            (1, 1),
            "{report}"
        );
    });
}

/// Sends a packet from a pod into the tunnel and one back, at the other end of which the test is the peer.
fn assert_carries(node: &Node) {
    node.table.store(Some(Arc::new(ForwardingTable::new(
        TunnelParams {
            network: "10.50.0.0/16".parse().unwrap(),
            subnet: "10.50.1.0/24".parse().unwrap(),
            address: Ipv4Addr::new(10, 50, 1, 0),
            mtu: 1472,
            port: PORT,
            membership: Membership::Enforce,
        },
        [("10.50.2.0/24".parse().unwrap(), PEER)],
    ))));
    let peer = listening((PEER, PORT));
    let pod = listening((OWN_POD, 7000));

    pod.send_to(b"there", (PEER_POD, 7001)).unwrap();
    let mut wire = [0; 2000];
    let (length, from) = peer.recv_from(&mut wire).unwrap();
    assert_eq!(from, (OWN, PORT).into());
    let inner = Ipv4HeaderSlice::from_slice(&wire[..length]).unwrap();
    assert_eq!(
        (inner.source_addr(), inner.destination_addr()),
        (OWN_POD, PEER_POD)
    );
    assert_eq!(inner.ttl(), 63);
    assert!(wire[..length].ends_with(b"there"));

    let builder = PacketBuilder::ipv4(PEER_POD.octets(), OWN_POD.octets(), 63).udp(7001, 7000);
    let mut back = vec![0; builder.size(4)];
    builder.write_to_slice(&mut back, b"back").unwrap();
    peer.send_to(&back, (OWN, PORT)).unwrap();
    let mut payload = [0; 100];
    let (length, from) = pod.recv_from(&mut payload).unwrap();
    assert_eq!(
        (&payload[..length], from),
        (&b"back"[..], (PEER_POD, 7001).into())
    );
}

fn listening(local: (Ipv4Addr, u16)) -> UdpSocket {
    let socket = UdpSocket::bind(local).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

async fn ensure_all(node: &mut Node) {
    for object in objects() {
        node.ensure(object).await;
    }
}

fn objects() -> Vec<KernelObject> {
    let accept_local = KernelObject::Sysctl(Sysctl {
        link: name_of_tun(),
        version: IpVersion::V4,
        key: "accept_local".into(),
        value: "1".into(),
    });
    let file = KernelObject::SubnetFile(SubnetFile {
        v4: Some(("10.50.0.0/16".parse().unwrap(), "10.50.1.0/24".parse().unwrap())),
        v6: None,
        mtu: 1472,
        masquerade: Masquerade::Off,
    });
    vec![socket(), tun(), accept_local, address(), route(), file]
}

fn socket() -> KernelObject {
    KernelObject::Socket(SocketAddrV4::new(OWN, PORT))
}

fn tun() -> KernelObject {
    KernelObject::Link(Link {
        name: name_of_tun(),
        kind: LinkKind::Tun,
        mtu: 1472,
        alias: "selvedge 10.50.0.0/16".to_owned(),
    })
}

fn address() -> KernelObject {
    KernelObject::Address(Address {
        link: name_of_tun(),
        net: "10.50.1.0/32".parse().unwrap(),
    })
}

fn route() -> KernelObject {
    KernelObject::Route(Route::new(
        "10.50.0.0/16".parse().unwrap(),
        NextHop::Link(name_of_tun()),
    ))
}

fn name_of_tun() -> LinkName {
    LinkName("flannel0".to_owned())
}

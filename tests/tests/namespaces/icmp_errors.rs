//! ICMP errors reach the pod whose packet caused them; flannel's never do (backends.md, 3.7).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Slice, Icmpv4Type, Ipv4HeaderSlice, Ipv4Slice};
use selvedge_host::lab::Place;
use selvedge_tests::capture::Capture;
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node};

use crate::PROGRAM;

const SOON: Duration = Duration::from_secs(5);
/// Nobody listens there.
const PORT: u16 = 33_434;

#[test]
fn a_destination_without_lease_is_unreachable() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-noroute", 2, PROGRAM);
    let nowhere = unleased(&real);

    let error = provoke(&real, nowhere, 64, b"anybody there?").expect("an ICMP error arrives");

    assert_eq!(
        error.kind,
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Network)
    );
    assert_eq!(
        error.from,
        real.subnet_address(1),
        "from this node's end of the tunnel"
    );
    assert_eq!(
        (error.about_source, error.about_destination),
        (real.pod(1), nowhere)
    );
}

#[test]
fn a_traceroute_sees_every_hop() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-trace", 2, PROGRAM);

    let hops: Vec<Option<IcmpError>> = (1..=5)
        .map(|ttl| provoke(&real, real.pod(2), ttl, b"which way?"))
        .collect();

    let gateway = real
        .lab
        .pod_network(node(1))
        .expect("the subnet file")
        .gateway
        .addr();
    let expected = [
        ("node 1", gateway),
        ("the sending daemon", real.subnet_address(1)),
        ("the receiving daemon", real.subnet_address(2)),
        ("node 2", real.subnet_address(2)),
    ];
    for ((who, address), hop) in expected.into_iter().zip(&hops) {
        let hop = hop.as_ref().unwrap_or_else(|| panic!("{who} is silent"));
        assert!(matches!(hop.kind, Icmpv4Type::TimeExceeded(_)), "{who}: {hop:?}");
        assert_eq!(hop.from, address, "{who}");
        assert_eq!(
            (hop.about_source, hop.about_destination),
            (real.pod(1), real.pod(2)),
            "{who}"
        );
    }
    let last = hops.last().and_then(Option::as_ref).expect("the pod answers");
    assert_eq!(
        last.kind,
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Port)
    );
    assert_eq!(last.from, real.pod(2));
}

#[test]
fn a_packet_too_big_for_the_tunnel_is_answered_with_its_mtu() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-big", 2, PROGRAM);
    let (host, pod) = (
        real.lab.namespace(Place::Node(node(1))),
        real.lab.namespace(Place::Pod(node(1))),
    );
    for device in ["pod", "cni0"] {
        host.ip(&["link", "set", device, "mtu", "1500"]).expect("set");
    }
    pod.ip(&["link", "set", "eth0", "mtu", "1500"]).expect("set");

    // 20 bytes of IPv4 and 8 of UDP make it 1473: one more than the tunnel takes. UDP sets DF by default (ip(7)).
    let error = provoke(&real, real.pod(2), 64, &[0x5e; 1445]).expect("an ICMP error arrives");

    let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1472 };
    assert_eq!(error.kind, Icmpv4Type::DestinationUnreachable(needed));
    assert_eq!(
        (error.about_source, error.about_destination),
        (real.pod(1), real.pod(2))
    );
}

#[derive(Debug)]
struct IcmpError {
    from: Ipv4Addr,
    kind: Icmpv4Type,
    about_source: Ipv4Addr,
    about_destination: Ipv4Addr,
}

/// Sends a datagram from pod 1 and returns the ICMP error that the pod then gets.
fn provoke(real: &RealNodes, to: Ipv4Addr, ttl: u32, payload: &[u8]) -> Option<IcmpError> {
    let pod = real.lab.namespace(Place::Pod(node(1)));
    let errors = Capture::of_icmp(&pod);
    let socket = pod.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let socket = socket.expect("the pod is there").expect("a socket");
    socket.set_ttl(ttl).expect("a TTL");
    socket.send_to(payload, (IpAddr::from(to), PORT)).expect("sent");
    errors.find(SOON, |message| {
        let packet = Ipv4Slice::from_slice(message).ok()?;
        let icmp = Icmpv4Slice::from_slice(packet.payload().payload).ok()?;
        assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
        let about = Ipv4HeaderSlice::from_slice(icmp.payload()).ok()?;
        Some(IcmpError {
            from: packet.header().source_addr(),
            kind: icmp.icmp_type(),
            about_source: about.source_addr(),
            about_destination: about.destination_addr(),
        })
    })
}

/// Returns an address of the overlay that no lease covers.
fn unleased(real: &RealNodes) -> Ipv4Addr {
    let taken = [
        real.subnet_address(1).octets()[2],
        real.subnet_address(2).octets()[2],
    ];
    let free = (1..=255)
        .find(|third| !taken.contains(third))
        .expect("not all are taken");
    Ipv4Addr::new(10, 50, free, 9)
}

//! What is on the wire is what flannel puts there (backends.md, 3.3).

use std::net::Ipv4Addr;
use std::time::Duration;

use etherparse::{Icmpv4Slice, Icmpv4Type, IpNumber, Ipv4Slice, UdpSlice};
use selvedge_host::lab::{Pace, Place, ProbeStream};
use selvedge_tests::capture::Capture;
use selvedge_tests::need;
use selvedge_tests::real_nodes::{RealNodes, node, normalise};

use crate::PROGRAM;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_ping_between_pods_travels_as_flannel_sends_it() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-wire", 2, PROGRAM);
    let source = real.pod(1);
    let underlay = Capture::of_ipv4(&real.lab.namespace(Place::Node(node(2))));
    let pod = Capture::of_ipv4(&real.lab.namespace(Place::Pod(node(2))));

    let stream = ProbeStream::start(&real.lab.namespace(Place::Pod(node(1))), real.pod(2), Pace::QUICK);
    let lost = stream.expect("probes start").finish().lost();
    let on_the_wire = underlay.find(SOON, |packet| tunnelled(packet, source));
    let at_the_pod = pod.find(SOON, |packet| {
        Some(describe(&Ipv4Slice::from_slice(packet).ok()?))
    });

    assert_eq!(lost, 0);
    let (outer, inner) = on_the_wire.expect("a datagram is captured");
    let at_the_pod = at_the_pod.expect("a packet is captured");
    let seen = format!("outer  {outer}\ninner  {inner}\nat the pod  {at_the_pod}");
    insta::assert_snapshot!("ping_between_pods", normalise(&seen, &real));
}

#[test]
fn a_ping_from_a_node_carries_the_address_of_its_device() {
    need!(root, tun, ip, etcd);
    let real = RealNodes::up("t-wirehost", 2, PROGRAM);
    let source = real.subnet_address(1);
    let underlay = Capture::of_ipv4(&real.lab.namespace(Place::Node(node(2))));
    let pod = Capture::of_ipv4(&real.lab.namespace(Place::Pod(node(2))));

    let stream = ProbeStream::start(
        &real.lab.namespace(Place::Node(node(1))),
        real.pod(2),
        Pace::QUICK,
    );
    let lost = stream.expect("probes start").finish().lost();
    let on_the_wire = underlay.find(SOON, |packet| tunnelled(packet, source));
    let at_the_pod = pod.find(SOON, |packet| {
        Some(describe(&Ipv4Slice::from_slice(packet).ok()?))
    });

    assert_eq!(lost, 0);
    let (_, inner) = on_the_wire.expect("a datagram is captured");
    let seen = format!(
        "inner  {inner}\nat the pod  {}",
        at_the_pod.expect("a packet is captured")
    );
    insta::assert_snapshot!("ping_from_a_node", normalise(&seen, &real));
}

/// Describes a tunnel datagram that carries an echo request from `source`, and what it carries.
fn tunnelled(packet: &[u8], source: Ipv4Addr) -> Option<(String, String)> {
    let outer = Ipv4Slice::from_slice(packet).ok()?;
    if outer.header().protocol() != IpNumber::UDP {
        return None;
    }
    let udp = UdpSlice::from_slice(outer.payload().payload).ok()?;
    let inner = echo_request(udp.payload(), source)?;
    let ports = format!(
        "{} > {} length {}",
        udp.source_port(),
        udp.destination_port(),
        udp.length()
    );
    Some((format!("{} udp {ports}", describe(&outer)), inner))
}

/// Describes a packet that is an echo request from `source`.
fn echo_request(packet: &[u8], source: Ipv4Addr) -> Option<String> {
    let packet = Ipv4Slice::from_slice(packet).ok()?;
    let icmp = Icmpv4Slice::from_slice(packet.payload().payload).ok()?;
    let ours = packet.header().source_addr() == source;
    (ours && matches!(icmp.icmp_type(), Icmpv4Type::EchoRequest(_))).then(|| describe(&packet))
}

fn describe(packet: &Ipv4Slice<'_>) -> String {
    let header = packet.header();
    let checksum = header.to_header().calc_header_checksum();
    assert_eq!(header.header_checksum(), checksum, "the header is whole");
    format!(
        "{} > {} protocol {} total {} ihl {} tos {} df {} ttl {}",
        header.source_addr(),
        header.destination_addr(),
        header.protocol().0,
        header.total_len(),
        header.ihl(),
        header.dcp().value() << 2 | header.ecn().value(),
        u8::from(header.dont_fragment()),
        header.ttl(),
    )
}

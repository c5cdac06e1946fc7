use std::net::{Ipv4Addr, SocketAddrV4};

use selvedge_engine::{KernelObject, KernelOp, LinkName};

use super::fixture::{
    A, B, C, Node, PORT, ROUTER, attached, device, fdb_entry, flannel1, gateway_route, host_gw_node, make,
    neighbour, subnet_file, vxlan_node, vxlan_of,
};
use crate::checker::wire_format;
use crate::linux::{Ingress, Linux, LinuxDrop, Passage, Verdict};
use crate::node_id::NodeId;
use crate::packet;

#[test]
fn a_vxlan_datagram_is_as_on_the_wire_and_the_pod_at_its_other_end_gets_the_packet() {
    let (a, b) = (vxlan_node(A, &[B]), vxlan_node(B, &[A]));

    let Passage {
        verdict,
        packet: payload,
    } = only(a.handle_packet(Ingress::Pod, ping(A, B, 64)));
    let arrived = only(b.handle_vxlan(PORT, payload.clone()));

    let Verdict::Datagram { from, to } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(*from.ip(), A.address);
    assert_eq!(to, SocketAddrV4::new(B.address, PORT));
    let mut expected = vec![8, 0, 0, 0, 0, 0, 1, 0];
    expected.extend(B.mac.0);
    expected.extend(A.mac.0);
    expected.extend([8, 0]);
    expected.extend(ping(A, B, 63));
    assert_eq!(payload, expected);
    assert_eq!(wire_format::check_vxlan(NodeId::new(1), &payload), Ok(()));
    let expected = Passage {
        verdict: Verdict::Pod(B.pod()),
        packet: ping(A, B, 62),
    };
    assert_eq!(arrived, expected);
}

#[test]
fn without_an_entry_or_a_way_to_the_node_nothing_leaves() {
    let without = |object: KernelObject| {
        let mut linux = vxlan_node(A, &[B]);
        linux.apply(&KernelOp::Remove(object)).unwrap();
        reason(&linux.handle_packet(Ingress::Host, udp(A.vtep_v4(), B.pod())))
    };
    let mut cut_off = vxlan_node(A, &[B]);
    cut_off.detach();
    let mut moved = vxlan_node(A, &[B]);
    moved.move_to("192.0.2.7/24".parse().unwrap());

    let way = |linux: &Linux| reason(&linux.handle_packet(Ingress::Host, udp(A.vtep_v4(), B.pod())));

    assert_eq!(
        without(KernelObject::Neighbour(neighbour(B))),
        Some(LinuxDrop::NoNeighbour)
    );
    assert_eq!(
        without(KernelObject::FdbEntry(fdb_entry(B))),
        Some(LinuxDrop::NoFdbEntry)
    );
    assert_eq!(way(&cut_off), Some(LinuxDrop::NoUnderlay));
    assert_eq!(way(&moved), Some(LinuxDrop::NoUnderlay));
}

#[test]
fn a_vxlan_datagram_is_for_the_device_of_its_identifier_and_hardware_address() {
    let a = vxlan_node(A, &[B, C]);
    let payload = only(a.handle_packet(Ingress::Pod, ping(A, B, 64))).packet;
    let to_c = only(a.handle_packet(Ingress::Pod, ping(A, C, 64))).packet;
    let mut other_vni = payload.clone();
    other_vni[6] = 2;
    let mut without_vni = payload.clone();
    without_vni[0] = 0;
    let b = vxlan_node(B, &[A]);
    let mut down = b.clone();
    down.set_link_down(&flannel1());

    let refused = |payload: &[u8]| reason(&b.handle_vxlan(PORT, payload.to_vec()));

    assert_eq!(refused(&to_c), Some(LinuxDrop::OtherHost));
    assert_eq!(refused(&other_vni), Some(LinuxDrop::NoDevice));
    assert_eq!(refused(&without_vni), Some(LinuxDrop::Malformed));
    assert_eq!(refused(&payload[..12]), Some(LinuxDrop::Malformed));
    assert!(b.takes_vxlan_on(PORT) && !b.takes_vxlan_on(PORT + 1));
    assert!(!down.takes_vxlan_on(PORT));
}

#[test]
fn a_device_whose_hardware_address_was_rewritten_takes_nothing_that_is_for_the_old_one() {
    let payload = only(vxlan_node(A, &[B]).handle_packet(Ingress::Pod, ping(A, B, 64))).packet;
    let mut b = vxlan_node(B, &[A]);

    b.set_link_mac(&flannel1(), C.mac);

    assert_eq!(reason(&b.handle_vxlan(PORT, payload)), Some(LinuxDrop::OtherHost));
}

#[test]
fn a_packet_that_is_too_large_for_the_vxlan_device_is_answered_with_its_mtu() {
    let a = vxlan_node(A, &[B]);
    let fits = packet::udp(A.pod(), B.pod(), 64, &[0; 1450 - 28]);
    let too_large = packet::udp(A.pod(), B.pod(), 64, &[0; 1451 - 28]);

    let passed = a.handle_packet(Ingress::Pod, fits);
    let refused = a.handle_packet(Ingress::Pod, too_large);

    assert_eq!(only(passed).packet.len(), 8 + 14 + 1450);
    let [dropped, error] = &refused[..] else {
        panic!("{refused:?}");
    };
    assert_eq!(dropped.verdict, Verdict::Dropped(LinuxDrop::TooBig));
    assert_eq!(error.packet[20..28][4..], [0, 0, 0x05, 0xaa]);
    assert_eq!(error.verdict, Verdict::Pod(A.pod()));
}

#[test]
fn a_pod_is_told_that_a_host_is_unreachable_whose_neighbour_entry_is_missing() {
    let mut a = vxlan_node(A, &[B]);
    a.apply(&KernelOp::Remove(KernelObject::Neighbour(neighbour(B))))
        .unwrap();

    let passages = a.handle_packet(Ingress::Pod, ping(A, B, 64));

    let [_, error] = &passages[..] else {
        panic!("{passages:?}");
    };
    assert_eq!([error.packet[20], error.packet[21]], [3, 1]);
}

#[test]
fn the_nodes_own_packets_into_the_vxlan_device_keep_their_time_to_live() {
    let (a, b) = (vxlan_node(A, &[B]), vxlan_node(B, &[A]));

    let payload = only(a.handle_packet(Ingress::Host, udp(A.vtep_v4(), B.pod()))).packet;
    let arrived = only(b.handle_vxlan(PORT, payload));

    assert_eq!(packet::ttl(&arrived.packet), Some(packet::TTL - 1));
}

#[test]
fn a_peer_beyond_a_router_gets_vxlan_datagrams_by_the_default_route() {
    let a = vxlan_node(A, &[C]);

    let passage = only(a.handle_packet(Ingress::Pod, ping(A, C, 64)));

    assert!(matches!(passage.verdict, Verdict::Datagram { to, .. } if *to.ip() == C.address));
}

#[test]
fn a_gateway_on_the_segment_gets_the_packet_as_it_is() {
    let (a, b) = (host_gw_node(A, &[B]), host_gw_node(B, &[A]));

    let sent = only(a.handle_packet(Ingress::Pod, ping(A, B, 64)));
    let arrived = only(b.handle_packet(Ingress::Underlay, sent.packet.clone()));

    let expected = Passage {
        verdict: Verdict::Frame { next_hop: B.address },
        packet: ping(A, B, 63),
    };
    assert_eq!(sent, expected);
    assert_eq!(wire_format::check_frame(NodeId::new(1), &sent.packet), Ok(()));
    let expected = Passage {
        verdict: Verdict::Pod(B.pod()),
        packet: ping(A, B, 62),
    };
    assert_eq!(arrived, expected);
}

#[test]
fn direct_routing_uses_the_gateway_and_the_device_side_by_side() {
    let mut a = vxlan_node(A, &[C]);
    make(&mut a, [KernelObject::Route(gateway_route(B))]);

    let near = only(a.handle_packet(Ingress::Pod, ping(A, B, 64)));
    let far = only(a.handle_packet(Ingress::Pod, ping(A, C, 64)));

    assert_eq!(near.verdict, Verdict::Frame { next_hop: B.address });
    assert!(matches!(far.verdict, Verdict::Datagram { .. }));
    // A reply comes as it likes: the device takes what the peer sends in VXLAN although the way there is direct.
    let mut b = vxlan_node(B, &[A]);
    make(&mut b, [subnet_file(B, 1450)]);
    let reply = only(b.handle_packet(Ingress::Pod, ping(B, A, 64)));
    assert_eq!(
        only(a.handle_vxlan(PORT, reply.packet)).verdict,
        Verdict::Pod(A.pod())
    );
}

#[test]
fn what_no_route_of_the_overlay_covers_goes_to_the_router() {
    let a = host_gw_node(A, &[B]);

    let passage = only(a.handle_packet(Ingress::Pod, ping(A, C, 64)));

    assert_eq!(passage.verdict, Verdict::Frame { next_hop: ROUTER });
}

#[test]
fn a_packet_goes_through_a_node_at_the_price_of_one_hop() {
    let b = host_gw_node(B, &[A]);
    let astray = ping(A, C, 63);

    let passage = only(b.handle_packet(Ingress::Underlay, astray));
    let expired = b.handle_packet(Ingress::Underlay, ping(C, A, 1));

    let expected = Passage {
        verdict: Verdict::Frame { next_hop: ROUTER },
        packet: ping(A, C, 62),
    };
    assert_eq!(passage, expected);
    assert_eq!(expired[0].verdict, Verdict::Dropped(LinuxDrop::TtlExceeded));
    // The error goes back by the router: no route leads to the pods of C.
    assert_eq!(expired[1].verdict, Verdict::Frame { next_hop: ROUTER });
}

#[test]
fn a_card_that_is_down_takes_nothing() {
    let mut b = host_gw_node(B, &[A]);

    b.detach();

    let passages = b.handle_packet(Ingress::Underlay, ping(A, B, 63));
    assert_eq!(reason(&passages), Some(LinuxDrop::NoDevice));
}

#[test]
fn a_second_device_with_another_port_takes_its_own_datagrams() {
    let mut b = vxlan_node(B, &[A]);
    let mut second = device(B);
    second.name = LinkName("vx2".to_owned());
    vxlan_of(&mut second).port = 4789;
    make(&mut b, [KernelObject::Link(second)]);
    let payload = only(vxlan_node(A, &[B]).handle_packet(Ingress::Pod, ping(A, B, 64))).packet;

    assert!(b.takes_vxlan_on(4789));
    assert_eq!(only(b.handle_vxlan(4789, payload)).verdict, Verdict::Pod(B.pod()));
}

#[test]
fn a_node_without_overlay_sends_nothing_but_to_the_router() {
    let mut a = attached(A);
    make(&mut a, [subnet_file(A, 1500)]);

    let passage = only(a.handle_packet(Ingress::Pod, ping(A, B, 64)));

    assert_eq!(passage.verdict, Verdict::Frame { next_hop: ROUTER });
}

impl Node {
    fn vtep_v4(self) -> Ipv4Addr {
        self.lease.network()
    }
}

fn ping(from: Node, to: Node, ttl: u8) -> Vec<u8> {
    packet::icmp_echo(from.pod(), to.pod(), ttl, packet::Echo::Request, b"ping")
}

fn udp(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    packet::udp(source, destination, packet::TTL, b"probe")
}

fn only(mut passages: Vec<Passage>) -> Passage {
    assert_eq!(passages.len(), 1, "{passages:?}");
    passages.swap_remove(0)
}

/// Returns why the first passage ended.
fn reason(passages: &[Passage]) -> Option<LinuxDrop> {
    match passages.first()?.verdict {
        Verdict::Dropped(drop) => Some(drop),
        Verdict::Tunnel
        | Verdict::Datagram { .. }
        | Verdict::Frame { .. }
        | Verdict::Pod(_)
        | Verdict::Host => None,
    }
}

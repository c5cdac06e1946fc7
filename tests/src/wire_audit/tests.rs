use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};

use super::*;

const NODES: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];
const PODS: [[u8; 4]; 2] = [[10, 50, 1, 2], [10, 50, 2, 2]];
const MTU: u32 = 1_472;
const TUNNEL: u16 = 8_285;

#[test]
fn whole_packets_with_full_checksums_are_in_order() {
    let mut auditor = auditor(WireKind::Cut);

    for packet in [tcp(1_000), udp(500), ping()] {
        auditor.judge(&frame(&packet, NO_GSO));
    }

    let findings = auditor.finish();
    assert_eq!(findings.faults, 0, "{findings}");
    assert_eq!((findings.datagrams, findings.super_packets), (3, 0));
    assert_eq!((findings.tcp, findings.udp, findings.icmp), (1, 1, 1));
}

#[test]
fn every_byte_of_a_packet_matters() {
    for packet in [tcp(40), udp(40), ping()] {
        for place in 0..packet.len() {
            let mut broken = packet.clone();
            broken[place] ^= 0x01;

            let findings = judged(WireKind::Cut, &[frame(&broken, NO_GSO)]);

            assert_eq!(findings.faults, 1, "byte {place}: {findings}");
        }
    }
}

#[test]
fn a_sum_over_the_pseudo_header_alone_is_no_checksum() {
    let mut partial = tcp(1_000);
    partial[36..38].copy_from_slice(&0x1234_u16.to_be_bytes());

    let findings = judged(WireKind::Cut, &[frame(&partial, NO_GSO)]);

    assert!(
        findings
            .to_string()
            .contains("a wrong TCP checksum from 10.50.1.2"),
        "{findings}"
    );
}

#[test]
fn too_much_too_little_and_two_packets_in_one_datagram_are_faults() {
    let large = tcp(1_433);
    let truncated = &tcp(100)[..120];
    let two = [udp(10), udp(10)].concat();

    for datagram in [&large, truncated, &two, &[][..]] {
        let findings = judged(WireKind::Cut, &[frame(datagram, NO_GSO)]);

        assert_eq!(findings.faults, 1, "{findings}");
    }
}

#[test]
fn a_super_packet_is_cut_and_belongs_on_a_whole_wire_alone() {
    let packets = [udp(500), udp(500), udp(100)];
    let gso = Gso {
        kind: GSO_UDP_L4,
        segment_len: 528,
    };
    let frame = frame(&packets.concat(), gso);

    let whole = judged(WireKind::Whole, std::slice::from_ref(&frame));
    let cut = judged(WireKind::Cut, &[frame]);

    assert_eq!(
        (whole.faults, whole.udp, whole.super_packets),
        (0, 3, 1),
        "{whole}"
    );
    assert_eq!((cut.faults, cut.datagrams), (1, 0), "{cut}");
}

#[test]
fn fragments_are_judged_together() {
    let packet = udp(1_000);
    let mut broken = packet.clone();
    broken[900] ^= 0xff;

    let right = judged(
        WireKind::Cut,
        &fragments(&packet).map(|part| frame(&part, NO_GSO)),
    );
    let wrong = judged(
        WireKind::Cut,
        &fragments(&broken).map(|part| frame(&part, NO_GSO)),
    );
    let lost = judged(WireKind::Cut, &[frame(&fragments(&packet)[0], NO_GSO)]);

    assert_eq!((right.faults, right.fragments, right.udp), (0, 2, 1), "{right}");
    assert_eq!((wrong.faults, lost.faults), (1, 1), "{wrong} {lost}");
}

const NO_GSO: Gso = Gso {
    kind: 0,
    segment_len: 0,
};

#[derive(Clone, Copy)]
struct Gso {
    kind: u8,
    segment_len: u16,
}

fn auditor(wire: WireKind) -> Auditor {
    Auditor::new(Expected {
        to: NODES[1].into(),
        port: TUNNEL,
        tunnel_mtu: MTU,
        wire,
    })
}

fn judged(wire: WireKind, frames: &[Vec<u8>]) -> Findings {
    let mut auditor = auditor(wire);
    for frame in frames {
        auditor.judge(frame);
    }
    auditor.finish()
}

fn frame(datagram: &[u8], gso: Gso) -> Vec<u8> {
    let [low, high] = gso.segment_len.to_ne_bytes();
    let vnet = [0, gso.kind, 0, 0, low, high, 0, 0, 0, 0];
    let frame = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(NODES[0], NODES[1], 64)
        .udp(TUNNEL, TUNNEL);
    let mut bytes = vec![0; frame.size(datagram.len())];
    frame.write_to_slice(&mut bytes, datagram).expect("a frame");
    [&vnet[..], &bytes].concat()
}

fn tcp(payload: usize) -> Vec<u8> {
    let packet = PacketBuilder::ipv4(PODS[0], PODS[1], 63).tcp(1, 2, 3, 4);
    let mut bytes = vec![0; packet.size(payload)];
    packet
        .write_to_slice(&mut bytes, &vec![0x5a; payload])
        .expect("a packet");
    bytes
}

fn udp(payload: usize) -> Vec<u8> {
    let packet = PacketBuilder::ipv4(PODS[0], PODS[1], 63).udp(1, 2);
    let mut bytes = vec![0; packet.size(payload)];
    packet
        .write_to_slice(&mut bytes, &vec![0x5a; payload])
        .expect("a packet");
    bytes
}

fn ping() -> Vec<u8> {
    let packet = PacketBuilder::ipv4(PODS[0], PODS[1], 63).icmpv4_echo_request(1, 2);
    let mut bytes = vec![0; packet.size(56)];
    packet.write_to_slice(&mut bytes, &[0x5a; 56]).expect("a packet");
    bytes
}

/// Cuts a packet without options into two fragments.
fn fragments(packet: &[u8]) -> [Vec<u8>; 2] {
    let (header, payload) = Ipv4Header::from_slice(packet).expect("a packet");
    let (first, second) = payload.split_at(512);
    let fragment = |offset: u16, is_last: bool, payload: &[u8]| {
        let mut header = header.clone();
        header.dont_fragment = false;
        header.more_fragments = !is_last;
        header.fragment_offset = IpFragOffset::try_new(offset).expect("an offset");
        header.set_payload_len(payload.len()).expect("a length");
        header.header_checksum = header.calc_header_checksum();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    };
    [fragment(0, false, first), fragment(64, true, second)]
}

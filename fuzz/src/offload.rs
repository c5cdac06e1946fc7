//! Segmentation and coalescing: each against the other, and both judged by another parser.

use std::ops::Range;

use etherparse::checksum::Sum16BitWords;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use selvedge_engine::{
    Coalescer, CoalescerOptions, Ecn, GsoKind, Merging, OffloadError, Segmentation, SuperPacket, VnetHeader,
};

/// The most packets of one item.
const MAX_SEGMENTS: usize = 64;
/// The flags of TCP that matter.
const FIN_OR_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// Cuts what a TUN device gives, or merges what peers send; the first byte says how, the rest is the input.
///
/// Of the first byte, the bits from the lowest on: packets of peers instead of what a device gives; lengths and
/// checksums made right; TCP is merged; UDP is merged.
///
/// What a device gives is a vnet header and a packet. The packets of peers are a length each, and as many bytes; a
/// length of 128 and more stands for the continuation of the last packet by a payload of what is above 128, in which
/// the byte at the next place is changed by the one after.
///
/// # Panics
///
/// If a segment is invalid, if a packet is lost, invented or overtaken, or one that is passed on alone is changed.
pub fn offload(data: &[u8]) {
    let Some((&how, input)) = data.split_first() else {
        return;
    };
    if how & 0x01 == 0 {
        check_device(how, input);
    } else {
        check_peers(how, input);
    }
}

fn check_device(how: u8, input: &[u8]) {
    let Some((header, packet)) = input.split_first_chunk::<{ VnetHeader::LEN }>() else {
        return;
    };
    let (mut header, mut packet) = (*header, packet.to_vec());
    if how & 0x02 != 0 {
        make_right(&mut packet);
        describe(&mut header, &packet);
    }
    let Ok(header) = VnetHeader::parse(&header) else {
        return;
    };
    assert_eq!(VnetHeader::parse(&header.to_bytes()), Ok(header));
    let before = packet.clone();
    match Segmentation::prepare(&header, &mut packet) {
        Ok(Segmentation::Whole) => check_whole(&header, &before, &packet),
        Ok(Segmentation::Cut(super_packet)) => {
            assert_eq!(before, packet);
            check_cut(&header, &super_packet, &packet);
        }
        Err(error) => {
            assert!(OffloadError::ALL.contains(&error));
            assert_eq!(before, packet);
        }
    }
}

/// Checks that nothing but the checksum of a packet was changed, and that it was if it is to be.
fn check_whole(header: &VnetHeader, before: &[u8], packet: &[u8]) {
    let checksum = match header {
        VnetHeader::Complete => {
            assert_eq!(before, packet);
            return;
        }
        VnetHeader::Partial(checksum) => checksum,
        VnetHeader::Super { checksum, .. } => {
            assert_valid(packet);
            checksum
        }
    };
    let at = usize::from(checksum.start) + usize::from(checksum.offset);
    let mut undone = packet.to_vec();
    undone[at..at + 2].copy_from_slice(&before[at..at + 2]);
    assert_eq!(undone, before);
}

fn check_cut(header: &VnetHeader, super_packet: &SuperPacket, packet: &[u8]) {
    let segments = segments(super_packet, packet);
    assert!(segments.len() > 1);
    let (whole_headers, whole_payload) = split(packet);
    let mut payloads = Vec::new();
    for segment in &segments {
        assert_valid(segment);
        let (headers, payload) = split(segment);
        assert_eq!(headers.len(), whole_headers.len());
        assert!(segment.len() <= super_packet.segment_len());
        payloads.extend_from_slice(payload);
    }
    assert_eq!(payloads, whole_payload);

    let outputs = coalesce(0x0c, &segments);
    assert_eq!(
        canonical_all(&cut_all(&outputs)),
        canonical_all(&segments),
        "what was merged is cut differently"
    );
    let is_plain = !is_extended(packet);
    if is_plain && segments.len() <= MAX_SEGMENTS {
        let [output] = &outputs[..] else {
            panic!("what was cut is not merged: {outputs:?}");
        };
        check_merged(header, packet, output);
    }
}

/// Checks that the segments of a super-packet became what they were cut from.
fn check_merged(header: &VnetHeader, packet: &[u8], output: &Output) {
    let (VnetHeader::Super { gso, checksum, .. }, VnetHeader::Super { gso: merged, .. }) =
        (header, &output.header)
    else {
        panic!("a super-packet has no vnet header of one: {output:?}");
    };
    assert_eq!(without_ecn(gso.kind), without_ecn(merged.kind));
    assert_eq!(gso.size, merged.size);
    let at = usize::from(checksum.start) + usize::from(checksum.offset);
    let mut expected = packet.to_vec();
    // The partial checksum of the device may be anything.
    expected[at..at + 2].copy_from_slice(&output.packet[at..at + 2]);
    // Zero has two forms.
    if packet[0] >> 4 == 4 {
        expected[10..12].copy_from_slice(&output.packet[10..12]);
    }
    assert_eq!(expected, output.packet);
}

fn without_ecn(kind: GsoKind) -> GsoKind {
    match kind {
        GsoKind::TcpV4(_) => GsoKind::TcpV4(Ecn::Plain),
        GsoKind::TcpV6(_) => GsoKind::TcpV6(Ecn::Plain),
        GsoKind::Udp => GsoKind::Udp,
    }
}

fn check_peers(how: u8, input: &[u8]) {
    let packets = read_packets(how, input);
    let outputs = coalesce(how, &packets);

    assert!(outputs.is_sorted_by_key(|output| output.first.start));
    for output in &outputs {
        if output.segments == 1 {
            assert_eq!(output.header, VnetHeader::Complete);
            assert!(packets.contains(&output.packet), "a packet was changed");
        } else {
            assert!(output.segments <= MAX_SEGMENTS);
            for packet in cut_all(std::slice::from_ref(output)) {
                assert_valid(&packet);
            }
        }
    }
    let cut = cut_all(&outputs);
    let sorted = |packets| {
        let mut packets = canonical_all(packets);
        packets.sort_unstable();
        packets
    };
    assert_eq!(sorted(&cut), sorted(&packets), "a packet was lost or invented");
    for packet in &packets {
        assert_eq!(
            in_order_with(&cut, packet),
            in_order_with(&packets, packet),
            "a packet was overtaken"
        );
    }
}

/// What came out of a coalescer.
#[derive(Debug)]
struct Output {
    header: VnetHeader,
    first: Range<usize>,
    packet: Vec<u8>,
    segments: usize,
}

fn coalesce(how: u8, packets: &[Vec<u8>]) -> Vec<Output> {
    let merging = |bit| if how & bit == 0 { Merging::Off } else { Merging::On };
    let mut coalescer = Coalescer::new(CoalescerOptions {
        capacity: packets.len(),
        tcp: merging(0x04),
        udp: merging(0x08),
    });
    let mut arena = packets.concat();
    let mut end = 0;
    for packet in packets {
        let start = end;
        end += packet.len();
        coalescer
            .push(&arena, start..end)
            .expect("there is room for all packets");
    }
    assert!(coalescer.is_full());
    let mut outputs = Vec::new();
    coalescer.flush(&mut arena, |coalesced, arena| {
        let ranges: Vec<_> = coalesced.ranges().collect();
        assert_eq!(ranges.len(), coalesced.segments());
        outputs.push(Output {
            header: coalesced.header(),
            first: ranges[0].clone(),
            packet: ranges
                .into_iter()
                .flat_map(|range| arena[range].to_vec())
                .collect(),
            segments: coalesced.segments(),
        });
    });
    outputs
}

/// Cuts super-packets, and leaves packets as they are.
fn cut_all(outputs: &[Output]) -> Vec<Vec<u8>> {
    let cut = |output: &Output| {
        let mut packet = output.packet.clone();
        match Segmentation::prepare(&output.header, &mut packet) {
            Ok(Segmentation::Whole) => vec![packet],
            Ok(Segmentation::Cut(super_packet)) => segments(&super_packet, &packet),
            Err(error) => panic!("what was merged cannot be cut: {error}"),
        }
    };
    outputs.iter().flat_map(cut).collect()
}

fn segments(super_packet: &SuperPacket, packet: &[u8]) -> Vec<Vec<u8>> {
    let segment = |index| {
        let mut segment = vec![0; super_packet.header_len()];
        super_packet
            .write_header(packet, index, &mut segment)
            .expect("the segment exists");
        segment.extend_from_slice(&packet[super_packet.payload(index)]);
        segment
    };
    (0..super_packet.segments()).map(segment).collect()
}

/// Reads the packets of peers from the input.
fn read_packets(how: u8, input: &[u8]) -> Vec<Vec<u8>> {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut rest = input;
    while let Some((&len, tail)) = rest.split_first() {
        if len < 128 {
            let (packet, tail) = tail.split_at(tail.len().min(usize::from(len)));
            let mut packet = packet.to_vec();
            if how & 0x02 != 0 {
                make_right(&mut packet);
            }
            packets.push(packet);
            rest = tail;
        } else {
            let Some((&[place, change], tail)) = tail.split_first_chunk() else {
                break;
            };
            let next = packets
                .last()
                .and_then(|last| continuation(last, usize::from(len - 128)));
            let mut next = next.unwrap_or_default();
            if let Some(byte) = next.get_mut(usize::from(place)) {
                *byte ^= change;
            }
            make_right(&mut next);
            packets.push(next);
            rest = tail;
        }
    }
    packets
}

/// Makes the packet that a sender sends after another, with a payload of so many bytes.
fn continuation(last: &[u8], payload_len: usize) -> Option<Vec<u8>> {
    let (protocol, at) = transport(last)?;
    let header_len = match protocol {
        6 => usize::from(last.get(at + 12)? >> 4) * 4,
        _ => 8,
    };
    let payload = last.get(at + header_len..)?;
    let mut next = last.get(..at + header_len)?.to_vec();
    if last[0] >> 4 == 4 {
        let id = u16::from_be_bytes([last[4], last[5]]).wrapping_add(1);
        next[4..6].copy_from_slice(&id.to_be_bytes());
    }
    if protocol == 6 {
        let sequence = u32::from_be_bytes(*next.get(at + 4..)?.first_chunk()?);
        let sent = u32::try_from(payload.len()).ok()?;
        let sequence = sequence.wrapping_add(sent).to_be_bytes();
        next.get_mut(at + 4..at + 8)?.copy_from_slice(&sequence);
        *next.get_mut(at + 13)? &= !(FIN_OR_PSH | CWR);
    }
    next.resize(next.len() + payload_len, 0xa5);
    Some(next)
}

/// Writes the lengths and checksums that random bytes never hit on, as far as there are fields for them.
fn make_right(packet: &mut [u8]) {
    let Ok(len) = u16::try_from(packet.len()) else {
        return;
    };
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 => packet[2..4].copy_from_slice(&len.to_be_bytes()),
        Some(6) if packet.len() >= 40 => packet[4..6].copy_from_slice(&(len - 40).to_be_bytes()),
        _ => return,
    }
    if let Some((17, at)) = transport(packet)
        && let Some(field) = packet.get_mut(at + 4..at + 6)
    {
        let len = len - u16::try_from(at).unwrap_or(len);
        field.copy_from_slice(&len.to_be_bytes());
    }
    let completed = completed(packet);
    packet.copy_from_slice(&completed);
}

/// Makes a vnet header say of a packet what is true, but for the size of segments.
fn describe(header: &mut [u8; VnetHeader::LEN], packet: &[u8]) {
    let Some((protocol, start)) = transport(packet) else {
        return;
    };
    let (gso_type, offset) = match (protocol, packet[0] >> 4) {
        (6, 4) => (1, 16_u16),
        (6, _) => (4, 16),
        _ => (5, 6),
    };
    let start = u16::try_from(start).unwrap_or_default();
    header[0] = 1;
    header[1] = gso_type;
    header[6..8].copy_from_slice(&start.to_ne_bytes());
    header[8..10].copy_from_slice(&offset.to_ne_bytes());
}

/// Returns the packet with its checksums as the other parser computes them.
fn completed(packet: &[u8]) -> Vec<u8> {
    let mut completed = packet.to_vec();
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    if packet[0] >> 4 == 4 && (20..=packet.len()).contains(&header_len) {
        completed[10..12].copy_from_slice(&[0, 0]);
        let sum = Sum16BitWords::new().add_slice(&completed[..header_len]);
        completed[10..12].copy_from_slice(&sum.ones_complement().to_ne_bytes());
    }
    let Ok(sliced) = SlicedPacket::from_ip(packet) else {
        return completed;
    };
    if ip_len(&sliced) != Some(packet.len()) {
        return completed;
    }
    let (field, checksum) = match (&sliced.net, &sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            (16, tcp.calc_checksum_ipv4(source, destination))
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            (16, tcp.calc_checksum_ipv6(source, destination))
        }
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            let header = udp.to_header();
            (
                6,
                header.calc_checksum_ipv4_raw(source, destination, udp.payload()),
            )
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
            let (source, destination) = (ip.header().source(), ip.header().destination());
            let header = udp.to_header();
            (
                6,
                header.calc_checksum_ipv6_raw(source, destination, udp.payload()),
            )
        }
        _ => return completed,
    };
    let payload_len = transport_payload(&sliced).map_or(0, <[u8]>::len);
    let header_len = match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => tcp.header_len(),
        _ => 8,
    };
    let at = packet.len() - payload_len - header_len + field;
    let checksum = checksum.expect("the packet is not too long");
    completed[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    completed
}

/// Checks that the packet is valid to another parser, lengths and checksums included.
fn assert_valid(packet: &[u8]) {
    let sliced = SlicedPacket::from_ip(packet).expect("a packet is valid");
    assert_eq!(ip_len(&sliced), Some(packet.len()));
    assert!(transport_payload(&sliced).is_some());
    assert_eq!(completed(packet), packet);
}

fn ip_len(sliced: &SlicedPacket<'_>) -> Option<usize> {
    match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => Some(usize::from(ip.header().total_len())),
        Some(NetSlice::Ipv6(ip)) => Some(40 + usize::from(ip.header().payload_length())),
        Some(NetSlice::Arp(_)) | None => None,
    }
}

/// Splits a valid packet into its headers and its payload.
fn split(packet: &[u8]) -> (&[u8], &[u8]) {
    let sliced = SlicedPacket::from_ip(packet).expect("a packet is valid");
    let payload = transport_payload(&sliced).expect("a packet is TCP or UDP");
    packet.split_at(packet.len() - payload.len())
}

fn transport_payload<'a>(sliced: &SlicedPacket<'a>) -> Option<&'a [u8]> {
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => Some(tcp.payload()),
        Some(TransportSlice::Udp(udp)) => Some(udp.payload()),
        _ => None,
    }
}

/// Returns the packets that must keep their order with the given one: those of its flow, and those of its addresses
/// that may belong to any flow.
fn in_order_with(packets: &[Vec<u8>], packet: &[u8]) -> Vec<Vec<u8>> {
    let (addresses, flow) = (addresses(packet), flow(packet));
    let belongs = |other: &&Vec<u8>| {
        let other_flow = self::flow(other);
        self::addresses(other) == addresses && (other_flow == flow || other_flow.is_none())
    };
    let packets = packets.iter().filter(belongs);
    packets.map(|packet| canonical(packet)).collect()
}

fn canonical_all(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| canonical(packet)).collect()
}

/// Returns the packet without what merging may change: the form of a right checksum of zero, and the
/// identification of a packet that must not be fragmented (RFC 6864, 4.1).
fn canonical(packet: &[u8]) -> Vec<u8> {
    if packet.is_empty() {
        return Vec::new();
    }
    let completed = completed(packet);
    let zero = |word: &[u8]| matches!(word, [0, 0] | [0xff, 0xff]);
    let is_right = packet
        .chunks(2)
        .zip(completed.chunks(2))
        .all(|(given, right)| given == right || zero(given) && zero(right));
    if !is_right {
        return packet.to_vec();
    }
    let mut canonical = completed;
    if packet[0] >> 4 == 4 && packet.len() >= 20 && packet[6] & 0x40 != 0 {
        canonical[4..6].copy_from_slice(&[0, 0]);
        canonical[10..12].copy_from_slice(&[0, 0]);
    }
    canonical
}

fn addresses(packet: &[u8]) -> Option<&[u8]> {
    match packet.first()? >> 4 {
        4 => packet.get(12..20),
        6 => packet.get(8..40),
        _ => None,
    }
}

/// Returns protocol and ports of what may be a whole packet of TCP or UDP.
fn flow(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (protocol, at) = transport(packet)?;
    Some((protocol, packet.get(at..at + 4)?))
}

/// Returns the protocol and the place of the header of what may be a whole packet of TCP or UDP.
fn transport(packet: &[u8]) -> Option<(u8, usize)> {
    let (protocol, at) = match packet.first()? >> 4 {
        4 if packet.len() >= 20 => (packet[9], usize::from(packet[0] & 0x0f) * 4),
        6 if packet.len() >= 40 => (packet[6], 40),
        _ => return None,
    };
    let is_fragment = packet[0] >> 4 == 4 && !matches!(packet[6..8], [0x00 | 0x40 | 0x80 | 0xc0, 0]);
    (matches!(protocol, 6 | 17) && !is_fragment).then_some((protocol, at))
}

fn is_extended(packet: &[u8]) -> bool {
    if packet[0] >> 4 == 4 {
        packet[0] & 0x0f != 5
    } else {
        matches!(packet[6], 0 | 60)
    }
}

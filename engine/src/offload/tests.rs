//! Segmentation and coalescing against each other, and against another parser.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::support::*;
use super::*;

proptest! {
    #[test]
    fn every_segment_is_a_valid_packet_and_their_payloads_are_the_super_packets(
        (sketch, size) in super_packets(),
    ) {
        let (header, packet) = sketch.super_packet(size);

        let segments = cut(&header, &packet).unwrap();

        let payloads: Vec<u8> = segments.iter().flat_map(|segment| payload(segment).to_vec()).collect();
        prop_assert_eq!(&payloads, &sketch.payload);
        prop_assert_eq!(segments.len(), sketch.payload.len().div_ceil(size));
        for segment in &segments {
            assert_valid(segment);
            prop_assert!(payload(segment).len() <= size);
        }
    }

    #[test]
    fn segments_are_as_they_would_be_sent_one_by_one((sketch, size) in super_packets()) {
        let (header, packet) = sketch.super_packet(size);

        let segments = cut(&header, &packet).unwrap();

        prop_assert_eq!(segments, ref_segments(&sketch, size));
    }

    #[test]
    fn what_is_cut_and_merged_is_what_it_was((sketch, size) in super_packets()) {
        let (header, packet) = sketch.super_packet(size);

        let outputs = coalesce(ALL, &cut(&header, &packet).unwrap());

        prop_assert_eq!(outputs.len(), 1);
        if sketch.payload.len() > size {
            prop_assert_eq!(outputs[0].header, header);
            prop_assert_eq!(&outputs[0].packet, &packet);
        } else {
            prop_assert_eq!(outputs[0].header, VnetHeader::Complete);
            prop_assert_eq!(&outputs[0].packet, &sketch.packet());
        }
    }

    #[test]
    fn nothing_is_lost_invented_or_overtaken_in_a_flow(steps in proptest::collection::vec(step(), 1..120)) {
        let packets = play(&steps);

        let outputs = coalesce(ALL, &packets);

        let cut = cut_all(&outputs);
        prop_assert_eq!(sorted(&cut), sorted(&packets));
        for packet in &packets {
            prop_assert_eq!(in_order_with(&cut, packet), in_order_with(&packets, packet));
        }
    }

    #[test]
    fn what_is_not_merged_is_not_changed(steps in proptest::collection::vec(step(), 1..120)) {
        let packets = play(&steps);

        let outputs = coalesce(ALL, &packets);

        for output in outputs {
            if output.segments == 1 {
                prop_assert_eq!(output.header, VnetHeader::Complete);
                prop_assert!(packets.contains(&output.packet));
            } else {
                prop_assert!(cut(&output.header, &output.packet).unwrap().iter().all(|packet| is_valid(packet)));
            }
        }
    }

    #[test]
    fn items_come_in_the_order_of_their_first_packets(steps in proptest::collection::vec(step(), 1..120)) {
        let mut arena = play(&steps).concat();
        let lens: Vec<_> = play(&steps).iter().map(Vec::len).collect();
        let mut coalescer = Coalescer::new(ALL);
        let mut end = 0;
        for len in lens {
            coalescer.push(&arena, end..end + len).unwrap();
            end += len;
        }

        let mut starts = Vec::new();
        coalescer.flush(&mut arena, |coalesced, _| {
            starts.extend(coalesced.ranges().next().map(|range| range.start));
        });

        prop_assert!(starts.is_sorted());
    }

    #[test]
    fn whatever_bytes_are_received_come_out_again(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let outputs = coalesce(ALL, &packets);

        let passed: Vec<_> = outputs.into_iter().map(|output| output.packet).collect();
        prop_assert_eq!(passed, packets);
    }
}

/// What the next packet of a flow is like.
#[derive(Clone, Debug)]
struct Step {
    flow: u8,
    kind: StepKind,
}

#[derive(Clone, Debug)]
enum StepKind {
    Next,
    Shorter,
    Longer,
    Empty,
    Again,
    Ahead,
    Flags(u8),
    Window,
    Options,
    Ttl,
    Numbered(u16),
    MayBeFragmented,
    Fragment,
    OtherProtocol,
    Corrupt(usize),
    WithoutChecksum,
}

/// Makes the packets of six flows, two of which are between the same hosts.
fn play(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut flows: Vec<_> = [
        Sketch::tcp(),
        Sketch {
            port: 9,
            ..Sketch::tcp()
        },
        Sketch::udp(),
        Sketch {
            host: 9,
            ..Sketch::udp()
        },
        Sketch::tcp().over_v6(),
        Sketch::udp().over_v6(),
    ]
    .map(|sketch| sketch.of(40))
    .into();
    for host in 20..28 {
        flows.push(Sketch {
            host,
            ..Sketch::udp().of(40)
        });
    }
    let mut packets = Vec::new();
    for step in steps {
        let flow = &mut flows[usize::from(step.flow)];
        let (packet, next) = play_step(flow, &step.kind);
        packets.push(packet);
        *flow = next;
    }
    packets
}

/// Returns a flow's packet and the sketch of the next one.
fn play_step(flow: &Sketch, kind: &StepKind) -> (Vec<u8>, Sketch) {
    let usual = flow.clone();
    let once = |sketch: Sketch| {
        (
            sketch.packet(),
            Sketch {
                payload: flow.payload.clone(),
                ..sketch.next()
            },
        )
    };
    let always = |sketch: Sketch| (sketch.packet(), sketch.next());
    let damaged = |damage: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = flow.packet();
        damage(&mut packet);
        (packet, flow.next())
    };
    match kind {
        StepKind::Next => always(usual),
        StepKind::Shorter => once(usual.of(17)),
        StepKind::Longer => once(usual.of(60)),
        StepKind::Empty => once(usual.of(0)),
        StepKind::Again => (usual.packet(), usual),
        StepKind::Ahead => (usual.next().packet(), usual),
        StepKind::Flags(flags) => {
            let (packet, next) = always(usual.with_flags(*flags));
            (packet, next.with_flags(ACK))
        }
        StepKind::Window => always(usual.with_tcp(|tcp| tcp.window ^= 1)),
        StepKind::Options => {
            always(usual.with_tcp(|tcp| tcp.options = std::vec![tcp.window.to_be_bytes()[1]; 4]))
        }
        StepKind::Ttl => always(Sketch {
            ttl: flow.ttl ^ 1,
            ..usual
        }),
        StepKind::Numbered(id) => always(usual.numbered(*id)),
        StepKind::MayBeFragmented => always(usual.fragmented(0)),
        StepKind::Fragment => (usual.clone().fragmented(0x2000).packet(), usual.next()),
        StepKind::OtherProtocol => damaged(&|packet| {
            let at = if packet[0] >> 4 == 4 { 9 } else { 6 };
            packet[at] = 132;
            *packet = completed(packet);
        }),
        StepKind::Corrupt(place) => damaged(&|packet| {
            let header_len = if packet[0] >> 4 == 4 { 20 } else { 40 };
            // A transport's byte, which the IPv4 checksum does not cover.
            let at = header_len + place % (packet.len() - header_len);
            packet[at] ^= 0x10;
        }),
        StepKind::WithoutChecksum => damaged(&|packet| {
            if packet[0] >> 4 == 4 && packet[9] == 17 {
                packet[26..28].copy_from_slice(&[0, 0]);
            }
        }),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        30 => Just(StepKind::Next),
        1 => Just(StepKind::Shorter),
        1 => Just(StepKind::Longer),
        1 => Just(StepKind::Empty),
        1 => Just(StepKind::Again),
        1 => Just(StepKind::Ahead),
        3 => (0..=u8::MAX).prop_map(StepKind::Flags),
        1 => prop_oneof![Just(ACK | PSH), Just(ACK | CWR), Just(ACK | FIN)].prop_map(StepKind::Flags),
        1 => Just(StepKind::Window),
        1 => Just(StepKind::Options),
        1 => Just(StepKind::Ttl),
        1 => any::<u16>().prop_map(StepKind::Numbered),
        1 => Just(StepKind::MayBeFragmented),
        1 => Just(StepKind::Fragment),
        1 => Just(StepKind::OtherProtocol),
        1 => any::<usize>().prop_map(StepKind::Corrupt),
        1 => Just(StepKind::WithoutChecksum),
    ];
    let flow = prop_oneof![6 => 0..3_u8, 2 => 3..6_u8, 1 => 6..14_u8];
    (flow, kind).prop_map(|(flow, kind)| Step { flow, kind })
}

/// Super-packets of all kinds, with the payload of their segments.
fn super_packets() -> impl Strategy<Value = (Sketch, usize)> {
    let payload_len = prop_oneof![1..300_usize, 1..60_000_usize];
    let segments = 1..=64_usize;
    (any_sketch(), payload_len, segments).prop_map(|(sketch, payload_len, segments)| {
        let size = payload_len.div_ceil(segments).max(1);
        (sketch.of(payload_len), size)
    })
}

fn any_sketch() -> impl Strategy<Value = Sketch> {
    (any_ip(), any_transport(), any::<(u8, u8, u8, u16)>()).prop_map(
        |(ip, transport, (ttl, type_of_service, host, port))| Sketch {
            ip,
            ttl,
            type_of_service,
            host,
            port,
            transport,
            payload: Vec::new(),
        },
    )
}

fn any_ip() -> impl Strategy<Value = Ip> {
    let v4 =
        (any::<u16>(), prop_oneof![Just(0), Just(0x4000), Just(0x8000)]).prop_map(|(id, fragmentation)| {
            Ip::V4 {
                id,
                fragmentation,
                options: Vec::new(),
            }
        });
    let v6 = any::<u16>().prop_map(|label| Ip::V6 {
        label,
        first: None,
        extensions: Vec::new(),
    });
    prop_oneof![v4, v6]
}

fn any_transport() -> impl Strategy<Value = SketchedTransport> {
    let options = (0..=10_usize).prop_flat_map(|words| proptest::collection::vec(any::<u8>(), words * 4));
    let flags = any::<u8>().prop_map(|flags| flags & (FIN | PSH | ACK | ECE | CWR));
    let tcp = (any::<(u32, u32, u16, u16)>(), flags, options);
    prop_oneof![
        Just(SketchedTransport::Udp),
        tcp.prop_map(|((sequence, acknowledgment, window, urgent), flags, options)| {
            SketchedTransport::Tcp(TcpSketch {
                sequence,
                acknowledgment,
                flags,
                window,
                urgent,
                options,
            })
        }),
    ]
}

/// Makes the packets that a super-packet stands for by the sender's rules.
fn ref_segments(sketch: &Sketch, size: usize) -> Vec<Vec<u8>> {
    let count = sketch.payload.chunks(size).count();
    let train = sketch.clone().of(size).train(count);
    let pieces = sketch.payload.chunks(size).enumerate();
    let segment = |(index, piece): (usize, &[u8])| {
        let segment = train[index].clone();
        let segment = Sketch {
            payload: piece.to_vec(),
            ..segment
        };
        if index + 1 < count {
            segment.with_tcp(|tcp| tcp.flags &= !(PSH | FIN)).packet()
        } else {
            segment.packet()
        }
    };
    pieces.map(segment).collect()
}

/// Cuts super-packets, and leaves packets as they are.
fn cut_all(outputs: &[Output]) -> Vec<Vec<u8>> {
    let cut = |output: &Output| cut(&output.header, &output.packet).unwrap();
    outputs.iter().flat_map(cut).collect()
}

fn sorted(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets: Vec<_> = packets.iter().map(|packet| comparable(packet)).collect();
    packets.sort_unstable();
    packets
}

/// Returns the packets that must keep their order with the given one: those of its flow, and those of its addresses
/// that may belong to any flow.
fn in_order_with(packets: &[Vec<u8>], packet: &[u8]) -> Vec<Vec<u8>> {
    let (addresses, flow) = (addresses(packet), flow(packet));
    let belongs = |other: &&Vec<u8>| {
        let other_flow = self::flow(other);
        self::addresses(other) == addresses && (other_flow == flow || other_flow.is_none())
    };
    packets
        .iter()
        .filter(belongs)
        .map(|packet| comparable(packet))
        .collect()
}

/// Returns the packet without its identification if that does not matter (RFC 6864, 4.1).
fn comparable(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].copy_from_slice(&[0, 0]);
        packet[10..12].copy_from_slice(&[0, 0]);
    }
    packet
}

fn addresses(packet: &[u8]) -> &[u8] {
    if packet[0] >> 4 == 4 {
        &packet[12..20]
    } else {
        &packet[8..40]
    }
}

/// Returns protocol and ports of whole packets of TCP and UDP.
fn flow(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (protocol, start, is_whole) = if packet[0] >> 4 == 4 {
        (packet[9], 20, matches!(packet[6..8], [0 | 0x40 | 0x80, 0]))
    } else {
        (packet[6], 40, true)
    };
    (is_whole && matches!(protocol, 6 | 17)).then(|| (protocol, &packet[start..start + 4]))
}

fn is_valid(packet: &[u8]) -> bool {
    completed(packet) == packet
}

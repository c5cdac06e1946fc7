use std::vec::Vec;

use super::super::support::*;
use super::super::vnet_header::PartialChecksum;
use super::*;

#[test]
fn segments_of_tcp_become_a_super_packet() {
    let first = Sketch::tcp().with_tcp(|tcp| tcp.options = [1; 12].into());
    let train = packets(&first.train(3));

    let outputs = coalesce(ALL, &train);

    let whole = Sketch {
        payload: train.iter().flat_map(|packet| payload(packet).to_vec()).collect(),
        ..first
    };
    let (header, packet) = whole.super_packet(100);
    let expected = Output {
        header,
        packet,
        segments: 3,
    };
    assert_eq!(outputs, [expected]);
}

#[test]
fn datagrams_become_a_super_packet() {
    let train = Sketch::udp().over_v6().train(3);

    let outputs = coalesce(ALL, &packets(&train));

    let VnetHeader::Super {
        gso,
        checksum,
        header_len,
    } = outputs[0].header
    else {
        panic!("it is a super-packet");
    };
    assert_eq!(counts(&outputs), [3]);
    assert_eq!((gso.kind, gso.size.get()), (GsoKind::Udp, 100));
    assert_eq!(checksum, PartialChecksum { start: 40, offset: 6 });
    assert_eq!(header_len, 48);
}

#[test]
fn a_packet_that_is_alone_is_not_changed() {
    for sketch in [
        Sketch::tcp(),
        Sketch::udp(),
        Sketch::tcp().over_v6(),
        Sketch::udp().over_v6(),
    ] {
        let packet = sketch.packet();

        let outputs = coalesce(ALL, core::slice::from_ref(&packet));

        assert_eq!(outputs, [alone(packet)]);
    }
}

#[test]
fn a_shorter_packet_is_the_last_one() {
    for first in kinds() {
        let mut train = first.train(4);
        train[2].payload.truncate(99);

        assert_eq!(counts_of(&packets(&train)), [3, 1]);
    }
}

#[test]
fn a_longer_packet_begins_an_item() {
    for first in kinds() {
        let second = first.next().of(101);
        let third = second.next();

        assert_eq!(counts_of(&packets(&[first, second, third])), [1, 2]);
    }
}

#[test]
fn push_and_fin_end_an_item_and_are_kept() {
    for flag in [PSH, FIN] {
        let mut train = Sketch::tcp().train(4);
        train[1] = train[1].clone().with_flags(ACK | flag);

        let outputs = coalesce(ALL, &packets(&train));

        assert_eq!(counts(&outputs), [2, 2]);
        assert_eq!(outputs[0].packet[33], ACK | flag);
        assert_eq!(outputs[1].packet[33], ACK);
    }
}

#[test]
fn nothing_is_merged_into_a_packet_with_push_or_fin() {
    for flag in [PSH, FIN] {
        let first = Sketch::tcp();
        let second = first.next();

        assert_eq!(
            counts_of(&packets(&[first.with_flags(ACK | flag), second])),
            [1, 1]
        );
    }
}

#[test]
fn reduced_congestion_windows_begin_an_item_alone() {
    let first = Sketch::tcp().with_flags(ACK | CWR);
    let second = first.next();
    let third = second.next().with_flags(ACK | CWR);
    let fourth = third.next();

    let outputs = coalesce(ALL, &packets(&[first, second, third, fourth]));

    assert_eq!(counts(&outputs), [2, 2]);
    for output in outputs {
        let VnetHeader::Super { gso, .. } = output.header else {
            panic!("it is a super-packet");
        };
        assert_eq!(gso.kind, GsoKind::TcpV4(Ecn::Cwr));
        assert_eq!(output.packet[33], ACK | CWR);
    }
}

#[test]
fn packets_with_other_flags_are_passed_on_alone_and_close_the_flows_item() {
    for flag in [SYN, RST, URG] {
        let mut train = Sketch::tcp().train(4);
        train[1] = train[1].clone().with_flags(ACK | flag);

        assert_eq!(counts_of(&packets(&train)), [1, 1, 2], "{flag:#x}");
    }
}

#[test]
fn packets_with_other_flags_are_not_merged_with_each_other() {
    for flag in [SYN, RST, URG] {
        let train = Sketch::tcp().with_flags(ACK | flag).train(3);

        assert_eq!(counts_of(&packets(&train)), [1, 1, 1], "{flag:#x}");
    }
}

#[test]
fn a_pure_acknowledgment_is_passed_on_alone_and_closes_the_flows_item() {
    let first = Sketch::tcp();
    let acknowledgment = first.next().of(0);
    let second = first.next();

    assert_eq!(
        counts_of(&packets(&[first, acknowledgment.clone(), second])),
        [1, 1, 1]
    );
    assert_eq!(
        counts_of(&packets(&[acknowledgment.clone(), acknowledgment])),
        [1, 1]
    );
}

#[test]
fn an_empty_datagram_and_one_without_checksum_are_passed_on_alone_and_close_the_flows_item() {
    let first = Sketch::udp();
    let mut without_checksum = first.next().packet();
    without_checksum[26..28].copy_from_slice(&[0, 0]);

    for middle in [first.clone().of(0).packet(), without_checksum] {
        let second = first.next();
        let train = [
            first.packet(),
            middle.clone(),
            second.packet(),
            second.next().packet(),
        ];

        let outputs = coalesce(ALL, &train);

        assert_eq!(counts(&outputs), [1, 1, 2]);
        assert_eq!(outputs[1], alone(middle));
    }
}

#[test]
fn a_datagram_without_checksum_is_not_merged_even_if_its_sum_is_right() {
    let first = Sketch::udp();
    let mut second = (0..=u16::MAX)
        .map(|word| {
            let mut second = first.next();
            second.payload[..2].copy_from_slice(&word.to_be_bytes());
            second.packet()
        })
        .find(|packet| packet[26..28] == [0xff, 0xff])
        .unwrap();
    second[26..28].copy_from_slice(&[0, 0]);

    let outputs = coalesce(ALL, &[first.packet(), second.clone()]);

    assert_eq!(outputs, [alone(first.packet()), alone(second)]);
}

#[test]
fn a_packet_with_a_wrong_checksum_is_passed_on_unchanged_and_closes_the_flows_item() {
    for first in kinds() {
        let train = first.train(4);
        let mut train = packets(&train);
        *train[1].last_mut().unwrap() ^= 1;

        let outputs = coalesce(ALL, &train);

        assert_eq!(counts(&outputs), [1, 1, 2]);
        assert_eq!(outputs[1], alone(train[1].clone()));
    }
}

#[test]
fn nothing_is_merged_into_a_packet_with_a_wrong_checksum() {
    for first in kinds() {
        let mut train = packets(&first.train(2));
        *train[0].last_mut().unwrap() ^= 1;

        let outputs = coalesce(ALL, &train);

        assert_eq!(outputs, train.into_iter().map(alone).collect::<Vec<_>>());
    }
}

#[test]
fn packets_that_differ_in_the_ip_header_are_not_merged() {
    for first in kinds() {
        let next = first.next();
        let differing = [
            Sketch {
                ttl: 62,
                ..next.clone()
            },
            Sketch {
                type_of_service: 1,
                ..next.clone()
            },
            Sketch {
                type_of_service: 0x10,
                ..next.clone()
            },
            next.clone().fragmented(0x0000),
            next.clone().fragmented(0xc000),
            next.clone().numbered(1_002),
            next.clone().numbered(999),
        ];

        for second in differing.into_iter().filter(|second| *second != next) {
            assert_eq!(
                counts_of(&packets(&[first.clone(), second.clone()])),
                [1, 1],
                "{second:?}"
            );
        }
    }
}

#[test]
fn packets_with_other_flow_labels_are_not_merged() {
    let first = Sketch::udp().over_v6();
    let mut second = first.next();
    second.ip = Ip::V6 {
        label: 0x4321,
        first: None,
        extensions: Vec::new(),
    };

    assert_eq!(counts_of(&packets(&[first, second])), [1, 1]);
}

#[test]
fn packets_that_differ_in_the_tcp_header_are_not_merged() {
    for first in [Sketch::tcp(), Sketch::tcp().over_v6()] {
        let first = first.with_tcp(|tcp| tcp.options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2].into());
        let next = first.next();
        let differing = [
            next.clone().with_tcp(|tcp| tcp.acknowledgment += 1),
            next.clone().with_tcp(|tcp| tcp.window += 1),
            next.clone().with_tcp(|tcp| tcp.urgent += 1),
            next.clone().with_tcp(|tcp| tcp.options[11] += 1),
            next.clone().with_tcp(|tcp| tcp.options.truncate(4)),
            next.clone().with_tcp(|tcp| tcp.options.clear()),
            next.clone().with_tcp(|tcp| tcp.sequence += 1),
            next.clone().with_tcp(|tcp| tcp.sequence -= 1),
            next.clone().with_tcp(|tcp| tcp.sequence -= 100),
            next.clone().with_tcp(|tcp| tcp.flags = 0),
            next.clone().with_flags(ACK | ECE),
            next.clone().with_flags(ACK | CWR),
        ];

        for second in differing {
            assert_eq!(
                counts_of(&packets(&[first.clone(), second.clone()])),
                [1, 1],
                "{second:?}"
            );
        }
    }
}

#[test]
fn reserved_bits_of_tcp_that_differ_are_not_merged() {
    let mut train = packets(&Sketch::tcp().train(2));
    train[1][32] |= 1;
    train[1] = completed(&train[1]);

    assert_eq!(counts_of(&train), [1, 1]);
}

#[test]
fn packets_of_other_flows_are_not_merged() {
    for first in kinds() {
        let next = first.next();
        let other_host = Sketch {
            host: 9,
            ..next.clone()
        };
        let other_port = Sketch { port: 9, ..next };

        assert_eq!(counts_of(&packets(&[first.clone(), other_host])), [1, 1]);
        assert_eq!(counts_of(&packets(&[first, other_port])), [1, 1]);
    }
}

#[test]
fn identifications_count_up_from_the_first_around_the_end() {
    let train = Sketch::udp().fragmented(0).numbered(u16::MAX).train(3);
    let mut jumps = train.clone();
    jumps[2] = jumps[2].clone().numbered(0);

    assert_eq!(counts_of(&packets(&train)), [3]);
    assert_eq!(counts_of(&packets(&jumps)), [2, 1]);
}

#[test]
fn identifications_that_stay_the_same_are_merged_if_the_packets_are_not_to_be_fragmented() {
    let atomic: Vec<_> = same_numbers(&Sketch::tcp());
    let others: Vec<_> = same_numbers(&Sketch::tcp().fragmented(0));
    let mut counting_later = atomic.clone();
    counting_later[2] = counting_later[2].clone().numbered(1_002);
    let mut counting_first = Sketch::tcp().train(3);
    counting_first[2] = counting_first[2].clone().numbered(1_000);

    assert_eq!(counts_of(&packets(&atomic)), [3]);
    assert_eq!(counts_of(&packets(&others)), [1, 1, 1]);
    assert_eq!(counts_of(&packets(&counting_later)), [2, 1]);
    assert_eq!(counts_of(&packets(&counting_first)), [2, 1]);
}

#[test]
fn packets_with_ip_options_or_extension_headers_are_not_merged() {
    let mut v4 = Sketch::tcp();
    v4.ip = Ip::V4 {
        id: 1,
        fragmentation: 0x4000,
        options: [1, 1, 1, 0].into(),
    };
    let mut v6 = Sketch::udp();
    v6.ip = Ip::V6 {
        label: 0,
        first: Some(60),
        extensions: [17, 0, 1, 4, 0, 0, 0, 0].into(),
    };

    for first in [v4, v6] {
        assert_eq!(counts_of(&packets(&first.train(2))), [1, 1]);
    }
}

#[test]
fn packets_without_a_readable_transport_close_every_item_between_their_addresses() {
    let fragment = Sketch::udp().fragmented(0x2001).packet();
    let mut icmp = Sketch::udp().packet();
    icmp[9] = 1;
    let icmp = completed(&icmp);
    let mut bad_header = Sketch::tcp().packet();
    bad_header[32] = 0x40;
    let bad_length = Sketch::udp().packet()[..120].to_vec();
    let mut with_options = Sketch::tcp();
    with_options.ip = Ip::V4 {
        id: 1,
        fragmentation: 0x4000,
        options: [1, 1, 1, 0].into(),
    };

    for middle in [fragment, icmp, bad_header, bad_length, with_options.packet()] {
        let firsts = [
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
        ];
        let seconds = firsts.clone().map(|first| first.next());
        let train = [packets(&firsts), [middle.clone()].into(), packets(&seconds)].concat();

        let outputs = coalesce(ALL, &train);

        // Only the item from the other host still grows.
        assert_eq!(counts(&outputs), [1, 1, 1, 2, 1, 1, 1, 1]);
        assert_eq!(outputs[4], alone(middle));
    }
}

#[test]
fn what_is_no_ip_packet_closes_every_item() {
    for middle in [&[][..], &[0x45; 19], &[0x60; 39], &[0x00; 60]] {
        let firsts = kinds();
        let seconds = firsts.clone().map(|first| first.next());
        let train = [packets(&firsts), [middle.to_vec()].into(), packets(&seconds)].concat();

        assert_eq!(counts_of(&train), [1; 9]);
    }
}

#[test]
fn a_packet_with_a_wrong_ipv4_checksum_is_passed_on_unchanged() {
    let mut train = packets(&Sketch::tcp().train(3));
    train[1][10] ^= 1;

    let outputs = coalesce(ALL, &train);

    assert_eq!(outputs, train.into_iter().map(alone).collect::<Vec<_>>());
}

#[test]
fn flows_grow_side_by_side_in_the_order_of_their_first_packets() {
    let trains = kinds().map(|first| first.train(3));
    let interleaved: Vec<_> = (0..3)
        .flat_map(|round| trains.iter().map(move |train| train[round].clone()))
        .collect();

    let outputs = coalesce(ALL, &packets(&interleaved));

    let kinds: Vec<_> = outputs.iter().map(|output| kind_of(&output.header)).collect();
    assert_eq!(counts(&outputs), [3; 4]);
    assert_eq!(kinds, self::kinds().map(|sketch| Some(sketch.kind())));
}

#[test]
fn the_oldest_of_eight_open_flows_gives_way_to_a_ninth() {
    let firsts: Vec<_> = (1..=9)
        .map(|host| Sketch {
            host,
            ..Sketch::udp()
        })
        .collect();
    let seconds: Vec<_> = firsts.iter().map(Sketch::next).collect();

    let oldest = coalesce(ALL, &packets(&[&firsts[..], &seconds[..1]].concat()));
    let others = coalesce(ALL, &packets(&[&firsts[..], &seconds[1..]].concat()));

    assert_eq!(counts(&oldest), [1; 10]);
    assert_eq!(counts(&others), [1, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn a_packet_that_nothing_may_follow_keeps_no_flow_from_growing() {
    let firsts: Vec<_> = (1..=8)
        .map(|host| Sketch {
            host,
            ..Sketch::udp()
        })
        .collect();
    let push = Sketch::tcp().with_flags(ACK | PSH);
    let oldest = firsts[0].next();

    let outputs = coalesce(ALL, &packets(&[firsts, [push, oldest].into()].concat()));

    assert_eq!(counts(&outputs), [2, 1, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn an_item_has_at_most_64_packets() {
    for first in kinds() {
        assert_eq!(counts_of(&packets(&first.train(130))), [64, 64, 2]);
    }
}

#[test]
fn an_item_is_at_most_as_long_as_an_ip_packet() {
    let fits = Sketch::udp().of(13_101).train(6);
    let exceeds = Sketch::udp().of(13_102).train(6);

    let longest = coalesce(ALL, &packets(&fits));
    let shorter = coalesce(ALL, &packets(&exceeds));

    assert_eq!(longest[0].packet.len(), 20 + 8 + 5 * 13_101);
    assert_eq!(counts(&longest), [5, 1]);
    assert_eq!(counts(&shorter), [4, 2]);
}

#[test]
fn the_longest_item_is_just_as_long_as_the_longest_packet() {
    let first = Sketch::udp().of(32_754);
    let fitting = first.next().of(32_753);
    let exceeding = first.next();

    let longest = coalesce(ALL, &packets(&[first.clone(), fitting]));
    let separate = coalesce(ALL, &packets(&[first, exceeding]));

    assert_eq!(longest[0].packet.len(), 65_535);
    assert_eq!(counts(&separate), [1, 1]);
}

#[test]
fn only_what_is_asked_for_is_merged() {
    let train = kinds().map(|first| first.train(2)).concat();
    let with = |tcp, udp| CoalescerOptions { tcp, udp, ..ALL };

    let tcp = coalesce(with(Merging::On, Merging::Off), &packets(&train));
    let udp = coalesce(with(Merging::Off, Merging::On), &packets(&train));
    let nothing = coalesce(with(Merging::Off, Merging::Off), &packets(&train));

    assert_eq!(counts(&tcp), [2, 1, 1, 2, 1, 1]);
    assert_eq!(counts(&udp), [1, 1, 2, 1, 1, 2]);
    assert_eq!(
        nothing,
        packets(&train).into_iter().map(alone).collect::<Vec<_>>()
    );
}

#[test]
fn a_full_coalescer_takes_packets_again_after_it_is_flushed() {
    let mut coalescer = Coalescer::new(CoalescerOptions { capacity: 3, ..ALL });
    let mut arena = packets(&Sketch::tcp().train(4)).concat();
    let range = |index: usize| index * 140..(index + 1) * 140;

    assert!(coalescer.is_empty());
    for index in 0..3 {
        assert!(!coalescer.is_full());
        assert_eq!(coalescer.push(&arena, range(index)), Ok(()));
    }
    assert!(coalescer.is_full());
    assert_eq!(coalescer.push(&arena, range(3)), Err(PushError::Full));
    let before = flush(&mut coalescer, &mut arena);
    assert!(coalescer.is_empty());
    assert_eq!(coalescer.push(&arena, range(3)), Ok(()));
    let after = flush(&mut coalescer, &mut arena);

    assert_eq!(counts(&before), [3]);
    assert_eq!(after, [alone(arena[range(3)].to_vec())]);
}

#[test]
fn what_was_flushed_is_not_merged_with_what_comes_later() {
    let mut coalescer = Coalescer::new(ALL);
    let [first, second] = [Sketch::tcp(), Sketch::tcp().next()].map(|sketch| sketch.packet());
    let other = Sketch::tcp().over_v6().packet();
    let mut arena = [&first[..], &other, &second].concat();

    coalescer.push(&arena, 0..140).unwrap();
    let before = flush(&mut coalescer, &mut arena);
    coalescer.push(&arena, 140..300).unwrap();
    coalescer.push(&arena, 300..440).unwrap();
    let after = flush(&mut coalescer, &mut arena);

    assert_eq!(before, [alone(first)]);
    assert_eq!(after, [alone(other), alone(second)]);
}

#[test]
fn no_memory_is_reserved_after_the_start() {
    let mut coalescer = Coalescer::new(CoalescerOptions { capacity: 64, ..ALL });
    let reserved = capacities(&coalescer);
    let firsts = (0..32).map(|host| Sketch {
        host,
        ..Sketch::udp()
    });
    let train: Vec<_> = firsts.flat_map(|first| first.train(2)).collect();
    let mut arena = packets(&train).concat();

    for _ in 0..3 {
        for index in 0..64 {
            coalescer.push(&arena, index * 128..(index + 1) * 128).unwrap();
        }
        flush(&mut coalescer, &mut arena);
    }

    assert_eq!(capacities(&coalescer), reserved);
}

#[test]
fn a_range_outside_of_the_arena_is_not_taken() {
    let mut coalescer = Coalescer::new(ALL);

    let beyond = coalescer.push(&[0; 100], 50..101);
    let reversed = coalescer.push(&[0; 100], Range { start: 50, end: 40 });

    assert_eq!([beyond, reversed], [Err(PushError::OutsideArena); 2]);
    assert!(coalescer.is_empty());
}

#[test]
fn an_arena_that_changed_makes_no_panic() {
    let mut coalescer = Coalescer::new(ALL);
    let arena = packets(&Sketch::tcp().train(2)).concat();
    coalescer.push(&arena, 0..140).unwrap();
    coalescer.push(&arena, 140..280).unwrap();

    let mut headers = Vec::new();
    coalescer.flush(&mut [], |coalesced, _| headers.push(coalesced.header()));

    assert_eq!(headers, [VnetHeader::Complete]);
}

/// The first packets of four flows.
fn kinds() -> [Sketch; 4] {
    [
        Sketch::tcp(),
        Sketch::udp(),
        Sketch::tcp().over_v6(),
        Sketch::udp().over_v6(),
    ]
}

fn packets(sketches: &[Sketch]) -> Vec<Vec<u8>> {
    sketches.iter().map(Sketch::packet).collect()
}

fn same_numbers(first: &Sketch) -> Vec<Sketch> {
    let train = first.train(3).into_iter();
    train.map(|sketch| sketch.numbered(1_000)).collect()
}

fn counts_of(packets: &[Vec<u8>]) -> Vec<usize> {
    counts(&coalesce(ALL, packets))
}

fn alone(packet: Vec<u8>) -> Output {
    Output {
        header: VnetHeader::Complete,
        packet,
        segments: 1,
    }
}

fn kind_of(header: &VnetHeader) -> Option<GsoKind> {
    match header {
        VnetHeader::Super { gso, .. } => Some(gso.kind),
        VnetHeader::Complete | VnetHeader::Partial(_) => None,
    }
}

fn capacities(coalescer: &Coalescer) -> [usize; 3] {
    [
        coalescer.items.capacity(),
        coalescer.parts.capacity(),
        coalescer.open.capacity(),
    ]
}

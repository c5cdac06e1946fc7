use std::vec::Vec;

use etherparse::TcpHeaderSlice;
use proptest::prelude::*;

use super::super::support::*;
use super::*;
use crate::ipv4;

#[test]
fn tcp_segments_have_their_own_place_flags_and_identification() {
    let sketch = Sketch::tcp().of(2_500).with_flags(ACK | PSH | FIN | ECE | CWR);
    let (header, packet) = sketch.super_packet(1_000);

    let segments = cut(&header, &packet).unwrap();

    let fields: Vec<_> = segments.iter().map(|segment| fields(segment)).collect();
    assert_eq!(
        fields,
        [
            (1_040, 1_000, 1_000_000, ACK | ECE | CWR),
            (1_040, 1_001, 1_001_000, ACK | ECE),
            (540, 1_002, 1_002_000, ACK | ECE | PSH | FIN),
        ]
    );
    assert_all_valid(&segments);
}

#[test]
fn udp_segments_are_whole_datagrams() {
    let (header, packet) = Sketch::udp().over_v6().of(250).super_packet(100);

    let segments = cut(&header, &packet).unwrap();

    let lens: Vec<_> = segments
        .iter()
        .map(|segment| (segment.len(), [segment[44], segment[45]]))
        .collect();
    assert_eq!(lens, [(148, [0, 108]), (148, [0, 108]), (98, [0, 58])]);
    assert_all_valid(&segments);
}

#[test]
fn lengths_tell_what_the_driver_needs_to_know() {
    let (header, mut packet) = Sketch::tcp()
        .with_tcp(|tcp| tcp.options = [1; 12].into())
        .of(250)
        .super_packet(100);

    let Ok(Segmentation::Cut(super_packet)) = Segmentation::prepare(&header, &mut packet) else {
        panic!("it is cut");
    };

    assert_eq!(super_packet.segments(), 3);
    assert_eq!(super_packet.header_len(), 52);
    assert_eq!(super_packet.segment_len(), 152);
    let payloads = [0, 1, 2, 3, usize::MAX].map(|index| super_packet.payload(index));
    assert_eq!(payloads, [52..152, 152..252, 252..302, 302..302, 302..302]);
}

#[test]
fn identification_and_sequence_number_wrap_around() {
    let sketch = Sketch::tcp()
        .of(300)
        .numbered(u16::MAX)
        .with_tcp(|tcp| tcp.sequence = u32::MAX - 50);
    let (header, packet) = sketch.super_packet(100);

    let segments = cut(&header, &packet).unwrap();

    let fields: Vec<_> = segments.iter().map(|segment| fields(segment)).collect();
    assert_eq!(
        fields,
        [
            (140, 65_535, u32::MAX - 50, ACK),
            (140, 0, 49, ACK),
            (140, 1, 149, ACK)
        ]
    );
    assert_all_valid(&segments);
}

#[test]
fn a_ttl_that_is_lowered_after_the_parse_is_that_of_every_segment() {
    let (header, mut packet) = Sketch::tcp().of(250).super_packet(100);
    let Ok(Segmentation::Cut(super_packet)) = Segmentation::prepare(&header, &mut packet) else {
        panic!("it is cut");
    };

    ipv4::decrement_ttl(&mut packet);
    let segments = segments(&super_packet, &packet);

    assert!(segments.iter().all(|segment| segment[8] == 62));
    assert_all_valid(&segments);
}

#[test]
fn ip_options_and_extension_headers_are_repeated() {
    let mut v4 = Sketch::udp().of(250);
    v4.ip = Ip::V4 {
        id: 7,
        fragmentation: 0,
        options: [1, 1, 1, 0].into(),
    };
    let mut v6 = Sketch::tcp().of(250);
    v6.ip = Ip::V6 {
        label: 0,
        first: Some(0),
        extensions: [[60, 0, 1, 4, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]].concat(),
    };

    for sketch in [v4, v6] {
        let (header, packet) = sketch.super_packet(100);
        let segments = cut(&header, &packet).unwrap();

        assert_eq!(segments.len(), 3);
        assert_all_valid(&segments);
    }
}

#[test]
fn a_super_packet_of_one_segment_is_sent_as_it_is_with_its_checksum_completed() {
    for sketch in [Sketch::tcp().with_flags(ACK | PSH | CWR), Sketch::udp().over_v6()] {
        let (header, packet) = sketch.super_packet(100);

        let segments = cut(&header, &packet);

        assert_eq!(segments, Ok([sketch.packet()].into()));
    }
}

#[test]
fn a_super_packet_without_payload_is_one_packet() {
    let sketch = Sketch::tcp().of(0);
    let (header, packet) = sketch.super_packet(100);

    let segments = cut(&header, &packet);

    assert_eq!(segments, Ok([sketch.packet()].into()));
}

#[test]
fn a_packet_that_is_complete_is_not_looked_at() {
    let mut packet = [0xff; 3];

    let segmentation = Segmentation::prepare(&VnetHeader::Complete, &mut packet);

    assert_eq!(segmentation, Ok(Segmentation::Whole));
    assert_eq!(packet, [0xff; 3]);
}

#[test]
fn a_partial_checksum_is_completed() {
    for sketch in [
        Sketch::tcp(),
        Sketch::udp(),
        Sketch::tcp().over_v6(),
        Sketch::udp().over_v6(),
    ] {
        let (header, packet) = sketch.super_packet(1);

        let completed = cut(&partial(&header), &packet);

        assert_eq!(completed, Ok([sketch.packet()].into()));
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
    let zero = (0..=u16::MAX)
        .map(|word| Sketch {
            payload: word.to_be_bytes().into(),
            ..Sketch::udp()
        })
        .find(|sketch| sketch.packet()[26..28] == [0xff, 0xff])
        .unwrap();
    let (header, packet) = zero.super_packet(2);
    let (twice_header, twice) = Sketch {
        payload: zero.payload.repeat(2),
        ..zero.clone()
    }
    .super_packet(2);

    let whole = cut(&partial(&header), &packet).unwrap();
    let single = cut(&header, &packet).unwrap();
    let segments = cut(&twice_header, &twice).unwrap();

    assert!(
        [whole, single, segments]
            .concat()
            .iter()
            .all(|packet| packet[26..28] == [0xff, 0xff])
    );
}

#[test]
fn the_header_length_is_not_trusted() {
    let (header, packet) = Sketch::tcp().of(250).super_packet(100);
    let VnetHeader::Super { gso, checksum, .. } = header else {
        panic!("it is a super-packet");
    };

    for header_len in [0, 1, 41, u16::MAX] {
        let lie = VnetHeader::Super {
            gso,
            checksum,
            header_len,
        };

        assert_eq!(cut(&lie, &packet), cut(&header, &packet));
    }
}

#[test]
fn a_header_is_only_written_for_a_segment_that_there_is() {
    let (header, mut packet) = Sketch::tcp().of(250).super_packet(100);
    let Ok(Segmentation::Cut(super_packet)) = Segmentation::prepare(&header, &mut packet) else {
        panic!("it is cut");
    };

    let beyond = super_packet.write_header(&packet, 3, &mut [0; 40]);
    let too_short = super_packet.write_header(&packet, 0, &mut [0; 39]);
    let too_long = super_packet.write_header(&packet, 0, &mut [0; 41]);
    let of_another = super_packet.write_header(&packet[1..], 0, &mut [0; 40]);

    assert_eq!([beyond, too_short, too_long, of_another], [None; 4]);
}

#[test]
fn a_checksum_in_the_ip_header_or_beyond_the_packet_is_refused() {
    let packet = Sketch::udp().over_v6().of(4).packet();
    let places = [
        (0, 16),
        (39, 6),
        (40, 11),
        (40, 12),
        (52, 0),
        (53, 0),
        (u16::MAX, u16::MAX),
    ];

    for (start, offset) in places {
        let header = VnetHeader::Partial(PartialChecksum { start, offset });

        assert_eq!(cut(&header, &packet), Err(OffloadError::ChecksumOutside));
    }
}

#[test]
fn a_partial_checksum_needs_an_ip_header() {
    let header = VnetHeader::Partial(PartialChecksum { start: 20, offset: 6 });

    assert_eq!(cut(&header, &[]), Err(OffloadError::BadIpHeader));
    assert_eq!(cut(&header, &[0; 60]), Err(OffloadError::BadIpHeader));
}

#[test]
fn a_super_packets_checksum_elsewhere_than_in_its_transport_header_is_refused() {
    let (header, packet) = Sketch::tcp().of(250).super_packet(100);
    let VnetHeader::Super { gso, header_len, .. } = header else {
        panic!("it is a super-packet");
    };

    for (start, offset) in [(20, 6), (20, 17), (24, 16), (0, 36), (u16::MAX, 16)] {
        let lie = VnetHeader::Super {
            gso,
            checksum: PartialChecksum { start, offset },
            header_len,
        };

        assert_eq!(cut(&lie, &packet), Err(OffloadError::ChecksumMisplaced));
    }
}

#[test]
fn a_super_packet_with_a_bad_ip_header_is_refused() {
    for sketch in [Sketch::tcp(), Sketch::tcp().over_v6()] {
        let (header, packet) = sketch.of(250).super_packet(100);
        let longer = [&packet[..], &[0]].concat();
        let shorter = &packet[..packet.len() - 1];
        let other_version = [&[0x50], &packet[1..]].concat();
        let without_transport = &packet[..10];

        for bad in [&longer, shorter, &other_version, without_transport, &[]] {
            assert_eq!(cut(&header, bad), Err(OffloadError::BadIpHeader));
        }
    }
}

#[test]
fn a_super_packet_with_a_wrong_ipv4_checksum_is_refused() {
    let (header, mut packet) = Sketch::tcp().of(250).super_packet(100);
    packet[8] += 1;

    assert_eq!(cut(&header, &packet), Err(OffloadError::BadIpHeader));
}

#[test]
fn a_super_packet_with_cut_off_extension_headers_is_refused() {
    let mut sketch = Sketch::udp().of(0);
    sketch.ip = Ip::V6 {
        label: 0,
        first: Some(60),
        extensions: [17, 0, 1, 4, 0, 0, 0, 0].into(),
    };
    let (header, mut packet) = sketch.super_packet(100);
    packet[41] = 2;

    assert_eq!(cut(&header, &packet), Err(OffloadError::BadIpHeader));
}

#[test]
fn an_extension_header_may_be_as_long_as_it_can_say() {
    let mut extension = std::vec![0; 2_048];
    extension[..2].copy_from_slice(&[17, 255]);
    let mut sketch = Sketch::udp().of(250);
    sketch.ip = Ip::V6 {
        label: 0,
        first: Some(60),
        extensions: extension,
    };
    let (header, packet) = sketch.super_packet(100);

    let segments = cut(&header, &packet).unwrap();

    assert_eq!(segments.len(), 3);
    assert_all_valid(&segments);
}

#[test]
fn hop_by_hop_options_anywhere_but_first_are_refused() {
    let (header, plain) = Sketch::tcp().over_v6().of(236).super_packet(100);
    let extensions = [[0, 0, 1, 4, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]].concat();

    for first in [0, 60] {
        let mut packet = [&plain[..40], &extensions, &plain[40..]].concat();
        packet[4..7].copy_from_slice(&[1, 16, first]);

        assert_eq!(cut(&header, &packet), Err(OffloadError::KindMismatch));
    }
}

#[test]
fn a_fragment_is_no_super_packet() {
    let (header, _) = Sketch::udp().of(250).super_packet(100);
    let more = Sketch::udp().of(250).fragmented(0x2000).packet();
    let later = Sketch::udp().of(250).fragmented(0x0001).packet();
    let (v6_header, mut v6) = Sketch::udp().over_v6().of(250).super_packet(100);
    v6[6] = 44;

    assert_eq!(cut(&header, &more), Err(OffloadError::Fragment));
    assert_eq!(cut(&header, &later), Err(OffloadError::Fragment));
    assert_eq!(cut(&v6_header, &v6), Err(OffloadError::Fragment));
}

#[test]
fn a_super_packet_of_another_kind_than_its_header_names_is_refused() {
    let sketches = [
        Sketch::tcp().of(250),
        Sketch::tcp().over_v6().of(250),
        Sketch::udp().of(250),
    ];

    for (named, given) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let (header, _) = sketches[named].super_packet(100);
        let (_, packet) = sketches[given].super_packet(100);

        assert_eq!(cut(&header, &packet), Err(OffloadError::KindMismatch));
    }
}

#[test]
fn a_super_packet_of_another_protocol_is_refused() {
    let (header, mut packet) = Sketch::udp().over_v6().of(250).super_packet(100);
    packet[6] = 58;

    assert_eq!(cut(&header, &packet), Err(OffloadError::KindMismatch));
}

#[test]
fn a_super_packet_with_a_bad_tcp_header_is_refused() {
    let (header, mut packet) = Sketch::tcp().over_v6().of(16).super_packet(8);

    for words in [0, 4, 10, 15] {
        packet[52] = words << 4;

        assert_eq!(cut(&header, &packet), Err(OffloadError::BadTransportHeader));
    }
}

#[test]
fn a_super_packet_with_a_bad_udp_length_is_refused() {
    let (header, mut packet) = Sketch::udp().over_v6().of(16).super_packet(8);

    for len in [0, 7, 23, 25] {
        packet[45] = len;

        assert_eq!(cut(&header, &packet), Err(OffloadError::BadTransportHeader));
    }
}

#[test]
fn a_super_packet_shorter_than_a_udp_header_is_refused() {
    let (header, mut packet) = Sketch::udp().over_v6().of(0).super_packet(8);
    packet.pop();
    packet[5] = 7;
    packet[45] = 7;

    assert_eq!(cut(&header, &packet), Err(OffloadError::BadTransportHeader));
}

#[test]
fn flags_that_make_sense_on_one_segment_alone_are_refused_on_several() {
    for flag in [SYN, RST, URG] {
        let sketch = Sketch::tcp().of(250).with_flags(ACK | flag);
        let (several_header, several) = sketch.super_packet(100);
        let (one_header, one) = sketch.super_packet(250);

        assert_eq!(cut(&several_header, &several), Err(OffloadError::BadTcpFlags));
        assert_eq!(cut(&one_header, &one), Ok([sketch.packet()].into()));
    }
}

#[test]
fn a_super_packet_may_have_as_many_segments_as_a_kernel_makes() {
    let sketch = Sketch::tcp().of(SuperPacket::MAX_SEGMENTS);
    let (header, packet) = sketch.super_packet(1);
    let (longer_header, longer) = sketch.of(SuperPacket::MAX_SEGMENTS + 1).super_packet(1);

    let segments = cut(&header, &packet).unwrap();
    let refused = cut(&longer_header, &longer);

    assert_eq!(segments.len(), SuperPacket::MAX_SEGMENTS);
    assert_eq!(refused, Err(OffloadError::TooManySegments));
}

proptest! {
    #[test]
    fn whatever_the_device_gives_is_cut_or_refused(
        header in any::<[u8; 10]>(),
        packet in proptest::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(4_u8), Just(6), any::<u8>()],
    ) {
        let mut packet = packet;
        if let Some(first) = packet.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }

        let segments = VnetHeader::parse(&header).and_then(|header| cut(&header, &packet));

        prop_assert!(segments.is_err() || segments.is_ok_and(|segments| !segments.is_empty()));
    }

    #[test]
    fn a_super_packet_with_a_flipped_bit_is_cut_or_refused(
        tcp in any::<bool>(),
        v6 in any::<bool>(),
        bit in 0..480_usize,
        size in 1..200_u16,
    ) {
        let sketch = if tcp { Sketch::tcp() } else { Sketch::udp() };
        let sketch = if v6 { sketch.over_v6() } else { sketch };
        let (header, mut packet) = sketch.super_packet(usize::from(size));
        packet[bit / 8] ^= 1 << (bit % 8);
        if !v6 {
            let sum = crate::checksum::sum(&packet[..20]);
            let checksum = crate::checksum::update(u16::from_be_bytes([packet[10], packet[11]]), !sum, 0);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }

        let Ok(segments) = cut(&header, &packet) else { return Ok(()) };

        assert_all_valid(&segments);
    }
}

/// Returns the length, identification, sequence number and flags of a TCP packet over IPv4.
fn fields(packet: &[u8]) -> (usize, u16, u32, u8) {
    let tcp = TcpHeaderSlice::from_slice(&packet[20..]).unwrap();
    let id = u16::from_be_bytes([packet[4], packet[5]]);
    (packet.len(), id, tcp.sequence_number(), packet[33])
}

/// Returns the header of one packet with a partial checksum where the super-packet has its own.
fn partial(header: &VnetHeader) -> VnetHeader {
    match *header {
        VnetHeader::Super { checksum, .. } => VnetHeader::Partial(checksum),
        VnetHeader::Complete | VnetHeader::Partial(_) => *header,
    }
}

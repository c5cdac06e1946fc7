//! What becomes of packets between a device and a socket that take and give many at once.

mod support;

use etherparse::{SlicedPacket, TransportSlice};
use nix::errno::Errno;
use proptest::prelude::*;
use selvedge_engine::{DropReason, Merging, Segmentation, VnetHeader};

use super::device::{DeviceOffloads, Framing};
use super::network_error::{NetworkError, NetworkProblem};
use super::offload::Offload;
use super::wire::Fragmentation;
use super::*;
use support::*;

const MERGING: DeviceOffloads = DeviceOffloads {
    framing: Framing::Vnet,
    tcp: Merging::On,
    udp: Merging::On,
};

#[test]
fn the_segments_of_a_super_packet_go_out_as_one_message() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.device.route(super_packet(0, 2_500, 1_000));

    path.carry_outbound();

    let [sent] = path.wire.socket.take_sent().try_into().unwrap();
    assert_eq!((sent.to, sent.segment_len), (node(0), Some(1_040)));
    let datagrams = sent.datagrams();
    assert_eq!(
        datagrams.iter().map(Vec::len).collect::<Vec<_>>(),
        [1_040, 1_040, 540]
    );
    let payload: Vec<u8> = datagrams.iter().flat_map(|packet| tcp_payload(packet)).collect();
    assert_eq!(payload, bytes(2_500));
    assert_eq!(path.forwarder.counters().sent, 3);
}

#[test]
fn a_socket_without_segmentation_sends_each_segment_by_itself() {
    let mut path = Path::new(MERGING, Offload::Off);
    path.device.route(super_packet(0, 2_500, 1_000));

    path.carry_outbound();

    let sent = path.wire.socket.take_sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|message| message.segment_len.is_none()));
    let payload: Vec<u8> = sent
        .iter()
        .flat_map(|message| tcp_payload(&message.bytes))
        .collect();
    assert_eq!(payload, bytes(2_500));
}

#[test]
fn packets_of_one_length_for_one_node_share_a_message_that_a_shorter_one_ends() {
    let mut path = Path::new(DeviceOffloads::NONE, Offload::Wanted);
    for (peer, len) in [(0, 100), (0, 100), (0, 40), (0, 40), (0, 90), (1, 90), (1, 90)] {
        path.device.route(udp(peer, len));
    }

    path.carry_outbound();

    let sent = path.wire.socket.take_sent();
    let shapes: Vec<_> = sent
        .iter()
        .map(|message| (message.to, message.datagrams().len()))
        .collect();
    assert_eq!(shapes, [(node(0), 3), (node(0), 1), (node(0), 1), (node(1), 2)]);
}

#[test]
fn a_message_has_at_most_as_many_datagrams_as_every_kernel_takes() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.device.route(super_packet(0, 10_000, 100));

    path.carry_outbound();

    let counts: Vec<_> = path
        .wire
        .socket
        .take_sent()
        .iter()
        .map(|message| message.datagrams().len())
        .collect();
    assert_eq!(counts, [64, 36]);
}

#[test]
fn an_underlay_that_cannot_segment_gets_datagrams_one_by_one_from_then_on() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.wire.socket.refuses_many.set(Some(Errno::EIO));

    path.device.route(super_packet(0, 2_500, 1_000));
    path.carry_outbound();
    let tried = path.wire.socket.tries.replace(0);
    path.device.route(super_packet(0, 2_500, 1_000));
    path.carry_outbound();

    assert_eq!((tried, path.wire.socket.tries.get()), (4, 3));
    assert_eq!(path.wire.socket.take_sent().len(), 6);
    assert_eq!(path.counters.split, 1);
    assert_eq!(path.counters.send_other, 0);
}

#[test]
fn a_message_that_is_too_large_for_the_path_is_sent_one_by_one_and_the_next_is_tried_as_a_whole() {
    for errno in [Errno::EINVAL, Errno::EMSGSIZE] {
        let mut path = Path::new(MERGING, Offload::Wanted);
        path.wire.socket.refuses_many.set(Some(errno));
        path.device.route(super_packet(0, 2_500, 1_000));
        path.carry_outbound();
        path.wire.socket.refuses_many.set(None);

        path.device.route(super_packet(0, 2_500, 1_000));
        path.carry_outbound();

        assert_eq!(path.wire.socket.take_sent().len(), 3 + 1);
        assert_eq!((path.counters.split, path.counters.send_too_big), (1, 0));
    }
}

#[test]
fn a_path_that_is_too_narrow_for_a_message_is_learned_and_told_to_the_senders_of_more() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.wire.socket.refuses_many.set(Some(Errno::EINVAL));
    path.wire.socket.path_mtu.set(Some(1_028));

    path.device.route(super_packet(0, 2_500, 1_000));
    path.carry_outbound();
    path.device.route(super_packet(0, 2_500, 1_000));
    path.carry_outbound();

    assert_eq!(path.wire.socket.take_sent().len(), 3);
    assert_eq!((path.counters.fragmented, path.counters.send_too_big), (3, 0));
    assert_eq!(path.forwarder.counters().dropped(DropReason::TooBig), 1);
    assert_eq!(path.device.take_written().len(), 1);
}

#[test]
fn a_single_packet_that_is_too_large_for_its_path_goes_out_in_fragments_and_the_next_is_answered() {
    let mut path = Path::new(MERGING, Offload::Off);
    path.wire.socket.path_mtu.set(Some(1_028));
    let too_large = || udp_framed(0, 1_000);

    for packet in [too_large(), udp_framed(0, 972), too_large(), udp_framed(1, 900)] {
        path.device.route(packet);
        path.carry_outbound();
    }

    let sent = path.wire.socket.take_sent();
    let lengths: Vec<_> = sent.iter().map(|message| message.bytes.len()).collect();
    assert_eq!(lengths, [1_028, 1_000, 928]);
    assert_eq!(path.counters.fragmented, 1);
    assert_eq!(path.forwarder.counters().dropped(DropReason::TooBig), 1);
    assert_eq!(path.wire.socket.fragmentation.get(), Fragmentation::Refused);
}

#[test]
fn what_may_be_fragmented_on_a_path_that_is_known_to_be_narrow_is_not_tried_in_vain() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.wire.socket.path_mtu.set(Some(1_028));
    path.device.route(udp_framed(0, 1_000));
    path.carry_outbound();
    path.wire.socket.tries.set(0);

    for _ in 0..3 {
        path.device.route(without_df(udp_framed(0, 1_000)));
    }
    path.carry_outbound();

    assert_eq!(path.wire.socket.tries.get(), 3);
    assert_eq!((path.counters.fragmented, path.counters.split), (4, 0));
    assert_eq!(path.wire.socket.fragmentation.get(), Fragmentation::Refused);
}

#[test]
fn what_the_network_tells_is_counted_and_the_mtu_of_a_path_is_learned() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    let problems = [
        NetworkProblem::Refused,
        NetworkProblem::Unreachable,
        NetworkProblem::Unreachable,
        NetworkProblem::TooBig { path_mtu: 0 },
        NetworkProblem::TooBig { path_mtu: 1_028 },
    ];
    for problem in problems {
        let error = NetworkError { to: node(0), problem };
        path.wire.socket.errors.borrow_mut().push_back(error);
    }

    path.heed();
    for peer in [0, 1] {
        path.device.route(udp_framed(peer, 1_000));
        path.carry_outbound();
    }

    assert_eq!(
        (path.counters.told_refused, path.counters.told_unreachable),
        (1, 2)
    );
    let [sent] = path.wire.socket.take_sent().try_into().unwrap();
    assert_eq!(sent.to, node(1));
    assert_eq!(path.forwarder.counters().dropped(DropReason::TooBig), 1);
}

#[test]
fn a_full_socket_costs_all_datagrams_of_the_message_and_no_others() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.wire.socket.refuses_many.set(Some(Errno::ENOBUFS));
    path.device.route(super_packet(0, 2_500, 1_000));
    path.device.route(udp_framed(1, 10));

    path.carry_outbound();

    let sent = path.wire.socket.take_sent();
    assert_eq!(
        sent.iter().map(|message| message.to).collect::<Vec<_>>(),
        [node(1)]
    );
    assert_eq!((path.counters.send_full, path.counters.split), (3, 0));
}

#[test]
fn what_contradicts_its_header_is_counted_and_what_follows_is_carried() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    let mut no_size = super_packet(0, 2_500, 1_000);
    no_size[4..6].fill(0);
    let mut beyond = super_packet(0, 2_500, 1_000);
    beyond[6..8].copy_from_slice(&60_000_u16.to_ne_bytes());
    let no_packet = vec![0; 4];

    for packet in [no_size, beyond, no_packet, udp_framed(0, 10)] {
        path.device.route(packet);
    }
    path.carry_outbound();

    assert_eq!(path.counters.bad_offload, 3);
    assert_eq!(path.wire.socket.take_sent().len(), 1);
}

#[test]
fn a_super_packet_whose_segments_are_too_large_for_the_tunnel_is_answered() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.device.route(super_packet(0, 6_000, 2_000));

    path.carry_outbound();

    assert!(path.wire.socket.take_sent().is_empty());
    let [answer] = path.device.take_written().try_into().unwrap();
    let packet = SlicedPacket::from_ip(&answer[VnetHeader::LEN..]).unwrap();
    assert!(matches!(packet.transport, Some(TransportSlice::Icmpv4(_))));
}

#[test]
fn datagrams_that_the_kernel_merged_become_a_super_packet_again() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    let segments = segments_from(0, 2_500, 1_000);

    path.wire.socket.receive(node(0), &segments);
    path.carry_inbound();

    let [written] = path.device.take_written().try_into().unwrap();
    let (header, mut packet) = unframed(&written);
    assert_eq!(packet.len(), 40 + 2_500);
    assert!(
        matches!(Segmentation::prepare(&header, &mut packet), Ok(Segmentation::Cut(cut)) if cut.segments() == 3)
    );
    assert_eq!(path.forwarder.counters().delivered, 3);
}

#[test]
fn a_device_that_refuses_merged_packets_gets_single_ones_from_then_on() {
    let mut path = Path::new(MERGING, Offload::Wanted);
    path.device.refuses_merged.set(Some(Errno::EINVAL));

    path.wire.socket.receive(node(0), &segments_from(0, 2_500, 1_000));
    path.carry_inbound();
    path.wire.socket.receive(node(0), &segments_from(0, 2_500, 1_000));
    path.carry_inbound();

    assert_eq!(path.device.take_written().len(), 3);
    assert_eq!(path.counters.deliver_refused, 1);
}

#[test]
fn one_bad_datagram_among_those_that_came_at_once_costs_no_other() {
    let mut path = Path::new(DeviceOffloads::NONE, Offload::Wanted);
    let mut segments = segments_from(0, 3_000, 1_000);
    segments[1][8] ^= 0xff;

    path.wire.socket.receive(node(0), &segments);
    path.carry_inbound();

    assert_eq!(path.device.take_written().len(), 2);
    assert_eq!(path.forwarder.counters().dropped(DropReason::BadChecksum), 1);
}

#[test]
fn an_empty_datagram_is_counted_like_any_other() {
    let mut path = Path::new(DeviceOffloads::NONE, Offload::Wanted);

    path.wire.socket.receive(node(0), &[Vec::new()]);
    path.carry_inbound();

    assert_eq!(path.forwarder.counters().dropped(DropReason::Truncated), 1);
}

#[test]
fn what_the_socket_lost_is_taken_over_from_the_kernel_although_its_count_wraps() {
    let mut counters = TransportCounters::default();

    for count in [5, 5, u32::MAX, 2] {
        counters.note_overflow(count);
    }

    assert_eq!(counters.receive_full, u64::from(u32::MAX) + 3);
}

proptest! {
    /// Whatever is grouped and cut, each node gets the same datagrams in the same order as one by one.
    #[test]
    fn what_a_node_gets_does_not_depend_on_how_many_datagrams_go_at_once(
        packets in prop::collection::vec((0..2_usize, prop_oneof![1..60_usize, 1_000..1_400_usize], 0..6_usize), 0..80),
    ) {
        let mut grouped = Path::new(MERGING, Offload::Wanted);
        let mut single = Path::new(MERGING, Offload::Off);
        for (peer, size, full) in packets {
            let packet = match full {
                0 | 1 => udp_framed(peer, size),
                full => super_packet(peer, full * size + size / 2, u16::try_from(size).unwrap()),
            };
            grouped.device.route(packet.clone());
            single.device.route(packet);
        }

        grouped.carry_all_outbound();
        single.carry_all_outbound();

        let (grouped, single) = (grouped.wire.socket.take_sent(), single.wire.socket.take_sent());
        for peer in 0..PEERS.len() {
            let of_node = |sent: &[Sent]| -> Vec<Vec<u8>> {
                sent.iter().filter(|message| message.to == node(peer)).flat_map(Sent::datagrams).collect()
            };
            prop_assert_eq!(of_node(&grouped), of_node(&single));
        }
    }
}

use std::vec::Vec;

use etherparse::{Icmpv4Header, Icmpv4Type, Ipv4HeaderSlice, PacketBuilder};
use proptest::prelude::*;

use super::*;
use crate::forwarding_table::TunnelParams;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 5, 9, 2);
const PEER_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const STRANGE_NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);
const TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);
const MTU: usize = 1472;

#[test]
fn a_packet_for_a_peer_is_sent_with_its_ttl_lowered_by_one() {
    let mut packet = udp(OWN, PEER, 63);

    let decision = outbound(&mut packet);

    assert_eq!(decision, Out::Send(SocketAddrV4::new(PEER_NODE, 8285)));
    assert_eq!(packet, udp(OWN, PEER, 62));
}

#[test]
fn a_packet_from_a_peer_is_delivered_with_its_ttl_lowered_by_one() {
    let mut packet = udp(PEER, OWN, 62);

    let decision = inbound(Membership::Enforce, PEER_NODE, &mut packet);

    assert_eq!(decision, In::Deliver);
    assert_eq!(packet, udp(PEER, OWN, 61));
}

#[test]
fn the_tunnels_address_is_ours() {
    let mut packet = udp(PEER, TUNNEL, 62);

    let decision = inbound(Membership::Enforce, PEER_NODE, &mut packet);

    assert_eq!(decision, In::Deliver);
}

#[test]
fn invalid_packets_are_dropped_in_both_directions() {
    let valid = [udp(OWN, PEER, 9), udp(PEER, OWN, 9)];
    let damages: [(DropReason, Damage); 5] = [
        (DropReason::Truncated, |packet| packet.truncate(19)),
        (DropReason::NotIpv4, |packet| packet[0] = 0x65),
        (DropReason::BadHeaderLength, |packet| packet[0] = 0x44),
        (DropReason::BadTotalLength, |packet| packet.push(0)),
        (DropReason::BadChecksum, |packet| packet[10] ^= 1),
    ];

    for (reason, damage) in damages {
        let [mut out, mut into] = valid.clone();
        damage(&mut out);
        damage(&mut into);

        let decisions = (
            outbound(&mut out),
            inbound(Membership::Enforce, PEER_NODE, &mut into),
        );

        assert_eq!(decisions, (Out::Drop(reason), In::Drop(reason)));
    }
}

#[test]
fn a_refused_packet_is_left_as_it_was() {
    let mut bad_checksum = udp(OWN, PEER, 63);
    bad_checksum[10] ^= 1;
    let mut no_route = udp(OWN, STRANGER, 63);
    let before = (bad_checksum.clone(), no_route.clone());

    outbound(&mut bad_checksum);
    outbound(&mut no_route);

    assert_eq!((bad_checksum, no_route), before);
}

#[test]
fn addresses_that_are_no_hosts_are_dropped_without_an_error_in_both_directions() {
    let addresses = [[0; 4], [127, 0, 0, 1], [224, 0, 0, 5], [255; 4], [10, 5, 1, 255]];

    for address in addresses.map(Ipv4Addr::from) {
        let sources = (
            outbound(&mut udp(address, PEER, 1)),
            inbound(Membership::Enforce, PEER_NODE, &mut udp(address, OWN, 1)),
        );
        let destinations = (
            outbound(&mut udp(OWN, address, 1)),
            inbound(Membership::Enforce, PEER_NODE, &mut udp(PEER, address, 1)),
        );

        assert_eq!(
            sources,
            (Out::Drop(DropReason::BadSource), In::Drop(DropReason::BadSource))
        );
        assert_eq!(
            destinations,
            (
                Out::Drop(DropReason::BadDestination),
                In::Drop(DropReason::BadDestination)
            )
        );
    }
}

#[test]
fn a_packet_that_no_lease_covers_is_answered_with_network_unreachable() {
    let mut packet = udp(OWN, STRANGER, 63);

    let Out::Reply(DropReason::NoRoute, error) = outbound(&mut packet) else {
        panic!("no reply");
    };

    assert_eq!(ip_source_and_destination(&error), (TUNNEL, OWN));
    assert_eq!(
        icmp_kind(&error),
        Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Network)
    );
    assert_eq!(error[28..], packet);
}

#[test]
fn an_echo_request_that_no_lease_covers_is_answered_too() {
    let mut packet = echo_request(OWN, STRANGER);

    let decision = outbound(&mut packet);

    assert!(matches!(decision, Out::Reply(DropReason::NoRoute, _)));
}

#[test]
fn a_packet_for_the_own_subnet_has_no_route() {
    let mut packet = udp(OWN, Ipv4Addr::new(10, 5, 1, 77), 63);

    let decision = outbound(&mut packet);

    assert!(matches!(decision, Out::Reply(DropReason::NoRoute, _)));
}

#[test]
fn a_ttl_of_one_or_zero_from_the_kernel_is_answered_with_time_exceeded() {
    for ttl in [0, 1] {
        let mut packet = udp(OWN, PEER, ttl);

        let Out::Reply(DropReason::TtlExceeded, error) = outbound(&mut packet) else {
            panic!("no reply");
        };

        assert_eq!(ip_source_and_destination(&error), (TUNNEL, OWN));
        assert!(matches!(icmp_kind(&error), Icmpv4Type::TimeExceeded(_)));
        assert_eq!(error[28..], udp(OWN, PEER, ttl));
    }
}

#[test]
fn a_ttl_of_one_or_zero_from_a_peer_is_answered_through_the_tunnel() {
    for ttl in [0, 1] {
        let mut packet = udp(PEER, OWN, ttl);

        let In::Reply(DropReason::TtlExceeded, to, error) =
            inbound(Membership::Enforce, PEER_NODE, &mut packet)
        else {
            panic!("no reply");
        };

        assert_eq!(to, SocketAddrV4::new(PEER_NODE, 8285));
        assert_eq!(ip_source_and_destination(&error), (TUNNEL, PEER));
        assert_eq!(error[28..], udp(PEER, OWN, ttl));
    }
}

#[test]
fn a_ttl_of_one_from_a_stranger_is_never_answered() {
    for membership in [Membership::Off, Membership::Log] {
        let unknown = inbound(membership, STRANGE_NODE, &mut udp(PEER, OWN, 1));
        let foreign = inbound(membership, PEER_NODE, &mut udp(STRANGER, OWN, 1));

        assert_eq!(unknown, In::Drop(DropReason::TtlExceeded));
        assert_eq!(foreign, In::Drop(DropReason::TtlExceeded));
    }
}

#[test]
fn a_packet_above_the_mtu_is_answered_if_it_must_not_be_fragmented() {
    let mut fits = sized(MTU, DontFragment::Set);
    let mut too_big = sized(MTU + 1, DontFragment::Set);

    let fits = outbound(&mut fits);
    let Out::Reply(DropReason::TooBig, error) = outbound(&mut too_big) else {
        panic!("no reply");
    };

    assert!(matches!(fits, Out::Send(_)));
    let expected = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1472 };
    assert_eq!(icmp_kind(&error), Icmpv4Type::DestinationUnreachable(expected));
    assert_eq!(error[28..], too_big[..548]);
}

#[test]
fn a_packet_above_the_mtu_that_may_be_fragmented_is_sent() {
    let mut packet = sized(MTU + 1, DontFragment::Clear);

    let decision = outbound(&mut packet);

    assert!(matches!(decision, Out::Send(_)));
}

#[test]
fn a_datagram_above_the_mtu_is_delivered() {
    let mut packet = udp_with(PEER, OWN, 62, &[1; MTU]);

    let decision = inbound(Membership::Enforce, PEER_NODE, &mut packet);

    assert_eq!(decision, In::Deliver);
}

#[test]
fn a_packet_from_the_tunnel_for_others_is_not_passed_on() {
    for membership in MEMBERSHIPS {
        let back_to_sender = inbound(membership, PEER_NODE, &mut udp(PEER, PEER, 62));
        let beyond = inbound(
            membership,
            PEER_NODE,
            &mut udp(PEER, Ipv4Addr::new(8, 8, 8, 8), 62),
        );

        assert_eq!(back_to_sender, In::Drop(DropReason::NotOurs));
        assert_eq!(beyond, In::Drop(DropReason::NotOurs));
    }
}

#[test]
fn a_packet_from_the_tunnel_with_our_own_source_is_dropped() {
    for membership in MEMBERSHIPS {
        let decision = inbound(membership, PEER_NODE, &mut udp(TUNNEL, OWN, 62));

        assert_eq!(decision, In::Drop(DropReason::OwnSource));
    }
}

#[test]
fn a_host_without_a_lease_is_refused_where_membership_is_enforced() {
    let decisions = MEMBERSHIPS.map(|membership| inbound(membership, STRANGE_NODE, &mut udp(PEER, OWN, 62)));

    assert_eq!(
        decisions,
        [In::Deliver, In::Deliver, In::Drop(DropReason::UnknownSender)]
    );
}

#[test]
fn a_source_outside_the_senders_subnet_is_refused_where_membership_is_enforced() {
    for source in [STRANGER, PEER_NODE, Ipv4Addr::new(10, 5, 3, 2)] {
        let decisions =
            MEMBERSHIPS.map(|membership| inbound(membership, PEER_NODE, &mut udp(source, OWN, 62)));

        assert_eq!(
            decisions,
            [In::Deliver, In::Deliver, In::Drop(DropReason::ForeignSource)]
        );
    }
}

#[test]
fn what_passes_without_proof_is_counted_where_membership_is_logged() {
    let counts = MEMBERSHIPS.map(|membership| {
        let mut forwarder = Forwarder::new();
        let table = table(membership);
        for (from, source) in [(PEER_NODE, PEER), (PEER_NODE, STRANGER), (STRANGE_NODE, PEER)] {
            forwarder.inbound(&table, from, &mut udp(source, OWN, 62), Instant::ZERO);
        }
        (
            forwarder.counters().delivered,
            forwarder.counters().passed_unproven,
        )
    });

    assert_eq!(counts, [(3, 0), (3, 2), (1, 0)]);
}

#[test]
fn above_the_rate_limit_a_packet_is_dropped_without_an_error() {
    let mut forwarder = Forwarder::new();
    let table = table(Membership::Enforce);

    let replies = (0..1000)
        .filter(|_| {
            let decision = forwarder.outbound(&table, &mut udp(OWN, STRANGER, 63), Instant::ZERO);
            matches!(decision, Outbound::Reply { .. })
        })
        .count();

    assert_eq!(replies, 20);
    assert_eq!(forwarder.counters().icmp_errors, 20);
    assert_eq!(forwarder.counters().dropped(DropReason::NoRoute), 1000);
}

#[test]
fn every_reason_can_be_met_and_is_counted_once() {
    for reason in DropReason::ALL {
        let mut forwarder = Forwarder::new();
        let table = table(Membership::Enforce);

        match example(reason) {
            Example::Outbound(mut packet) => {
                forwarder.outbound(&table, &mut packet, Instant::ZERO);
            }
            Example::Inbound(from, mut packet) => {
                forwarder.inbound(&table, from, &mut packet, Instant::ZERO);
            }
        }

        let counted = DropReason::ALL.map(|other| forwarder.counters().dropped(other));
        assert_eq!(counted, DropReason::ALL.map(|other| u64::from(other == reason)));
        assert_eq!(
            (forwarder.counters().sent, forwarder.counters().delivered),
            (0, 0)
        );
    }
}

proptest! {
    #[test]
    fn whatever_the_kernel_gives_is_sent_or_dropped_for_one_reason(mut packet in any_packet()) {
        let before = packet.clone();
        let mut forwarder = Forwarder::new();

        let decision: Out = forwarder.outbound(&table(Membership::Enforce), &mut packet, Instant::ZERO).into();

        let counters = forwarder.counters();
        match decision {
            Out::Send(_) => {
                prop_assert_eq!(counts(counters), (1, 0, 0, 0));
                check_forwarded(&before, &packet);
            }
            Out::Reply(reason, error) => {
                prop_assert_eq!(counts(counters), (0, 0, 1, 1));
                prop_assert_eq!(counters.dropped(reason), 1);
                prop_assert_eq!(&before, &packet);
                check_error(&error, &before);
            }
            Out::Drop(reason) => {
                prop_assert_eq!(counts(counters), (0, 0, 0, 1));
                prop_assert_eq!(counters.dropped(reason), 1);
                prop_assert_eq!(&before, &packet);
            }
        }
    }

    #[test]
    fn whatever_others_send_is_delivered_or_dropped_for_one_reason(
        mut packet in any_packet(),
        from in prop_oneof![Just(PEER_NODE), Just(STRANGE_NODE)],
        membership in prop_oneof![Just(Membership::Off), Just(Membership::Log), Just(Membership::Enforce)],
    ) {
        let before = packet.clone();
        let mut forwarder = Forwarder::new();

        let decision: In = forwarder.inbound(&table(membership), from, &mut packet, Instant::ZERO).into();

        let counters = forwarder.counters();
        match decision {
            In::Deliver => {
                prop_assert_eq!(counts(counters), (0, 1, 0, 0));
                check_forwarded(&before, &packet);
            }
            In::Reply(reason, to, error) => {
                prop_assert_eq!(counts(counters), (0, 0, 1, 1));
                prop_assert_eq!(counters.dropped(reason), 1);
                prop_assert_eq!(*to.ip(), from);
                prop_assert_eq!(&before, &packet);
                check_error(&error, &before);
            }
            In::Drop(reason) => {
                prop_assert_eq!(counts(counters), (0, 0, 0, 1));
                prop_assert_eq!(counters.dropped(reason), 1);
                prop_assert_eq!(&before, &packet);
            }
        }
    }
}

type Damage = fn(&mut Vec<u8>);

const MEMBERSHIPS: [Membership; 3] = [Membership::Off, Membership::Log, Membership::Enforce];

/// [`Outbound`] with an error of its own.
#[derive(Debug, Eq, PartialEq)]
enum Out {
    Send(SocketAddrV4),
    Reply(DropReason, Vec<u8>),
    Drop(DropReason),
}

impl From<Outbound<'_>> for Out {
    fn from(decision: Outbound<'_>) -> Self {
        match decision {
            Outbound::Send(to) => Self::Send(to),
            Outbound::Reply { reason, error } => Self::Reply(reason, error.to_vec()),
            Outbound::Drop(reason) => Self::Drop(reason),
        }
    }
}

/// [`Inbound`] with an error of its own.
#[derive(Debug, Eq, PartialEq)]
enum In {
    Deliver,
    Reply(DropReason, SocketAddrV4, Vec<u8>),
    Drop(DropReason),
}

impl From<Inbound<'_>> for In {
    fn from(decision: Inbound<'_>) -> Self {
        match decision {
            Inbound::Deliver => Self::Deliver,
            Inbound::Reply { reason, to, error } => Self::Reply(reason, to, error.to_vec()),
            Inbound::Drop(reason) => Self::Drop(reason),
        }
    }
}

fn outbound(packet: &mut [u8]) -> Out {
    Forwarder::new()
        .outbound(&table(Membership::Enforce), packet, Instant::ZERO)
        .into()
}

fn inbound(membership: Membership, from: Ipv4Addr, packet: &mut [u8]) -> In {
    Forwarder::new()
        .inbound(&table(membership), from, packet, Instant::ZERO)
        .into()
}

fn table(membership: Membership) -> ForwardingTable {
    let params = TunnelParams {
        network: "10.5.0.0/16".parse().unwrap(),
        subnet: "10.5.1.0/24".parse().unwrap(),
        address: TUNNEL,
        mtu: 1472,
        port: 8285,
        membership,
    };
    let peers = [
        ("10.5.2.0/24".parse().unwrap(), PEER_NODE),
        ("10.5.3.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 3)),
    ];
    ForwardingTable::new(params, peers)
}

enum Example {
    Outbound(Vec<u8>),
    Inbound(Ipv4Addr, Vec<u8>),
}

/// A packet that is dropped for the reason.
fn example(reason: DropReason) -> Example {
    let mut packet = udp(OWN, PEER, 63);
    match reason {
        DropReason::Truncated => packet.truncate(19),
        DropReason::NotIpv4 => packet[0] = 0x60,
        DropReason::BadHeaderLength => packet[0] = 0x40,
        DropReason::BadTotalLength => packet.push(0),
        DropReason::BadChecksum => packet[11] ^= 0x80,
        DropReason::TtlExceeded => packet = udp(OWN, PEER, 1),
        DropReason::NoRoute => packet = udp(OWN, STRANGER, 63),
        DropReason::TooBig => packet = sized(MTU + 1, DontFragment::Set),
        DropReason::BadSource => packet = udp(Ipv4Addr::LOCALHOST, PEER, 63),
        DropReason::BadDestination => packet = udp(OWN, Ipv4Addr::BROADCAST, 63),
        DropReason::NotOurs => return Example::Inbound(PEER_NODE, udp(PEER, STRANGER, 62)),
        DropReason::OwnSource => return Example::Inbound(PEER_NODE, udp(OWN, OWN, 62)),
        DropReason::UnknownSender => return Example::Inbound(STRANGE_NODE, udp(PEER, OWN, 62)),
        DropReason::ForeignSource => return Example::Inbound(PEER_NODE, udp(STRANGER, OWN, 62)),
    }
    Example::Outbound(packet)
}

/// Arbitrary bytes, and valid packets that are damaged in a byte or not at all.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let host = || {
        prop_oneof![
            Just(OWN),
            Just(PEER),
            Just(STRANGER),
            Just(TUNNEL),
            any::<Ipv4Addr>()
        ]
    };
    let valid = (
        host(),
        host(),
        prop_oneof![0..4_u8, any::<u8>()],
        0..1600_usize,
        any::<u16>(),
    );
    let valid = valid.prop_map(|(source, destination, ttl, len, flags)| {
        let mut packet = udp_with(source, destination, ttl, &std::vec![7; len]);
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        with_right_checksum(packet)
    });
    let damage = prop_oneof![3 => Just(None), 1 => any::<(u8, u8)>().prop_map(Some)];
    let damaged = (valid, damage).prop_map(|(mut packet, damage)| {
        if let Some((at, mask)) = damage {
            let at = usize::from(at) % packet.len();
            packet[at] ^= mask;
        }
        packet
    });
    prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..100), 5 => damaged]
}

/// (sent, delivered, errors, dropped for any reason)
fn counts(counters: &PacketCounters) -> (u64, u64, u64, u64) {
    let dropped = DropReason::ALL
        .iter()
        .map(|reason| counters.dropped(*reason))
        .sum();
    (counters.sent, counters.delivered, counters.icmp_errors, dropped)
}

/// Nothing but the TTL and the checksum may differ, and both must be right.
fn check_forwarded(before: &[u8], after: &[u8]) {
    let header = Ipv4HeaderSlice::from_slice(after).unwrap().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(header.time_to_live, before[8] - 1);
    assert_ne!(header.time_to_live, 0);
    assert_eq!(before[..8], after[..8]);
    assert_eq!(before[9], after[9]);
    assert_eq!(before[12..], after[12..]);
}

/// An error is a valid packet about the offender, to its source.
fn check_error(error: &[u8], offender: &[u8]) {
    let (header, icmp) = etherparse::Ipv4Header::from_slice(error).unwrap();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    assert_eq!(usize::from(header.total_len), error.len());
    assert!(error.len() <= 576);
    assert_eq!(header.source, TUNNEL.octets());
    assert_eq!(header.destination, offender[12..16]);
    assert_eq!(header.time_to_live, 64);
    let (icmp_header, quote) = Icmpv4Header::from_slice(icmp).unwrap();
    assert_eq!(icmp_header.checksum, icmp_header.icmp_type.calc_checksum(quote));
    assert_eq!(quote, &offender[..offender.len().min(548)]);
}

fn ip_source_and_destination(packet: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let header = Ipv4HeaderSlice::from_slice(packet).unwrap();
    (header.source_addr(), header.destination_addr())
}

fn icmp_kind(packet: &[u8]) -> Icmpv4Type {
    Icmpv4Header::from_slice(&packet[20..]).unwrap().0.icmp_type
}

fn udp(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    udp_with(source, destination, ttl, b"payload")
}

fn udp_with(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), ttl)
        .udp(40_000, 9_999)
        .write_to_vec(&mut packet, payload)
        .unwrap();
    packet
}

fn echo_request(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(source.octets(), destination.octets(), 63)
        .icmpv4_echo_request(1, 1)
        .write_to_vec(&mut packet, b"payload")
        .unwrap();
    packet
}

#[derive(Clone, Copy)]
enum DontFragment {
    Set,
    Clear,
}

/// A packet of `len` bytes for the peer.
fn sized(len: usize, dont_fragment: DontFragment) -> Vec<u8> {
    let mut packet = udp_with(OWN, PEER, 63, &std::vec![7; len - 28]);
    packet[6] = match dont_fragment {
        DontFragment::Set => 0x40,
        DontFragment::Clear => 0,
    };
    with_right_checksum(packet)
}

fn with_right_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let header = Ipv4HeaderSlice::from_slice(&packet).unwrap().to_header();
    packet[10..12].copy_from_slice(&header.calc_header_checksum().to_be_bytes());
    packet
}

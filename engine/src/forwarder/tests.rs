mod properties;
mod support;

use std::vec::Vec;

use etherparse::Icmpv4Type;
use etherparse::icmpv4::DestUnreachableHeader;

use self::support::*;
use super::*;

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
        Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Network)
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
    let expected = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1472 };
    assert_eq!(icmp_kind(&error), Icmpv4Type::DestinationUnreachable(expected));
    assert_eq!(error[28..], too_big[..548]);
}

#[test]
fn of_a_super_packet_each_segment_has_to_fit_and_counts() {
    let table = table(Membership::Enforce);
    let mut forwarder = Forwarder::new();
    let segment = |forwarder: &mut Forwarder, size| {
        let (mut packet, cut) = super_packet(4_000, size);
        let decision = Out::from(forwarder.outbound_super(&table, &mut packet, &cut, Instant::ZERO));
        (decision, packet[8])
    };

    let fits = segment(&mut forwarder, 1_444);
    let too_big = segment(&mut forwarder, 1_445);

    assert_eq!(fits, (Out::Send(SocketAddrV4::new(PEER_NODE, 8285)), 62));
    let (Out::Reply(DropReason::TooBig, error), 63) = too_big else {
        panic!("{too_big:?}");
    };
    let expected = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1472 };
    assert_eq!(icmp_kind(&error), Icmpv4Type::DestinationUnreachable(expected));
    assert_eq!(forwarder.counters().sent, 3);
    assert_eq!(forwarder.counters().dropped(DropReason::TooBig), 1);
}

#[test]
fn a_packet_above_the_mtu_of_its_path_is_answered_with_that() {
    let table = table(Membership::Enforce);
    let mut forwarder = Forwarder::new();
    let mut too_big = sized(1_273, DontFragment::Set);
    let mut fits = sized(1_272, DontFragment::Set);

    forwarder.learn_path_mtu(&table, PEER_NODE, 1_272, Instant::ZERO);
    let refused = Out::from(forwarder.outbound(&table, &mut too_big, Instant::ZERO));
    let sent = Out::from(forwarder.outbound(&table, &mut fits, Instant::ZERO));

    let Out::Reply(DropReason::TooBig, error) = refused else {
        panic!("{refused:?}");
    };
    let expected = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1272 };
    assert_eq!(icmp_kind(&error), Icmpv4Type::DestinationUnreachable(expected));
    assert!(matches!(sent, Out::Send(_)));
}

#[test]
fn nothing_is_learned_of_the_path_to_a_host_without_a_lease() {
    let mut forwarder = Forwarder::new();
    let mut without_peers = Forwarder::new();
    let empty = ForwardingTable::new(*table(Membership::Enforce).params(), []);
    let packet = sized(1_273, DontFragment::Set);

    without_peers.learn_path_mtu(&empty, PEER_NODE, 1_272, Instant::ZERO);
    forwarder.learn_path_mtu(
        &table(Membership::Enforce),
        Ipv4Addr::LOCALHOST,
        1_272,
        Instant::ZERO,
    );

    for mut forwarder in [forwarder, without_peers] {
        let table = table(Membership::Enforce);
        let decision = Out::from(forwarder.outbound(&table, &mut packet.clone(), Instant::ZERO));
        assert!(matches!(decision, Out::Send(_)), "{decision:?}");
    }
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
fn a_flood_from_a_peer_takes_no_errors_from_this_nodes_pods() {
    let mut forwarder = Forwarder::new();
    let table = table(Membership::Enforce);
    for _ in 0..1000 {
        forwarder.inbound(&table, PEER_NODE, &mut udp(PEER, OWN, 1), Instant::ZERO);
    }

    let mut packet = udp(OWN, STRANGER, 63);
    let decision = forwarder.outbound(&table, &mut packet, Instant::ZERO);

    assert!(matches!(decision, Outbound::Reply { .. }));
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

type Damage = fn(&mut Vec<u8>);

const MEMBERSHIPS: [Membership; 3] = [Membership::Off, Membership::Log, Membership::Enforce];

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

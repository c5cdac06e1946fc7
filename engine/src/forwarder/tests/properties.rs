//! What holds for every packet.

use std::vec::Vec;

use etherparse::{Icmpv4Header, Ipv4HeaderSlice};
use proptest::prelude::*;

use super::super::*;
use super::support::*;

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

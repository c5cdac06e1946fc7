//! ICMP errors as Linux makes them (`icmp_send`).

use std::net::Ipv4Addr;

use super::{
    HEADER, ICMP, ICMP_HEADER, TTL, checksum_part, destination, fold, header, put_u16, source, u16_at,
};

/// The most bytes of an error in all.
const MAX: usize = 576;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Problem {
    NetUnreachable,
    HostUnreachable,
    /// With the MTU of the next hop.
    FragmentationNeeded(u16),
    TtlExceeded,
}

/// Makes the error about `offender` to its source; none if there must not be one (RFC 1122, 3.2.2).
pub(crate) fn icmp_error(problem: Problem, reporter: Ipv4Addr, offender: &[u8]) -> Option<Vec<u8>> {
    if !may_be_answered(offender)? {
        return None;
    }
    let quote = offender.get(..MAX - HEADER - ICMP_HEADER).unwrap_or(offender);
    let (kind, code, mtu) = match problem {
        Problem::NetUnreachable => (3, 0, 0),
        Problem::HostUnreachable => (3, 1, 0),
        Problem::FragmentationNeeded(mtu) => (3, 4, mtu),
        Problem::TtlExceeded => (11, 0, 0),
    };
    let mut packet = header(reporter, source(offender)?, TTL, ICMP, ICMP_HEADER + quote.len());
    packet.extend([kind, code, 0, 0, 0, 0]);
    packet.extend(mtu.to_be_bytes());
    packet.extend(quote);
    let sum = fold(checksum_part(packet.get(HEADER..)?));
    put_u16(&mut packet, HEADER + 2, sum);
    Some(packet)
}

/// Tells whether an error may be made about a packet (RFC 1122, 3.2.2); `None` if it is too short to say.
pub(crate) fn may_be_answered(packet: &[u8]) -> Option<bool> {
    let offset = u16_at(packet, 6)? & 0x1fff;
    let is_icmp = packet.get(9) == Some(&ICMP);
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let is_icmp_query = matches!(packet.get(header_length), Some(0 | 8 | 13..=18));
    Some(
        offset == 0
            && is_host(source(packet)?)
            && is_host(destination(packet)?)
            && (!is_icmp || is_icmp_query),
    )
}

fn is_host(address: Ipv4Addr) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use etherparse::icmpv4::DestUnreachableHeader;
    use etherparse::{Icmpv4Slice, Icmpv4Type, Ipv4HeaderSlice};

    use super::*;
    use crate::packet::{self, Echo};

    #[test]
    fn an_error_is_valid_for_an_independent_parser_and_quotes_the_offender() {
        let offender = packet::udp(A, B, 1, b"payload");

        let error = icmp_error(Problem::FragmentationNeeded(1472), ROUTER, &offender).unwrap();

        let header = Ipv4HeaderSlice::from_slice(&error).unwrap();
        let icmp = Icmpv4Slice::from_slice(&error[20..]).unwrap();
        let expected = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1472 };
        assert!(packet::is_valid(&error));
        assert_eq!((header.source_addr(), header.destination_addr()), (ROUTER, A));
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(expected));
        assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));
        assert_eq!(icmp.payload(), offender);
        assert_eq!(packet::icmp_error_quote(&error), Some(&offender[..]));
    }

    #[test]
    fn a_long_offender_is_cut() {
        let error = icmp_error(
            Problem::NetUnreachable,
            ROUTER,
            &packet::udp(A, B, 64, &[0; 1000]),
        );

        assert_eq!(error.map(|error| error.len()), Some(576));
    }

    #[test]
    fn errors_are_not_answered_and_pings_are() {
        let error = icmp_error(Problem::TtlExceeded, ROUTER, &packet::udp(A, B, 1, b"")).unwrap();
        let ping = packet::icmp_echo(A, B, 1, Echo::Request, b"");

        assert_eq!(icmp_error(Problem::TtlExceeded, B, &error), None);
        assert!(icmp_error(Problem::TtlExceeded, ROUTER, &ping).is_some());
    }

    #[test]
    fn later_fragments_and_addresses_of_no_host_are_not_answered() {
        let whole = packet::udp(A, B, 64, &[0; 1000]);
        let fragments = packet::fragments(&whole, 576);
        let multicast = packet::udp(A, Ipv4Addr::new(224, 0, 0, 5), 1, b"");

        let is_answered = |packet: &[u8]| icmp_error(Problem::TtlExceeded, ROUTER, packet).is_some();

        assert!(is_answered(&fragments[0]));
        assert!(!is_answered(&fragments[1]));
        assert!(!is_answered(&multicast));
    }

    const A: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 2);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 1);
}

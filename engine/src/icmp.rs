//! ICMP errors about packets that are not forwarded (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2).

use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::checksum;
use crate::ipv4::{Ipv4Header, MIN_HEADER_LEN, is_no_host};
use crate::time::Instant;
use crate::token_bucket::TokenBucket;

/// The largest error in bytes: what every host can take in one piece (RFC 1812, 4.3.2.3).
const MAX_LEN: usize = 576;

/// The length of an ICMP error's header, in bytes.
const ICMP_HEADER_LEN: usize = 8;

/// The most bytes of the offending packet that fit into an error.
const MAX_QUOTE_LEN: usize = MAX_LEN - MIN_HEADER_LEN - ICMP_HEADER_LEN;

/// The TTL of an error.
const TTL: u8 = 64;

/// The number of ICMP in the IPv4 header.
const PROTOCOL: u8 = 1;

/// A hundred errors a second after a burst of twenty (RFC 1812, 4.3.2.8).
const LIMIT: TokenBucket = TokenBucket::new(Duration::from_millis(10), 20);

/// What is wrong with a packet, for its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Problem {
    /// No route leads to its destination.
    NetUnreachable,
    /// It is larger than the next hop takes and must not be fragmented (RFC 1191).
    FragmentationNeeded {
        /// What the next hop takes, in bytes.
        next_hop_mtu: u32,
    },
    /// Its TTL has come to an end.
    TtlExceeded,
}

/// Makes errors in a buffer of its own, and not too many of them.
#[derive(Clone)]
pub(crate) struct IcmpErrors {
    buffer: [u8; MAX_LEN],
    limit: TokenBucket,
}

impl IcmpErrors {
    /// Makes the buffer.
    pub(crate) const fn new() -> Self {
        Self {
            buffer: [0; MAX_LEN],
            limit: LIMIT,
        }
    }

    /// Makes the error from `reporter` to the source of `offender`, which is quoted as it is given.
    ///
    /// There is none about packets that none must be sent about, and none above the rate limit.
    pub(crate) fn make(
        &mut self,
        problem: Problem,
        reporter: Ipv4Addr,
        header: &Ipv4Header,
        offender: &[u8],
        now: Instant,
    ) -> Option<&[u8]> {
        if !may_be_answered(header, offender) || !self.limit.take(now) {
            return None;
        }
        let quote = offender.get(..MAX_QUOTE_LEN).unwrap_or(offender);
        let len = MIN_HEADER_LEN + ICMP_HEADER_LEN + quote.len();
        let error = self.buffer.get_mut(..len)?;
        let (ip_header, icmp) = error.split_first_chunk_mut::<MIN_HEADER_LEN>()?;
        *ip_header = ipv4_header(u16::try_from(len).ok()?, reporter, header.source);
        write_icmp(icmp, problem, quote)?;
        Some(error)
    }
}

impl fmt::Debug for IcmpErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcmpErrors")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Tells whether an error may be sent about the packet (RFC 1122, 3.2.2).
fn may_be_answered(header: &Ipv4Header, packet: &[u8]) -> bool {
    header.fragmentation.is_first()
        && !is_no_host(header.source)
        && !is_no_host(header.destination)
        && (header.protocol != PROTOCOL || packet.get(header.len).is_some_and(|kind| is_query(*kind)))
}

/// Tells whether an ICMP type is known not to be an error: the echoes, timestamps, information, masks, router
/// discovery and the extended echoes.
const fn is_query(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43)
}

fn ipv4_header(total_len: u16, source: Ipv4Addr, destination: Ipv4Addr) -> [u8; MIN_HEADER_LEN] {
    let [len1, len0] = total_len.to_be_bytes();
    let [s3, s2, s1, s0] = source.octets();
    let [d3, d2, d1, d0] = destination.octets();
    let with_checksum = |sum1, sum0| {
        [
            0x45, 0, len1, len0, 0, 0, 0, 0, TTL, PROTOCOL, sum1, sum0, s3, s2, s1, s0, d3, d2, d1, d0,
        ]
    };
    let [sum1, sum0] = (!checksum::sum(&with_checksum(0, 0))).to_be_bytes();
    with_checksum(sum1, sum0)
}

/// Fills `icmp` with an error's header and the quote.
fn write_icmp(icmp: &mut [u8], problem: Problem, quote: &[u8]) -> Option<()> {
    let (header, data) = icmp.split_first_chunk_mut::<ICMP_HEADER_LEN>()?;
    *header = icmp_header(problem, 0);
    data.copy_from_slice(quote);
    let checksum = !checksum::sum(icmp);
    *icmp.first_chunk_mut::<ICMP_HEADER_LEN>()? = icmp_header(problem, checksum);
    Some(())
}

fn icmp_header(problem: Problem, checksum: u16) -> [u8; ICMP_HEADER_LEN] {
    let (kind, code, mtu) = match problem {
        Problem::NetUnreachable => (3, 0, 0),
        Problem::FragmentationNeeded { next_hop_mtu } => {
            (3, 4, u16::try_from(next_hop_mtu).unwrap_or(u16::MAX))
        }
        Problem::TtlExceeded => (11, 0, 0),
    };
    let [sum1, sum0] = checksum.to_be_bytes();
    let [mtu1, mtu0] = mtu.to_be_bytes();
    [kind, code, sum1, sum0, 0, 0, mtu1, mtu0]
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use etherparse::PacketBuilder;

    use super::*;

    /// The example of backends.md, 3.7: a UDP packet for a subnet that no lease covers.
    const OFFENDER: [u8; 28] = [
        0x45, 0x00, 0x00, 0x2c, 0x15, 0xf6, 0x40, 0x00, 0x3f, 0x11, 0x48, 0x5c, 0x0a, 0x32, 0x01, 0x02, 0x0a,
        0x32, 0xc8, 0x09, 0x9b, 0xd4, 0x27, 0x0f, 0x00, 0x18, 0x14, 0x21,
    ];

    #[test]
    fn net_unreachable_differs_from_flannels_by_ttl_and_a_longer_quote_alone() {
        let mut offender = OFFENDER.to_vec();
        offender.resize(0x2c, 0xaa);

        let error = make(Problem::NetUnreachable, &offender);

        let mut expected = [
            0x45, 0x00, 0x00, 0x48, 0x00, 0x00, 0x00, 0x00, 0x40, 0x01, 0x64, 0x50, 0x0a, 0x32, 0x01, 0x00,
            0x0a, 0x32, 0x01, 0x02, 0x03, 0x00, 0xd0, 0x8d, 0x00, 0x00, 0x00, 0x00,
        ]
        .to_vec();
        expected.extend_from_slice(&offender);
        assert_eq!(error, Some(expected));
    }

    #[test]
    fn the_quote_of_flannels_length_has_flannels_icmp_header() {
        let mut icmp = [0xaa; ICMP_HEADER_LEN + OFFENDER.len()];

        write_icmp(&mut icmp, Problem::NetUnreachable, &OFFENDER).unwrap();

        assert_eq!(icmp[..8], [0x03, 0x00, 0x25, 0xe3, 0x00, 0x00, 0x00, 0x00]);
        assert_eq!(icmp[8..], OFFENDER);
    }

    #[test]
    fn fragmentation_needed_tells_the_next_hops_mtu() {
        let header = icmp_header(Problem::FragmentationNeeded { next_hop_mtu: 1472 }, 0);
        let beyond = icmp_header(Problem::FragmentationNeeded { next_hop_mtu: 70_000 }, 0);

        assert_eq!(
            (header[0], header[1], &header[4..]),
            (3, 4, &[0, 0, 0x05, 0xc0][..])
        );
        assert_eq!(beyond[6..], [0xff, 0xff]);
    }

    #[test]
    fn an_error_is_at_most_576_bytes() {
        let offender = udp(1400);

        let error = make(Problem::TtlExceeded, &offender).unwrap();

        assert_eq!(error.len(), 576);
        assert_eq!(error[28..], offender[..548]);
    }

    #[test]
    fn a_short_offender_leaves_nothing_of_the_one_before() {
        let mut errors = IcmpErrors::new();
        make_by(&mut errors, Problem::TtlExceeded, &udp(1400));

        let error = make_by(&mut errors, Problem::TtlExceeded, &udp(1)).unwrap();

        assert_eq!(error[28..], udp(1));
    }

    #[test]
    fn icmp_errors_are_never_answered_but_queries_are() {
        let answered: Vec<u8> = (0..=u8::MAX)
            .filter(|kind| make(Problem::TtlExceeded, &icmp(*kind)).is_some())
            .collect();

        assert_eq!(answered, [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43]);
    }

    #[test]
    fn icmp_without_a_type_is_not_answered() {
        let error = make(Problem::TtlExceeded, &rebuilt(&icmp(8)[..20], |_| ()));

        assert_eq!(error, None);
    }

    #[test]
    fn later_fragments_are_never_answered() {
        let first = rebuilt(&udp(8), |header| header.more_fragments = true);
        let later = rebuilt(&udp(8), |header| header.fragment_offset = 1.try_into().unwrap());

        let errors = [first, later].map(|offender| make(Problem::TtlExceeded, &offender).is_some());

        assert_eq!(errors, [true, false]);
    }

    #[test]
    fn addresses_of_no_host_are_never_answered() {
        let hosts = [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]];

        for host in hosts {
            let from = rebuilt(&udp(8), |header| header.source = host);
            let to = rebuilt(&udp(8), |header| header.destination = host);

            assert_eq!(make(Problem::TtlExceeded, &from), None);
            assert_eq!(make(Problem::TtlExceeded, &to), None);
        }
    }

    #[test]
    fn errors_are_limited_to_a_hundred_a_second_after_a_burst() {
        let mut errors = IcmpErrors::new();
        let offender = udp(8);
        let header = Ipv4Header::parse(&offender).unwrap();

        let made = (0..10_000_u64)
            .map(|count| Instant::from_nanos(count * 1_000_000))
            .filter(|now| {
                errors
                    .make(Problem::TtlExceeded, REPORTER, &header, &offender, *now)
                    .is_some()
            })
            .count();

        assert_eq!(made, 20 + 999);
    }

    const REPORTER: Ipv4Addr = Ipv4Addr::new(10, 50, 1, 0);

    fn make(problem: Problem, offender: &[u8]) -> Option<Vec<u8>> {
        make_by(&mut IcmpErrors::new(), problem, offender)
    }

    fn make_by(errors: &mut IcmpErrors, problem: Problem, offender: &[u8]) -> Option<Vec<u8>> {
        let header = Ipv4Header::parse(offender).unwrap();
        errors
            .make(problem, REPORTER, &header, offender, Instant::ZERO)
            .map(<[u8]>::to_vec)
    }

    fn udp(payload_len: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let payload: Vec<u8> = (1..=u8::MAX).cycle().take(payload_len).collect();
        PacketBuilder::ipv4([10, 50, 1, 2], [10, 50, 200, 9], 63)
            .udp(40_000, 9_999)
            .write_to_vec(&mut packet, &payload)
            .unwrap();
        packet
    }

    fn icmp(kind: u8) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 50, 1, 2], [10, 50, 200, 9], 63)
            .icmpv4_raw(kind, 0, [0; 4])
            .write_to_vec(&mut packet, &[])
            .unwrap();
        packet
    }

    /// Changes the header and makes its length and checksum anew.
    fn rebuilt(packet: &[u8], change: impl FnOnce(&mut etherparse::Ipv4Header)) -> Vec<u8> {
        let (mut header, payload) = etherparse::Ipv4Header::from_slice(packet).unwrap();
        change(&mut header);
        header.set_payload_len(payload.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes(), payload].concat()
    }
}

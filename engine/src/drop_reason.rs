//! Why a packet was not forwarded.

/// The reason why a packet was dropped; each has a counter, and a name that operators see.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum DropReason {
    /// Shorter than an IPv4 header, or than the header it announces.
    Truncated,
    /// The version is not 4.
    NotIpv4,
    /// The header length is below 20 bytes.
    BadHeaderLength,
    /// The total length is below the header length or differs from the bytes received.
    BadTotalLength,
    /// The header checksum is wrong.
    BadChecksum,
    /// The TTL would become zero; answered with time exceeded.
    TtlExceeded,
    /// No lease covers the destination; answered with network unreachable.
    NoRoute,
    /// Larger than the tunnel's MTU and not to be fragmented; answered with fragmentation needed.
    TooBig,
    /// A source that no packet may have: unspecified, loopback, multicast, broadcast.
    BadSource,
    /// A destination that is never forwarded: unspecified, loopback, multicast, broadcast.
    BadDestination,
    /// From the tunnel, for an address outside this node's subnet.
    NotOurs,
    /// From the tunnel, with a source inside this node's own subnet.
    OwnSource,
    /// From the tunnel, from a host that holds no lease.
    UnknownSender,
    /// From the tunnel, with a source outside the sender's subnet.
    ForeignSource,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::Truncated,
        Self::NotIpv4,
        Self::BadHeaderLength,
        Self::BadTotalLength,
        Self::BadChecksum,
        Self::TtlExceeded,
        Self::NoRoute,
        Self::TooBig,
        Self::BadSource,
        Self::BadDestination,
        Self::NotOurs,
        Self::OwnSource,
        Self::UnknownSender,
        Self::ForeignSource,
    ];

    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::NotIpv4 => "not_ipv4",
            Self::BadHeaderLength => "bad_header_length",
            Self::BadTotalLength => "bad_total_length",
            Self::BadChecksum => "bad_checksum",
            Self::TtlExceeded => "ttl_exceeded",
            Self::NoRoute => "no_route",
            Self::TooBig => "too_big",
            Self::BadSource => "bad_source",
            Self::BadDestination => "bad_destination",
            Self::NotOurs => "not_ours",
            Self::OwnSource => "own_source",
            Self::UnknownSender => "unknown_sender",
            Self::ForeignSource => "foreign_source",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_lists_each_reason_once_in_the_order_of_the_counters() {
        let positions = DropReason::ALL.map(|reason| reason as usize);

        assert_eq!(positions, core::array::from_fn(|position| position));
    }

    #[test]
    fn names_are_distinct_and_fit_for_metric_labels() {
        let names: BTreeSet<_> = DropReason::ALL.map(DropReason::name).into();

        assert_eq!(names.len(), DropReason::ALL.len());
        assert!(names.iter().all(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'4'))
        }));
    }
}

//! Why what the TUN device gave is no packet and no super-packet.

use thiserror::Error;

/// The reason why a vnet header, or the packet behind it, is refused; each has a name that operators see.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, Ord, PartialEq, PartialOrd)]
pub enum OffloadError {
    /// A kind of super-packet that was not asked for, or that does not exist.
    #[error("the kind of super-packet is unknown")]
    UnknownGsoType,
    /// A super-packet of segments without payload.
    #[error("the segments of the super-packet are empty")]
    ZeroGsoSize,
    /// A super-packet whose checksum is not marked as partial (virtio 1.2, 5.1.6.2.1 demands it).
    #[error("the super-packet has no partial checksum")]
    MissingChecksum,
    /// A checksum that would lie in the IP header or beyond the packet.
    #[error("the partial checksum lies outside of the packet's transport")]
    ChecksumOutside,
    /// A super-packet whose partial checksum is not that of its transport header.
    #[error("the partial checksum is not that of the super-packet's transport header")]
    ChecksumMisplaced,
    /// No valid IPv4 or IPv6 header, or one whose length differs from the bytes read.
    #[error("the IP header is invalid")]
    BadIpHeader,
    /// A super-packet that is a fragment.
    #[error("the super-packet is a fragment")]
    Fragment,
    /// A packet of another IP version or transport than the vnet header names.
    #[error("the packet is not of the kind that its vnet header names")]
    KindMismatch,
    /// A TCP or UDP header that is cut off, or whose length differs from the bytes read.
    #[error("the transport header is invalid")]
    BadTransportHeader,
    /// Several segments with SYN, RST or URG, which make sense on one alone.
    #[error("the super-packet has SYN, RST or URG")]
    BadTcpFlags,
    /// More segments than a kernel cuts.
    #[error("the super-packet has too many segments")]
    TooManySegments,
}

impl OffloadError {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::UnknownGsoType,
        Self::ZeroGsoSize,
        Self::MissingChecksum,
        Self::ChecksumOutside,
        Self::ChecksumMisplaced,
        Self::BadIpHeader,
        Self::Fragment,
        Self::KindMismatch,
        Self::BadTransportHeader,
        Self::BadTcpFlags,
        Self::TooManySegments,
    ];

    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownGsoType => "unknown_gso_type",
            Self::ZeroGsoSize => "zero_gso_size",
            Self::MissingChecksum => "missing_checksum",
            Self::ChecksumOutside => "checksum_outside",
            Self::ChecksumMisplaced => "checksum_misplaced",
            Self::BadIpHeader => "bad_ip_header",
            Self::Fragment => "fragment",
            Self::KindMismatch => "kind_mismatch",
            Self::BadTransportHeader => "bad_transport_header",
            Self::BadTcpFlags => "bad_tcp_flags",
            Self::TooManySegments => "too_many_segments",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_lists_each_reason_once_in_the_order_of_the_counters() {
        let positions = OffloadError::ALL.map(|reason| reason as usize);

        assert_eq!(positions, core::array::from_fn(|position| position));
    }

    #[test]
    fn names_are_distinct_and_fit_for_metric_labels() {
        let names: BTreeSet<_> = OffloadError::ALL.map(OffloadError::name).into();

        assert_eq!(names.len(), OffloadError::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| { name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') })
        );
    }
}

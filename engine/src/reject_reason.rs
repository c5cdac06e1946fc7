//! Why a record in the store is not used.

use serde::{Deserialize, Serialize};

/// The reason why a lease in the store is ignored; each has a counter, and a name that operators see.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The key's last part is not a subnet.
    BadKey,
    /// The value is not JSON of the right shape.
    BadValue,
    /// The value is larger than 64 KiB.
    TooLarge,
    /// The subnet does not lie inside the network.
    OutsideNetwork,
    /// The subnet overlaps this node's own.
    OverlapsOwn,
    /// The subnet overlaps an older lease's.
    OverlapsPeer,
    /// The public IP is unspecified, loopback, multicast or broadcast.
    BadPublicIp,
    /// The public IP is this node's own, but the lease is not the one it holds.
    OwnPublicIp,
    /// The lease has no subnet of the backend's address family.
    WrongFamily,
    /// The lease is of another backend, whose nodes do not understand the packets of this one.
    ForeignBackend,
}

impl RejectReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::BadKey,
        Self::BadValue,
        Self::TooLarge,
        Self::OutsideNetwork,
        Self::OverlapsOwn,
        Self::OverlapsPeer,
        Self::BadPublicIp,
        Self::OwnPublicIp,
        Self::WrongFamily,
        Self::ForeignBackend,
    ];

    /// Returns the name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadKey => "bad_key",
            Self::BadValue => "bad_value",
            Self::TooLarge => "too_large",
            Self::OutsideNetwork => "outside_network",
            Self::OverlapsOwn => "overlaps_own",
            Self::OverlapsPeer => "overlaps_peer",
            Self::BadPublicIp => "bad_public_ip",
            Self::OwnPublicIp => "own_public_ip",
            Self::WrongFamily => "wrong_family",
            Self::ForeignBackend => "foreign_backend",
        }
    }
}

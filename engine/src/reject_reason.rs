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
    /// The public IP is missing, unspecified, loopback, multicast or broadcast.
    BadPublicIp,
    /// The public IP is this node's own, but the lease is not the one it holds.
    OwnPublicIp,
    /// The lease has no subnet of an IP version that the network and the backend have.
    WrongFamily,
    /// The lease is of another backend, whose nodes do not understand the packets of this one.
    ForeignBackend,
    /// The lease lacks what the backend must know of its node, or has it in another form.
    BadBackendData,
    /// The hardware address is this node's own.
    OwnMac,
    /// The hardware address is another node's, whose lease is older.
    DuplicateMac,
}

impl RejectReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 13] = [
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
        Self::BadBackendData,
        Self::OwnMac,
        Self::DuplicateMac,
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
            Self::BadBackendData => "bad_backend_data",
            Self::OwnMac => "own_mac",
            Self::DuplicateMac => "duplicate_mac",
        }
    }
}

//! A node's record in the store: what it tells the others about itself (control-plane.md, 3.2).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::reject_reason::RejectReason;

/// The value of a lease's key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeaseRecord {
    /// The node's underlay address; unspecified if it has none of this family.
    pub public_ip: Ipv4Addr,
    /// The node's IPv6 underlay address.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The backend's type, empty for `udp` and `alloc`.
    pub backend_type: String,
    /// The backend's data for IPv4: raw JSON.
    pub backend_data: Option<String>,
    /// The backend's data for IPv6: raw JSON.
    pub backend_v6_data: Option<String>,
}

impl LeaseRecord {
    /// Reads a value: key names in any case, unknown keys ignored, the last of equal keys wins.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadValue`] if it is not JSON of the right shape, [`RejectReason::TooLarge`] above 64 KiB.
    pub fn decode(_value: &[u8]) -> Result<Self, RejectReason> {
        todo!()
    }

    /// Writes the value, byte for byte as flannel does.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }
}

//! A tunnel device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A tunnel device that is up.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Tun {
    pub(super) mtu: u32,
    pub(super) addresses: BTreeSet<Ipv4Net>,
    pub(super) settings: BTreeMap<&'static str, &'static str>,
}

impl Tun {
    pub(super) fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }

    /// Tells whether packets from the device may come from one of the node's own addresses (`accept_local`).
    pub(super) fn accepts_local(&self) -> bool {
        self.settings.get("accept_local") == Some(&"1")
    }
}

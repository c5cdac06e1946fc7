//! A tunnel device.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A tunnel device as the daemon made it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Device {
    pub(super) mtu: u32,
    pub(super) state: DeviceState,
    pub(super) addresses: BTreeSet<Ipv4Net>,
    pub(super) settings: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
}

/// Whether a device carries packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DeviceState {
    Up,
    Down,
}

impl Device {
    pub(super) fn new(mtu: u32) -> Self {
        Self {
            mtu,
            state: DeviceState::Up,
            addresses: BTreeSet::new(),
            settings: BTreeMap::new(),
        }
    }

    pub(super) fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }

    /// Tells whether packets from the device may come from one of the node's own addresses (`accept_local`).
    pub(super) fn accepts_local(&self) -> bool {
        self.settings
            .get("accept_local")
            .is_some_and(|value| value == "1")
    }
}

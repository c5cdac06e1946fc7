//! Network devices, and what hangs on each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use selvedge_engine::{FoundVxlan, IpVersion, LinkName, LinkState, MacAddress};

/// A device with its addresses, neighbours, forwarding entries and settings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Device {
    pub(super) name: LinkName,
    pub(super) kind: Kind,
    pub(super) mtu: u32,
    pub(super) mac: Option<MacAddress>,
    pub(super) state: LinkState,
    pub(super) alias: String,
    /// In the order in which they were added, which is the kernel's.
    pub(super) addresses: Vec<IpNet>,
    /// The permanent ones.
    pub(super) neighbours: BTreeMap<IpAddr, MacAddress>,
    /// Of a VXLAN device, the permanent ones.
    pub(super) fdb: BTreeMap<MacAddress, IpAddr>,
    pub(super) settings: BTreeMap<(IpVersion, Cow<'static, str>), Cow<'static, str>>,
}

/// What a device is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The card that the node is attached to the underlay by.
    Ethernet,
    /// The bridge of the node's pods.
    Bridge,
    Tun,
    Vxlan(FoundVxlan),
    /// What other programs made.
    Other,
}

impl Device {
    /// Makes a device that is down and has nothing yet.
    pub(super) const fn new(name: LinkName, kind: Kind, mtu: u32, mac: Option<MacAddress>) -> Self {
        Self {
            name,
            kind,
            mtu,
            mac,
            state: LinkState::Down,
            alias: String::new(),
            addresses: Vec::new(),
            neighbours: BTreeMap::new(),
            fdb: BTreeMap::new(),
            settings: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// Returns the attributes of a VXLAN device.
    pub(super) const fn vxlan(&self) -> Option<&FoundVxlan> {
        match &self.kind {
            Kind::Vxlan(vxlan) => Some(vxlan),
            Kind::Ethernet | Kind::Bridge | Kind::Tun | Kind::Other => None,
        }
    }

    /// Tells whether packets from the device may come from one of the node's own addresses (`accept_local`).
    pub(super) fn accepts_local(&self) -> bool {
        self.settings
            .get(&(IpVersion::V4, Cow::Borrowed("accept_local")))
            .is_some_and(|value| value == "1")
    }

    /// Returns the first address of an IP version, the source of what the kernel sends by the device.
    pub(super) fn first_address(&self, version: IpVersion) -> Option<IpAddr> {
        let addresses = self.addresses.iter().map(IpNet::addr);
        addresses
            .into_iter()
            .find(|address| IpVersion::of(*address) == version)
    }

    pub(super) fn mtu_in_bytes(&self) -> usize {
        usize::try_from(self.mtu).unwrap_or(usize::MAX)
    }
}

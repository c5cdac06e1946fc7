//! What of a device matters.

use selvedge_engine::{FoundLink, Link, LinkKind, LinkName, LinkState, MacAddress};

/// A device as it was last seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    name: LinkName,
    mtu: u32,
    mac: Option<MacAddress>,
    state: LinkState,
}

impl From<&FoundLink> for Seen {
    fn from(link: &FoundLink) -> Self {
        Self {
            name: link.name.clone(),
            mtu: link.mtu,
            mac: link.mac,
            state: link.state,
        }
    }
}

impl Seen {
    /// Tells whether all is as it is wanted.
    pub(super) fn is(&self, wanted: &Link) -> bool {
        self.name == wanted.name
            && self.mtu == wanted.mtu
            && self.has_mac(wanted)
            && self.state == LinkState::Up
    }

    /// Tells whether each attribute is as it was before or as it is wanted.
    ///
    /// A device that was up and is down is not: with that it lost its routes. One that is new is down at first, and a TUN
    /// device then has an MTU that nobody asked for.
    pub(super) fn approaches(&self, before: Option<&Self>, wanted: &Link) -> bool {
        let Some(before) = before else {
            let has_mtu = match wanted.kind {
                LinkKind::Tun => true,
                LinkKind::Vxlan(_) => self.mtu == wanted.mtu,
            };
            return self.name == wanted.name && has_mtu && self.has_mac(wanted);
        };
        (self.name == wanted.name || self.name == before.name)
            && (self.mtu == wanted.mtu || self.mtu == before.mtu)
            && (self.has_mac(wanted) || self.mac == before.mac)
            && (self.state == LinkState::Up || before.state == LinkState::Down)
    }

    fn has_mac(&self, wanted: &Link) -> bool {
        match &wanted.kind {
            LinkKind::Tun => true,
            LinkKind::Vxlan(vxlan) => self.mac == Some(vxlan.mac),
        }
    }
}

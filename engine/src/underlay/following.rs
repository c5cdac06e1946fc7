//! Staying on the interface while it changes.

use core::net::IpAddr;

use super::attachments::is_link_local;
use super::{Attachments, Interface, Selection, Underlay};

impl Underlay {
    /// Returns what has become of the interface: it may have another name, index, MTU or address. If it is gone, the
    /// selection is made anew.
    ///
    /// An address that it still has is kept, whichever would be chosen today. `None` while there is no interface with an
    /// address of every IP version that it had: between two addresses an interface has none, or a link-local one alone.
    pub(crate) fn follow(&self, attachments: &Attachments, selection: &Selection) -> Option<Self> {
        let Some(interface) = self.current(attachments) else {
            return Self::select(attachments, selection).ok();
        };
        let has = |address: IpAddr| interface.addresses.iter().any(|own| own.address == address);
        let had_v4 = !self.address.is_unspecified();
        let v4 = had_v4.then(|| {
            let kept = Some(self.address).filter(|address| has((*address).into()));
            let best = interface
                .best_v4()
                .filter(|best| reaches_as_far(*best, self.address));
            kept.or(best)
        });
        let v6 = self.address_v6.map(|address| {
            let kept = Some(address).filter(|address| has((*address).into()));
            let best = interface.best_v6().filter(|best| reaches_as_far(*best, address));
            kept.or(best)
        });
        let (v4, v6) = (
            v4.map_or(Some(None), |v4| v4.map(Some))?,
            v6.map_or(Some(None), |v6| v6.map(Some))?,
        );
        Some(Self {
            interface: interface.name.clone(),
            index: interface.index,
            mtu: if interface.mtu == 0 {
                self.mtu
            } else {
                interface.mtu
            },
            address: v4.unwrap_or(self.address),
            address_v6: v6,
            public_ip: v4.map_or(self.public_ip, |v4| selection.public_ip.unwrap_or(v4)),
            public_ipv6: v6.map(|v6| selection.public_ipv6.unwrap_or(v6)),
        })
    }

    /// Finds the interface: by its index and name, else by either.
    fn current<'a>(&self, attachments: &'a Attachments) -> Option<&'a Interface> {
        let named = attachments.named(&self.interface);
        named.or_else(|| attachments.indexed(self.index))
    }
}

/// Tells whether an address is one that peers which reached another can reach, too.
fn reaches_as_far(address: impl Into<IpAddr>, other: impl Into<IpAddr>) -> bool {
    !is_link_local(address.into()) || is_link_local(other.into())
}

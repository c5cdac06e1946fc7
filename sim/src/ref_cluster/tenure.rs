//! A time during which a node held a subnet.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use selvedge_engine::{Instant, MacAddress, Revision};

use super::Hand;

/// A time during which a node held a subnet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tenure {
    pub(crate) owner: Ipv4Addr,
    /// The hardware address of the owner's VXLAN device, with a backend that has such.
    pub(crate) vtep: Option<MacAddress>,
    pub(crate) from_revision: Revision,
    pub(crate) from: Instant,
    pub(crate) until: Option<Instant>,
    /// Whose doing its end was, if it has ended.
    pub(super) ended_by: Hand,
}

impl Tenure {
    /// Ends it.
    pub(super) const fn end(&mut self, now: Instant, hand: Hand) {
        self.until = Some(now);
        self.ended_by = hand;
    }

    /// Returns the tenure if it lasts.
    pub(super) const fn current(&self) -> Option<&Self> {
        match self.until {
            None => Some(self),
            Some(_) => None,
        }
    }
}

/// Reads the last part of a lease's key, in dual stack `10.5.51.0-24&fd05:0:0:1d::-64`.
pub(crate) fn parse_key(text: &str) -> Option<(Ipv4Net, Option<Ipv6Net>)> {
    let Some((v4, v6)) = text.split_once('&') else {
        return Some((parse_subnet(text)?, None));
    };
    let (address, length) = v6.split_once('-')?;
    let v6 = Ipv6Net::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    (v6.trunc() == v6).then_some((parse_subnet(v4)?, Some(v6)))
}

/// Reads the last part of a lease's key, `10.5.34.0-24`; stricter than any node has to be, for it only reads what
/// nodes wrote.
pub(crate) fn parse_subnet(text: &str) -> Option<Ipv4Net> {
    let (address, length) = text.split_once('-')?;
    let subnet = Ipv4Net::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    (subnet.trunc() == subnet).then_some(subnet)
}

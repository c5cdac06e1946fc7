//! A time during which a node held a subnet.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use selvedge_engine::{Instant, Revision};

/// A time during which a node held a subnet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tenure {
    pub(crate) owner: Ipv4Addr,
    pub(crate) from_revision: Revision,
    pub(crate) from: Instant,
    pub(crate) until: Option<Instant>,
}

impl Tenure {
    /// Returns the tenure if it lasts.
    pub(super) const fn current(&self) -> Option<&Self> {
        match self.until {
            None => Some(self),
            Some(_) => None,
        }
    }
}

/// Reads the last part of a lease's key, `10.5.34.0-24`; stricter than any node has to be, for it only reads what
/// nodes wrote.
pub(crate) fn parse_subnet(text: &str) -> Option<Ipv4Net> {
    let (address, length) = text.split_once('-')?;
    let subnet = Ipv4Net::new(address.parse().ok()?, length.parse().ok()?).ok()?;
    (subnet.trunc() == subnet).then_some(subnet)
}

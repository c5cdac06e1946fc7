//! The name of a node.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The number of a node, from 1; it prints as `n3`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct NodeId(u32);

/// A text that names no node.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is no node: nodes are called n1, n2 and so on")]
pub struct BadNodeId(String);

impl NodeId {
    /// Makes the name of the node with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the names of the nodes 1 to `count`.
    pub fn first(count: u32) -> impl Iterator<Item = Self> {
        (1..=count).map(Self)
    }

    /// Returns the number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Returns the node's underlay address, in the range that RFC 2544 keeps for measurements.
    pub fn public_ip(self) -> Ipv4Addr {
        let base = u32::from(FIRST);
        Ipv4Addr::from(base.saturating_add(self.0))
    }

    /// Returns the underlay address that the node has after its first was changed.
    pub fn second_public_ip(self) -> Ipv4Addr {
        let base = u32::from(SECOND);
        Ipv4Addr::from(base.saturating_add(self.0))
    }

    /// Returns all underlay addresses that the node may have.
    pub(crate) fn public_ips(self) -> [Ipv4Addr; 2] {
        [self.public_ip(), self.second_public_ip()]
    }

    /// Tells whether a host with this underlay address is the node.
    pub(crate) fn is_at(self, address: Ipv4Addr) -> bool {
        self.public_ips().contains(&address)
    }

    /// Returns the node's IPv6 underlay address, in the range that RFC 5180 keeps for measurements.
    pub fn public_ipv6(self) -> Ipv6Addr {
        let base = u128::from(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0));
        Ipv6Addr::from(base.saturating_add(self.0.into()))
    }

    /// Returns the node with this underlay address, its first or its second, if `count` nodes include it.
    pub fn by_public_ip(address: Ipv4Addr, count: usize) -> Option<Self> {
        let base = if address < SECOND { FIRST } else { SECOND };
        let number = u32::from(address).checked_sub(u32::from(base))?;
        let id = Self(number);
        (number > 0 && id.index() < count).then_some(id)
    }

    /// Returns the node's place in a list of all nodes.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0.saturating_sub(1)).unwrap_or(usize::MAX)
    }
}

/// Below the first address of a node, and below the second.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);

impl From<u32> for NodeId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl FromStr for NodeId {
    type Err = BadNodeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix('n').and_then(|digits| digits.parse().ok());
        match number.map(Self) {
            Some(id) if id.0 > 0 && id.to_string() == text => Ok(id),
            Some(_) | None => Err(BadNodeId(text.to_owned())),
        }
    }
}

impl TryFrom<String> for NodeId {
    type Error = BadNodeId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_prints_and_no_other_text_does() {
        assert_eq!("n17".parse(), Ok(NodeId::new(17)));
        for text in ["", "n", "n0", "n01", "n+1", "17", "N1", "n4294967296"] {
            assert_eq!(text.parse::<NodeId>(), Err(BadNodeId(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_public_ip_leads_back_to_its_node() {
        let id = NodeId::new(300);

        assert_eq!(id.public_ip(), Ipv4Addr::new(198, 18, 1, 44));
        assert_eq!(NodeId::by_public_ip(id.public_ip(), 300), Some(id));
        assert_eq!(NodeId::by_public_ip(id.second_public_ip(), 300), Some(id));
        assert_eq!(NodeId::by_public_ip(id.public_ip(), 299), None);
        assert_eq!(NodeId::by_public_ip(Ipv4Addr::new(198, 18, 0, 0), 5), None);
        assert_eq!(NodeId::by_public_ip(Ipv4Addr::new(10, 0, 0, 1), 5), None);
    }
}

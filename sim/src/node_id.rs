//! The name of a node.

use std::fmt;
use std::net::Ipv4Addr;

/// The number of a node, from 1; it prints as `n3`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(u32);

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
        let base = u32::from(Ipv4Addr::new(198, 18, 0, 0));
        Ipv4Addr::from(base.saturating_add(self.0))
    }

    /// Returns the node with this underlay address, if `count` nodes include it.
    pub fn by_public_ip(address: Ipv4Addr, count: usize) -> Option<Self> {
        let number = u32::from(address).checked_sub(u32::from(Ipv4Addr::new(198, 18, 0, 0)))?;
        let id = Self(number);
        (number > 0 && id.index() < count).then_some(id)
    }

    /// Returns the node's place in a list of all nodes.
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0.saturating_sub(1)).unwrap_or(usize::MAX)
    }
}

impl From<u32> for NodeId {
    fn from(number: u32) -> Self {
        Self(number)
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
    fn a_public_ip_leads_back_to_its_node() {
        let id = NodeId::new(300);

        assert_eq!(id.public_ip(), Ipv4Addr::new(198, 18, 1, 44));
        assert_eq!(NodeId::by_public_ip(id.public_ip(), 300), Some(id));
        assert_eq!(NodeId::by_public_ip(id.public_ip(), 299), None);
        assert_eq!(NodeId::by_public_ip(Ipv4Addr::new(198, 18, 0, 0), 5), None);
        assert_eq!(NodeId::by_public_ip(Ipv4Addr::new(10, 0, 0, 1), 5), None);
    }
}

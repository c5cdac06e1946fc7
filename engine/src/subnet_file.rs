//! The file that tells CNI plugins and Docker what this node got (control-plane.md, 7.3).

use alloc::string::String;

use ipnet::{Ipv4Net, Ipv6Net};

/// The file's content.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SubnetFile {
    /// The IPv4 overlay and this node's part of it.
    pub v4: Option<(Ipv4Net, Ipv4Net)>,
    /// The IPv6 overlay and this node's part of it.
    pub v6: Option<(Ipv6Net, Ipv6Net)>,
    /// The MTU inside the overlay.
    pub mtu: u32,
    /// Whether traffic that leaves the overlay is masqueraded.
    pub masquerade: Masquerade,
}

/// Whether traffic that leaves the overlay takes the node's address.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Masquerade {
    /// It keeps its address.
    #[default]
    Off,
    /// It takes the node's address.
    On,
}

/// What an earlier run left in the file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PreviousSubnet {
    /// `FLANNEL_SUBNET`, without host bits.
    pub v4: Option<Ipv4Net>,
    /// `FLANNEL_IPV6_SUBNET`, without host bits.
    pub v6: Option<Ipv6Net>,
}

impl SubnetFile {
    /// Writes the file's text.
    pub fn render(&self) -> String {
        todo!()
    }
}

impl PreviousSubnet {
    /// Reads an earlier file; what cannot be read counts as absent.
    pub fn parse(_text: &str) -> Self {
        todo!()
    }
}

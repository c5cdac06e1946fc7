//! The cluster's network config: JSON in the store, with its defaults and its rules (control-plane.md, 2).

use alloc::string::String;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// A valid network config: every default filled in, every rule checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NetworkConfig {
    /// The IPv4 overlay, unless IPv4 is disabled.
    pub v4: Option<Range4>,
    /// The IPv6 overlay, if IPv6 is enabled.
    pub v6: Option<Range6>,
    /// Whether firewall rules go to nftables.
    pub firewall: Firewall,
    /// The backend with its options.
    pub backend: BackendConfig,
}

/// The IPv4 overlay and the subnets cut from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range4 {
    /// The whole overlay, without host bits.
    pub network: Ipv4Net,
    /// The prefix length of every subnet.
    pub subnet_len: u8,
    /// The first subnet's address.
    pub subnet_min: Ipv4Addr,
    /// The last subnet's address.
    pub subnet_max: Ipv4Addr,
}

/// The IPv6 overlay and the subnets cut from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range6 {
    /// The whole overlay, without host bits.
    pub network: Ipv6Net,
    /// The prefix length of every subnet.
    pub subnet_len: u8,
    /// The first subnet's address.
    pub subnet_min: Ipv6Addr,
    /// The last subnet's address.
    pub subnet_max: Ipv6Addr,
}

/// The kernel facility that firewall rules are written for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Firewall {
    /// `EnableNFTables` is false.
    Iptables,
    /// `EnableNFTables` is true.
    Nftables,
}

/// The `Backend` object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendConfig {
    /// The type in lower case; `udp` if there is no `Backend`.
    pub kind: String,
    /// The raw JSON object, from which each backend reads its own options; `{}` if there is none.
    pub options: String,
}

/// Why a network config is refused: the key, the offending value, the rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NetworkConfigError {
    /// Not the JSON that it should be.
    #[error("{0}")]
    Syntax(String),
    // The codec work adds one variant per rule of section 2.2.
}

impl NetworkConfig {
    /// Reads and validates the config's text.
    ///
    /// # Errors
    ///
    /// The first rule that the text breaks.
    pub fn parse(_text: &[u8]) -> Result<Self, NetworkConfigError> {
        todo!()
    }
}

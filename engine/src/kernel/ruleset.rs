//! Rules in the kernel's firewall, and the members that one of them lets pass.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::IpVersion;

/// Rules of ours that are made and replaced as a whole.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Ruleset {
    /// Which one it is.
    pub name: RulesetName,
    /// What makes it from nothing, or puts it in the place of an earlier one without a gap: the input of
    /// [`RulesetName::tool`]. Iptables' is to be fitted to the rules that are there with
    /// [`crate::fit_iptables_script`].
    pub script: String,
}

/// The rulesets that we have, by their places in the kernel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesetName {
    /// Masquerading and acceptance in the nftables table `ip flannel-ipv4` or `ip6 flannel-ipv6`, the names that
    /// flannel gives them.
    NftablesTraffic(IpVersion),
    /// The same as iptables chains `FLANNEL-POSTRTG` and `FLANNEL-FWD`, with the jumps to them.
    IptablesTraffic(IpVersion),
    /// The nftables table `inet selvedge`, which judges what comes from the underlay.
    Membership,
}

/// The program that reads a ruleset's script.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirewallTool {
    /// `nft -f -`.
    Nft,
    /// `iptables-restore --noflush`, or `ip6tables-restore`.
    Iptables(IpVersion),
}

/// An element of one of the sets of [`RulesetName::Membership`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// A node, which may send tunnel packets.
    Sender(IpAddr),
    /// A node, and a subnet that the sources of its tunnel packets may lie in.
    Source {
        /// The node's underlay address.
        sender: IpAddr,
        /// The subnet, without host bits.
        subnet: IpNet,
    },
    /// A subnet that the sources of packets without a tunnel may lie in.
    Direct(IpNet),
}

impl RulesetName {
    /// All there can be.
    pub const ALL: [Self; 5] = [
        Self::NftablesTraffic(IpVersion::V4),
        Self::NftablesTraffic(IpVersion::V6),
        Self::IptablesTraffic(IpVersion::V4),
        Self::IptablesTraffic(IpVersion::V6),
        Self::Membership,
    ];

    /// Returns the program that its script and its removal are for.
    pub const fn tool(self) -> FirewallTool {
        match self {
            Self::NftablesTraffic(_) | Self::Membership => FirewallTool::Nft,
            Self::IptablesTraffic(version) => FirewallTool::Iptables(version),
        }
    }

    /// Returns its nftables table as family and name, if it is one.
    pub const fn table(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::NftablesTraffic(IpVersion::V4) => Some(("ip", "flannel-ipv4")),
            Self::NftablesTraffic(IpVersion::V6) => Some(("ip6", "flannel-ipv6")),
            Self::Membership => Some(("inet", "selvedge")),
            Self::IptablesTraffic(_) => None,
        }
    }

    /// Returns the script that removes it, whatever it holds, and that does nothing where it is not there.
    pub fn removal(self) -> String {
        match self.table() {
            // To delete what is not there is an error; to add what is there is none.
            Some((family, table)) => format!("add table {family} {table}\ndelete table {family} {table}\n"),
            None => crate::firewall::iptables::removal(),
        }
    }
}

impl Member {
    /// Returns the name of the set that it belongs to.
    pub const fn set(&self) -> &'static str {
        match self {
            Self::Sender(IpAddr::V4(_)) => "senders4",
            Self::Sender(IpAddr::V6(_)) => "senders6",
            Self::Source { subnet, .. } => match subnet {
                IpNet::V4(_) => "sources4",
                IpNet::V6(_) => "sources6",
            },
            Self::Direct(IpNet::V4(_)) => "subnets4",
            Self::Direct(IpNet::V6(_)) => "subnets6",
        }
    }

    /// Returns it as nftables writes an element.
    pub fn element(&self) -> String {
        match self {
            Self::Sender(address) => address.to_string(),
            // Nft knows no type of bytes inside a packet but that of numbers.
            Self::Source { sender, subnet } => {
                format!(
                    "{sender} . {}-{}",
                    number(subnet.network()),
                    number(subnet.broadcast())
                )
            }
            Self::Direct(subnet) => subnet.to_string(),
        }
    }
}

fn number(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:#010x}", Ipv4Addr::to_bits(address)),
        IpAddr::V6(address) => format!("{:#034x}", Ipv6Addr::to_bits(address)),
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl fmt::Display for RulesetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IptablesTraffic(IpVersion::V4) => {
                f.write_str("iptables chains FLANNEL-POSTRTG and FLANNEL-FWD")
            }
            Self::IptablesTraffic(IpVersion::V6) => {
                f.write_str("ip6tables chains FLANNEL-POSTRTG and FLANNEL-FWD")
            }
            Self::NftablesTraffic(IpVersion::V4) => f.write_str("nftables table ip flannel-ipv4"),
            Self::NftablesTraffic(IpVersion::V6) => f.write_str("nftables table ip6 flannel-ipv6"),
            Self::Membership => f.write_str("nftables table inet selvedge"),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sender(sender) => write!(f, "member {sender}"),
            Self::Source { sender, subnet } => write!(f, "member {sender} with sources in {subnet}"),
            Self::Direct(subnet) => write!(f, "member with sources in {subnet}"),
        }
    }
}

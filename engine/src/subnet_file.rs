//! The file that tells CNI plugins and Docker what this node got (control-plane.md, 7.3).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::subnet::Subnet;

/// The longest earlier file that is read, in bytes.
const MAX_FILE: usize = 64 * 1024;

/// The file's content.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Masquerade {
    /// It keeps its address.
    #[default]
    Off,
    /// It takes the node's address.
    On,
}

/// What an earlier run left in the file.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PreviousSubnet {
    /// `FLANNEL_SUBNET`, without host bits.
    pub v4: Option<Ipv4Net>,
    /// `FLANNEL_IPV6_SUBNET`, without host bits.
    pub v6: Option<Ipv6Net>,
}

impl SubnetFile {
    /// Writes the file's text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        if let Some((network, subnet)) = self.v4 {
            let gateway = Ipv4Addr::from(subnet.network().to_bits().saturating_add(1));
            push(&mut out, "FLANNEL_NETWORK", network);
            push(
                &mut out,
                "FLANNEL_SUBNET",
                format!("{gateway}/{}", subnet.prefix_len()),
            );
        }
        if let Some((network, subnet)) = self.v6 {
            let gateway = Ipv6Addr::from(subnet.network().to_bits().saturating_add(1));
            push(&mut out, "FLANNEL_IPV6_NETWORK", network);
            push(
                &mut out,
                "FLANNEL_IPV6_SUBNET",
                format!("{gateway}/{}", subnet.prefix_len()),
            );
        }
        push(&mut out, "FLANNEL_MTU", self.mtu);
        push(
            &mut out,
            "FLANNEL_IPMASQ",
            match self.masquerade {
                Masquerade::Off => "false",
                Masquerade::On => "true",
            },
        );
        out
    }
}

impl SubnetFile {
    /// Reads from an earlier file which networks the overlay had, by the rules of [`PreviousSubnet::parse`].
    pub fn networks_in(text: &str) -> Vec<IpNet> {
        if text.len() > MAX_FILE {
            return Vec::new();
        }
        let v4 = only(networks::<Ipv4Net>(text, "FLANNEL_NETWORK")).map(|net| IpNet::V4(net.trunc()));
        let v6 = only(networks::<Ipv6Net>(text, "FLANNEL_IPV6_NETWORK")).map(|net| IpNet::V6(net.trunc()));
        v4.into_iter().chain(v6).collect()
    }
}

impl From<Subnet> for PreviousSubnet {
    fn from(subnet: Subnet) -> Self {
        Self {
            v4: subnet.v4(),
            v6: subnet.v6(),
        }
    }
}

impl PreviousSubnet {
    /// Returns the subnet, if it says one.
    pub(crate) const fn subnet(&self) -> Option<Subnet> {
        match (self.v4, self.v6) {
            (Some(v4), Some(v6)) => Some(Subnet::Dual(v4, v6)),
            (Some(v4), None) => Some(Subnet::V4(v4)),
            (None, Some(v6)) => Some(Subnet::V6(v6)),
            (None, None) => None,
        }
    }

    /// Reads an earlier file; what cannot be read counts as absent.
    ///
    /// The syntax is that of shell assignments: `export`, quotes and comments are allowed, and the last of equal
    /// keys wins. A value may be a list with commas, of which only entries that are networks count; it takes
    /// exactly one such entry. A file above 64 KiB is not read.
    pub fn parse(text: &str) -> Self {
        if text.len() > MAX_FILE {
            return Self::default();
        }
        Self {
            v4: only(networks::<Ipv4Net>(text, "FLANNEL_SUBNET")).map(|net| net.trunc()),
            v6: only(networks::<Ipv6Net>(text, "FLANNEL_IPV6_SUBNET")).map(|net| net.trunc()),
        }
    }
}

fn push(out: &mut String, key: &str, value: impl Display) {
    out.extend([key, "=", &value.to_string(), "\n"]);
}

/// Returns the networks listed under a key.
fn networks<T: FromStr>(text: &str, key: &str) -> Vec<T> {
    let values = text.lines().rev().filter_map(assignment);
    let value = values
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .next();
    let entries = value.unwrap_or_default().split(',');
    entries.filter_map(|entry| entry.trim().parse().ok()).collect()
}

fn only<T>(mut found: Vec<T>) -> Option<T> {
    let last = found.pop()?;
    found.is_empty().then_some(last)
}

/// Reads a line as an assignment; comments and anything else are none.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        Some(_) | None => line,
    };
    let (key, value) = line.split_once('=')?;
    Some((key.trim_end(), unquoted(value.trim_start())))
}

/// Returns a value without its quotes, or up to the comment that follows it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let Some(rest) = value.strip_prefix(quote) else {
            continue;
        };
        return rest.split(quote).next().unwrap_or_default();
    }
    let comment = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find(|((_, before), letter)| before.is_whitespace() && *letter == '#');
    let value = comment.and_then(|((at, _), _)| value.get(..at)).unwrap_or(value);
    value.trim_end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dual_stack_file_has_six_lines() {
        let file = SubnetFile {
            v4: Some((net("10.5.0.0/16"), net("10.5.51.0/24"))),
            v6: Some((net("fd05::/48"), net("fd05:0:0:1d::/64"))),
            mtu: 1500,
            masquerade: Masquerade::On,
        };

        insta::assert_snapshot!(file.render(), @"
        FLANNEL_NETWORK=10.5.0.0/16
        FLANNEL_SUBNET=10.5.51.1/24
        FLANNEL_IPV6_NETWORK=fd05::/48
        FLANNEL_IPV6_SUBNET=fd05:0:0:1d::1/64
        FLANNEL_MTU=1500
        FLANNEL_IPMASQ=true
        ");
        assert!(file.render().ends_with("true\n"));
    }

    #[test]
    fn a_v4_file_has_four_lines() {
        let file = SubnetFile {
            v4: Some((net("10.50.0.0/16"), net("10.50.1.0/24"))),
            v6: None,
            mtu: 1472,
            masquerade: Masquerade::Off,
        };

        insta::assert_snapshot!(file.render(), @"
        FLANNEL_NETWORK=10.50.0.0/16
        FLANNEL_SUBNET=10.50.1.1/24
        FLANNEL_MTU=1472
        FLANNEL_IPMASQ=false
        ");
    }

    #[test]
    fn host_bits_are_masked_off() {
        let read =
            PreviousSubnet::parse("FLANNEL_SUBNET=10.5.51.1/24\nFLANNEL_IPV6_SUBNET=fd05:0:0:1d::1/64\n");

        assert_eq!(read.v4, Some(net("10.5.51.0/24")));
        assert_eq!(read.v6, Some(net("fd05:0:0:1d::/64")));
    }

    #[test]
    fn shell_syntax_is_understood() {
        for line in [
            "export FLANNEL_SUBNET=10.5.51.1/24",
            "export\t FLANNEL_SUBNET=10.5.51.1/24",
            "  FLANNEL_SUBNET = 10.5.51.1/24  ",
            "FLANNEL_SUBNET=\"10.5.51.1/24\"",
            "FLANNEL_SUBNET='10.5.51.1/24' # the node's",
            "FLANNEL_SUBNET=10.5.51.1/24 # the node's",
            "FLANNEL_SUBNET=10.5.51.1/24\r\nFLANNEL_MTU=1472\r",
            "# FLANNEL_SUBNET=10.9.9.1/24\nFLANNEL_SUBNET=10.5.51.1/24\n#FLANNEL_SUBNET=10.9.9.1/24",
            "FLANNEL_SUBNET=10.9.9.1/24\nFLANNEL_SUBNET=10.5.51.1/24",
            "FLANNEL_SUBNET=10.5.51.1/24\nXFLANNEL_SUBNET=10.9.9.1/24\nexportFLANNEL_SUBNET=10.9.9.1/24",
            "garbage\0\u{fffd}\n=\n==\n'\n\"\nFLANNEL_SUBNET=10.5.51.1/24\n\0",
        ] {
            assert_eq!(
                PreviousSubnet::parse(line).v4,
                Some(net("10.5.51.0/24")),
                "{line}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        for text in [
            "",
            "FLANNEL_SUBNET",
            "FLANNEL_SUBNET=",
            "FLANNEL_SUBNET=10.5.51.1",
            "FLANNEL_SUBNET=10.5.51.1/33",
            "FLANNEL_SUBNET=10.5.51.1/24\0",
            "FLANNEL_SUBNET=fd00::1/64",
            "FLANNEL_SUBNET=\"10.5.51.1/24\"\nFLANNEL_SUBNET=\"",
        ] {
            assert_eq!(PreviousSubnet::parse(text), PreviousSubnet::default(), "{text}");
        }
    }

    #[test]
    fn a_file_above_64_kib_is_not_read() {
        let mut text = String::from("FLANNEL_SUBNET=10.5.51.1/24\n");
        text.push_str(&"#".repeat(MAX_FILE - text.len()));
        assert!(PreviousSubnet::parse(&text).v4.is_some());

        text.push('#');

        assert_eq!(PreviousSubnet::parse(&text), PreviousSubnet::default());
    }

    #[test]
    fn entries_of_a_list_that_are_no_networks_are_skipped() {
        let v4 = networks::<Ipv4Net>(
            "FLANNEL_SUBNET=10.244.1.0/24,not-a-cidr,10.244.2.0/24",
            "FLANNEL_SUBNET",
        );
        let v6 = networks::<Ipv6Net>(
            "FLANNEL_IPV6_SUBNET=fd00::/64,nope, fd01::/64",
            "FLANNEL_IPV6_SUBNET",
        );
        let none = networks::<Ipv4Net>("FLANNEL_SUBNET=not-a-cidr,,10.244.1", "FLANNEL_SUBNET");

        assert_eq!(v4, [net("10.244.1.0/24"), net("10.244.2.0/24")]);
        assert_eq!(v6, [net("fd00::/64"), net("fd01::/64")]);
        assert!(none.is_empty());
    }

    #[test]
    fn a_list_counts_if_one_network_is_left() {
        let one = PreviousSubnet::parse("FLANNEL_SUBNET=nope,10.244.1.1/24\nFLANNEL_IPV6_SUBNET=fd00::/64,x");
        let two = PreviousSubnet::parse("FLANNEL_SUBNET=10.244.1.0/24,10.244.2.0/24");

        assert_eq!(one.v4, Some(net("10.244.1.0/24")));
        assert_eq!(one.v6, Some(net("fd00::/64")));
        assert_eq!(two.v4, None);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            v4 in proptest::option::of((any::<u32>(), 0_u8..=30)),
            v6 in proptest::option::of((any::<u128>(), 0_u8..=126)),
        ) {
            let v4 = v4.map(|(bits, len)| Ipv4Net::new(Ipv4Addr::from(bits), len).unwrap().trunc());
            let v6 = v6.map(|(bits, len)| Ipv6Net::new(Ipv6Addr::from(bits), len).unwrap().trunc());
            let file = SubnetFile {
                v4: v4.map(|subnet| (subnet, subnet)),
                v6: v6.map(|subnet| (subnet, subnet)),
                mtu: 1472,
                masquerade: Masquerade::Off,
            };

            prop_assert_eq!(PreviousSubnet::parse(&file.render()), PreviousSubnet { v4, v6 });
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _read = PreviousSubnet::parse(&text);
            let _read = PreviousSubnet::parse(&format!("FLANNEL_SUBNET={text}"));
        }
    }

    fn net<T: FromStr<Err: core::fmt::Debug>>(text: &str) -> T {
        text.parse().unwrap()
    }
}

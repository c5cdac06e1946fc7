//! A node's range of addresses, and its form as the last part of a store key (control-plane.md, 3.1).

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::kernel::IpVersion;
use crate::reject_reason::RejectReason;

/// The longest IPv4 prefix length in a key.
const MAX_V4_LENGTH: u8 = 31;
/// The longest IPv6 prefix length in a key.
const MAX_V6_LENGTH: u8 = 127;
/// The IPv4 part of a key that stands for a subnet of IPv6 alone.
const NO_V4: &str = "0.0.0.0-0";

/// The range that a node holds: of one address family or of both.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subnet {
    /// `10.5.34.0-24`
    V4(Ipv4Net),
    /// `0.0.0.0-0&fd05:0:0:18::-64`
    V6(Ipv6Net),
    /// `10.5.51.0-24&fd05:0:0:1d::-64`
    Dual(Ipv4Net, Ipv6Net),
}

impl Subnet {
    /// Reads the last part of a lease's key, for example `10.5.34.0-24`.
    ///
    /// Only the form that [`Display`](fmt::Display) prints is accepted, so that no subnet has two keys: no
    /// leading zeros, no host bits, IPv6 compressed and in lower case. Nodes never write another form.
    ///
    /// # Errors
    ///
    /// [`RejectReason::BadKey`] if it is not a subnet.
    pub fn parse(text: &str) -> Result<Self, RejectReason> {
        let subnet = Self::parse_parts(text).ok_or(RejectReason::BadKey)?;
        if subnet.to_string() != text {
            return Err(RejectReason::BadKey);
        }
        Ok(subnet)
    }

    /// Returns the IPv4 range, if it has one.
    pub const fn v4(&self) -> Option<Ipv4Net> {
        match self {
            Self::V4(v4) | Self::Dual(v4, _) => Some(*v4),
            Self::V6(_) => None,
        }
    }

    /// Returns the IPv6 range, if it has one.
    pub const fn v6(&self) -> Option<Ipv6Net> {
        match self {
            Self::V6(v6) | Self::Dual(_, v6) => Some(*v6),
            Self::V4(_) => None,
        }
    }

    /// Returns the range of an IP version, if it has one.
    pub fn of_version(&self, version: IpVersion) -> Option<IpNet> {
        match version {
            IpVersion::V4 => self.v4().map(IpNet::V4),
            IpVersion::V6 => self.v6().map(IpNet::V6),
        }
    }

    /// Returns its ranges, that of IPv4 first.
    pub fn ranges(self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4().map(IpNet::V4);
        v4.into_iter().chain(self.v6().map(IpNet::V6))
    }

    /// Tells whether the two share an address, in either family.
    pub fn overlaps(&self, other: &Self) -> bool {
        let v4 = self.v4().zip(other.v4());
        let v6 = self.v6().zip(other.v6());
        v4.is_some_and(|(own, other)| own.contains(&other) || other.contains(&own))
            || v6.is_some_and(|(own, other)| own.contains(&other) || other.contains(&own))
    }

    fn parse_parts(text: &str) -> Option<Self> {
        let Some((v4, v6)) = text.split_once('&') else {
            return Some(Self::V4(parse_v4(text)?));
        };
        let v6 = parse_v6(v6)?;
        if v4 == NO_V4 {
            return Some(Self::V6(v6));
        }
        Some(Self::Dual(parse_v4(v4)?, v6))
    }
}

impl From<IpNet> for Subnet {
    fn from(range: IpNet) -> Self {
        match range {
            IpNet::V4(v4) => Self::V4(v4),
            IpNet::V6(v6) => Self::V6(v6),
        }
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Self::parse(&text).map_err(RejectReason::name)
    }
}

impl fmt::Display for Subnet {
    /// Prints the form used in keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => write!(f, "{}-{}", v4.addr(), v4.prefix_len()),
            Self::V6(v6) => write!(f, "{NO_V4}&{}-{}", v6.addr(), v6.prefix_len()),
            Self::Dual(v4, v6) => {
                write!(
                    f,
                    "{}-{}&{}-{}",
                    v4.addr(),
                    v4.prefix_len(),
                    v6.addr(),
                    v6.prefix_len()
                )
            }
        }
    }
}

fn parse_v4(text: &str) -> Option<Ipv4Net> {
    let (address, length) = text.split_once('-')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let length = parse_length(length, MAX_V4_LENGTH)?;
    let net = Ipv4Net::new(address, length).ok()?;
    (net == net.trunc()).then_some(net)
}

fn parse_v6(text: &str) -> Option<Ipv6Net> {
    let (address, length) = text.split_once('-')?;
    if address.contains('.') {
        return None;
    }
    let address: Ipv6Addr = address.parse().ok()?;
    let length = parse_length(length, MAX_V6_LENGTH)?;
    let net = Ipv6Net::new(address, length).ok()?;
    (net == net.trunc()).then_some(net)
}

fn parse_length(text: &str, max: u8) -> Option<u8> {
    text.parse().ok().filter(|length| *length <= max)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_v4_key_reads_and_prints_the_same() {
        let subnet = Subnet::parse("10.12.13.0-24").unwrap();

        assert_eq!(subnet, Subnet::V4("10.12.13.0/24".parse().unwrap()));
        assert_eq!(subnet.to_string(), "10.12.13.0-24");
    }

    #[test]
    fn a_dual_key_reads_and_prints_the_same() {
        let subnet = Subnet::parse("10.12.13.0-24&fd00:12:13::-56").unwrap();

        let v6 = "fd00:12:13::/56".parse().unwrap();
        assert_eq!(subnet, Subnet::Dual("10.12.13.0/24".parse().unwrap(), v6));
        assert_eq!(subnet.to_string(), "10.12.13.0-24&fd00:12:13::-56");
    }

    #[test]
    fn a_v6_key_has_an_empty_v4_part() {
        let subnet = Subnet::parse("0.0.0.0-0&fd05:0:0:18::-64").unwrap();

        assert_eq!(subnet, Subnet::V6("fd05:0:0:18::/64".parse().unwrap()));
        assert_eq!(subnet.to_string(), "0.0.0.0-0&fd05:0:0:18::-64");
    }

    #[test]
    fn the_empty_v4_part_alone_is_a_v4_subnet() {
        assert_eq!(
            Subnet::parse("0.0.0.0-0"),
            Ok(Subnet::V4("0.0.0.0/0".parse().unwrap()))
        );
    }

    #[test]
    fn prefix_lengths_go_to_31_and_127() {
        for good in [
            "10.0.0.0-31",
            "128.0.0.0-1",
            "10.0.0.0-24&fd00::-127",
            "10.0.0.0-24&::-0",
        ] {
            assert!(Subnet::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "10.0.0.0-32",
            "10.0.0.0-33",
            "10.0.0.0-24&fd00::-128",
            "10.0.0.0-256",
            "10.0.0.0--1",
        ] {
            assert_eq!(Subnet::parse(bad), Err(RejectReason::BadKey), "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_subnet_is_rejected() {
        for bad in [
            "",
            "10",
            "10.12.13.0",
            "10.12.13-24",
            "10.12.13.300-24",
            "10.12.13.0-24hi",
            "x10.12.13.0-24",
            "/10.12.13.0-24",
            "10-12-13-0-24",
            "10.12.13.0/24",
            "&2001::-56",
            "10.12.13.0-24&",
            "10.12.13.0-24&:12:13:-56",
            "10.12.13.0-24&20011::-56",
            "10.12.13.0-24&2001-56",
            "10.12.13.0-24&2001::",
            "10.12.13.0-24&2001::-56hi",
            "10.12.13.0-24&2001::-56&2001::-56",
            "fd00::-56",
            "255.255.255.255-32",
        ] {
            assert_eq!(Subnet::parse(bad), Err(RejectReason::BadKey), "{bad}");
        }
    }

    #[test]
    fn a_second_text_for_the_same_subnet_is_rejected() {
        for bad in [
            "10.05.1.0-24",
            "010.5.1.0-24",
            "10.5.1.0-024",
            "10.5.1.0-+24",
            "10.5.1.7-24",
            " 10.5.1.0-24",
            "10.5.1.0-24&FD00::-56",
            "10.5.1.0-24&fd00:0::-56",
            "10.5.1.0-24&fd00:0:0:0:0:0:0:0-56",
            "10.5.1.0-24&fd00::1-56",
            "10.5.1.0-24&::ffff:10.0.0.0-104",
            "10.5.1.0-24&::ffff:a00:0-104",
            "00.0.0.0-0&fd00::-56",
        ] {
            assert_eq!(Subnet::parse(bad), Err(RejectReason::BadKey), "{bad}");
        }
    }

    #[test]
    fn subnets_overlap_if_either_family_does() {
        let subnet = |text| Subnet::parse(text).unwrap();
        let dual = subnet("10.5.1.0-24&fd00:1::-56");

        assert!(dual.overlaps(&subnet("10.5.0.0-16")));
        assert!(dual.overlaps(&subnet("10.5.1.128-25")));
        assert!(dual.overlaps(&subnet("0.0.0.0-0&fd00::-16")));
        assert!(dual.overlaps(&subnet("10.5.2.0-24&fd00:1::-64")));
        assert!(!dual.overlaps(&subnet("10.5.2.0-24&fd00:2::-56")));
        assert!(!subnet("10.5.1.0-24").overlaps(&subnet("0.0.0.0-0&fd00::-16")));
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(subnet in subnets()) {
            prop_assert_eq!(Subnet::parse(&subnet.to_string()), Ok(subnet));
        }

        #[test]
        fn what_is_read_prints_the_same(text in "[0-9]{1,3}(\\.[0-9]{1,3}){3}-[0-9]{1,2}(&[0-9a-f:]{2,12}-[0-9]{1,3})?") {
            if let Ok(subnet) = Subnet::parse(&text) {
                prop_assert_eq!(subnet.to_string(), text);
            }
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _parsed = Subnet::parse(&text);
        }

        #[test]
        fn overlap_is_mutual_and_every_subnet_overlaps_itself(one in subnets(), two in subnets()) {
            prop_assert_eq!(one.overlaps(&two), two.overlaps(&one));
            prop_assert!(one.overlaps(&one));
        }
    }

    fn subnets() -> impl Strategy<Value = Subnet> {
        prop_oneof![
            v4_nets().prop_map(Subnet::V4),
            v6_nets().prop_map(Subnet::V6),
            // 0.0.0.0/0 beside an IPv6 subnet stands for no IPv4 subnet.
            (
                v4_nets().prop_filter("no IPv4", |net| net.prefix_len() > 0),
                v6_nets()
            )
                .prop_map(|(v4, v6)| Subnet::Dual(v4, v6)),
        ]
    }

    fn v4_nets() -> impl Strategy<Value = Ipv4Net> {
        (any::<u32>(), 0..=MAX_V4_LENGTH)
            .prop_map(|(bits, length)| Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap().trunc())
    }

    fn v6_nets() -> impl Strategy<Value = Ipv6Net> {
        (any::<u128>(), 0..=MAX_V6_LENGTH)
            .prop_map(|(bits, length)| Ipv6Net::new(Ipv6Addr::from(bits), length).unwrap().trunc())
            .prop_filter("no dots in keys", |net| net.addr().to_ipv4_mapped().is_none())
    }
}
